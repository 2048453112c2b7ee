//! A plain HTTP/1.1 client on a bare socket, so that tests can send what no library would.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("answers are UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text()))
    }
}

/// A connection that can be used again and again.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::of(TcpStream::connect(addr)?, addr)
    }

    /// One whose system takes no more than so many bytes ahead of its reader, as far as systems go that low.
    pub(crate) fn narrow(addr: SocketAddr, bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        // Once it is connected, its window has been told.
        socket.set_recv_buffer_size(bytes)?;
        socket.connect(&addr.into())?;
        Self::of(socket.into(), addr)
    }

    fn of(socket: TcpStream, addr: SocketAddr) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { reader: BufReader::new(socket), host: format!("localhost:{}", addr.port()) })
    }

    /// Sends a request and reads its head; the body is still to come.
    fn head(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(request, "Host: {}\r\n", self.host);
        }
        for (name, value) in headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        if method != "GET" && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            let _ = write!(request, "Content-Length: {}\r\n", body.len());
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.reader.get_mut().write_all(&bytes)?;
        self.read_head()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn read_head(&mut self) -> io::Result<Response> {
        let status =
            self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut response = self.head(method, path, headers, body)?;
        if method == "HEAD" || response.status == 204 || response.status == 304 {
            return Ok(response);
        }
        if let Some(length) = response.header("content-length").and_then(|length| length.parse().ok()) {
            response.body.resize(length, 0);
            self.reader.read_exact(&mut response.body)?;
        } else if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else {
            self.reader.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// The next chunk of a chunked body (RFC 9112, section 7.1); `None` at its end.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// The next piece of a body, empty at its end.
    fn piece(&mut self, is_chunked: bool) -> io::Result<Vec<u8>> {
        if is_chunked {
            return Ok(self.chunk()?.unwrap_or_default());
        }
        let piece = self.reader.fill_buf()?.to_vec();
        self.reader.consume(piece.len());
        Ok(piece)
    }

    /// Opens a stream: sends the request, reads the head.
    pub(crate) fn stream(
        mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(Response, Chunks)> {
        let response = self.head(method, path, headers, body)?;
        let mut rest = Vec::new();
        let length = response.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = length {
            (&mut self.reader).take(length).read_to_end(&mut rest)?;
        }
        let is_chunked = response.header("transfer-encoding").is_some();
        Ok((response, Chunks { connection: self, rest, is_whole: length.is_some(), is_chunked }))
    }
}

/// The body of a stream, as bytes that come in pieces of any size.
pub(crate) struct Chunks {
    connection: Connection,
    rest: Vec<u8>,
    /// Whether the answer was no stream: its whole body is in `rest`.
    is_whole: bool,
    /// Otherwise it lasts until the connection ends (RFC 9112, section 6.3).
    is_chunked: bool,
}

impl Chunks {
    /// Up to `count` bytes; none at the end of the stream.
    pub(crate) fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if self.rest.is_empty() && !self.is_whole {
            self.rest = self.connection.piece(self.is_chunked)?;
        }
        let count = count.min(self.rest.len());
        Ok(self.rest.drain(..count).collect())
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.connection.reader.get_ref().set_read_timeout(Some(timeout)).unwrap();
    }
}
