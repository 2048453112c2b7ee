//! A publisher: one connection that is kept open, one request at a time, each waited for until it is acknowledged.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;

use crate::error::MeasureError;
use crate::subject::{Item, Publish, PublishMany};

/// How long a publisher waits for an acknowledgement before it gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Publishes over one connection.
#[derive(Debug)]
pub struct Publisher {
    address: String,
    socket: TcpStream,
    /// The request that is being built, and its body. Kept for their memory.
    request: Vec<u8>,
    body: Vec<u8>,
    /// The answer that is being read.
    answer: Vec<u8>,
}

impl Publisher {
    /// Connects to `host:port`.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn connect(address: &str) -> Result<Self, MeasureError> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (request, body, answer) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { address: address.to_owned(), socket, request, body, answer })
    }

    /// Publishes one event and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// When it isn't acknowledged.
    pub fn publish(&mut self, how: &Publish, channel: &str, data: &str) -> Result<(), MeasureError> {
        self.body.clear();
        (how.body)(channel, data, &mut self.body);
        self.post(&how.path.replace("{channel}", channel), &how.headers)
    }

    /// Publishes several events by one request and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// When it isn't acknowledged.
    pub fn publish_many(&mut self, how: &PublishMany, items: &[Item]) -> Result<(), MeasureError> {
        self.body.clear();
        (how.body)(items, &mut self.body);
        self.post(&how.path, &how.headers)
    }

    /// Posts the body.
    fn post(&mut self, path: &str, headers: &[(String, String)]) -> Result<(), MeasureError> {
        self.request.clear();
        // Writing to a vector can't fail.
        let _ = write!(self.request, "POST {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            let _ = write!(self.request, "{name}: {value}\r\n");
        }
        let _ = write!(self.request, "Content-Length: {}\r\n\r\n", self.body.len());
        self.request.extend_from_slice(&self.body);
        self.socket.write_all(&self.request)?;
        self.wait()
    }

    /// Reads the answer to its end.
    fn wait(&mut self) -> Result<(), MeasureError> {
        let mut piece = [0; 16 * 1024];
        self.answer.clear();
        while !is_whole(&self.answer) {
            let count = self.socket.read(&mut piece)?;
            if count == 0 {
                return Err(MeasureError::Refused("the connection ended before the acknowledgement".into()));
            }
            self.answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        // A refusal of one item of a batch comes with 200 and an error in that item; Fanfare's says so in `"code"`.
        let is_good = self.answer.get(9) == Some(&b'2') && memmem::find(&self.answer, br#""code":"#).is_none();
        if is_good {
            return Ok(());
        }
        let beginning = self.answer.get(..self.answer.len().min(1_000)).unwrap_or_default();
        Err(MeasureError::Refused(String::from_utf8_lossy(beginning).into_owned()))
    }
}

/// Whether an answer has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head_end) = memmem::find(answer, b"\r\n\r\n") else { return false };
    let (head, body) = answer.split_at(head_end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = field("content-length:").and_then(|length| length.parse::<usize>().ok()) {
        return body.len() >= length;
    }
    if field("transfer-encoding:") == Some("chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    // An answer without a body, such as 204.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let with_length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let empty = "HTTP/1.1 204 No Content\r\n\r\n";
        for answer in [with_length, chunked, empty] {
            let whole_from = (0..=answer.len()).find(|end| is_whole(&answer.as_bytes()[..*end]));
            assert_eq!(whole_from, Some(answer.len()), "{answer}");
        }
    }
}
