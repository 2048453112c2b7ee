//! Certificates, and clients that speak TLS and HTTP/2.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_wire::{Decoder, Item};
use h2::client::SendRequest;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate for `localhost`, signed by itself, and its key, as files.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) der: CertificateDer<'static>,
}

impl Pair {
    /// Makes one, in place of what the folder has.
    pub(crate) fn make(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { certificate, key, der: made.cert.der().clone() }
    }

    /// What a server must be told to use it.
    pub(crate) fn arguments(&self) -> [&str; 6] {
        [
            "--listen",
            "127.0.0.1:0",
            "--tls-certificate",
            self.certificate.to_str().unwrap(),
            "--tls-key",
            self.key.to_str().unwrap(),
        ]
    }

    /// A client that trusts this certificate alone, and offers this protocol.
    pub(crate) fn client(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        Arc::new(config)
    }

    /// Sends an HTTP/1.1 request over TLS. `None` where the server has another certificate.
    pub(crate) fn ask(&self, addr: SocketAddr, request: &str) -> Option<Encrypted> {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.client("http/1.1"), name).unwrap();
        let mut tls = StreamOwned::new(connection, socket);
        tls.write_all(request.as_bytes()).ok()?;
        Some(Encrypted { tls, read: Vec::new() })
    }
}

/// An HTTP/1.1 connection over TLS.
pub(crate) struct Encrypted {
    tls: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl Encrypted {
    /// Reads until `text` has come; gives all that was read.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&self.read).contains(text) {
            let count = self.tls.read(&mut chunk).expect("something comes in time");
            assert!(count > 0, "it ended with {}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads to the end, which must be one in good order.
    pub(crate) fn read_to_end(mut self) -> String {
        self.tls.read_to_end(&mut self.read).expect("an end in good order");
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Sends more.
    pub(crate) fn send(&mut self, text: &str) {
        self.tls.write_all(text.as_bytes()).unwrap();
    }

    /// The certificate that the server showed.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.tls.conn.peer_certificates().unwrap()[0].clone()
    }
}

/// An HTTP/2 connection.
pub(crate) struct Http2 {
    requests: SendRequest<Bytes>,
    addr: SocketAddr,
    /// Ends with the connection.
    pub(crate) ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// Connects without TLS, knowing that the server speaks it.
    pub(crate) async fn plain(addr: SocketAddr) -> Self {
        Self::on(tokio::net::TcpStream::connect(addr).await.unwrap(), addr).await
    }

    /// Connects with TLS.
    pub(crate) async fn encrypted(addr: SocketAddr, certificate: &Pair) -> Self {
        let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(certificate.client("h2"));
        let tls = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::on(tls, addr).await
    }

    async fn on<I>(io: I, addr: SocketAddr) -> Self
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        Self { requests, addr, ended: tokio::spawn(connection) }
    }

    /// Sends a request; gives the head of the answer and its body to come.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> axum::http::Response<h2::RecvStream> {
        let uri = format!("http://localhost:{}{path}", self.addr.port());
        let request = axum::http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (answer, mut sending) = requests.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            sending.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(30), answer).await.expect("an answer in time").unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn text(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (head, mut body) = self.ask(method, path, body).await.into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            text.extend_from_slice(&data);
        }
        (head.status.as_u16(), String::from_utf8(text).unwrap())
    }

    /// Opens an event stream.
    pub(crate) async fn listen(&self, query: &str) -> Events {
        let answer = self.ask("GET", &format!("/events?{query}"), "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("connection"), "HTTP/2 has no such header");
        Events { body: answer.into_body(), decoder: Decoder::new() }
    }
}

/// An event stream over HTTP/2.
pub(crate) struct Events {
    body: h2::RecvStream,
    decoder: Decoder,
}

impl Events {
    /// The next event's name and data; `None` once the stream has ended.
    pub(crate) async fn any(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(item) = self.decoder.next() {
                if let Item::Event(event) = item.unwrap() {
                    return Some((event.event, event.data));
                }
                continue;
            }
            let data = tokio::time::timeout(Duration::from_secs(30), self.body.data()).await.expect("it comes in time");
            let data = data?.ok()?;
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.decoder.push(&data);
        }
    }

    /// The data of the next event that is not the hub's own.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let (event, data) = self.any().await.expect("the stream is open");
            if !event.starts_with("fanfare.") {
                return data;
            }
        }
    }

    /// Reads up to the next event of this name.
    pub(crate) async fn until(&mut self, name: &str) -> String {
        loop {
            let (event, data) = self.any().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event == name {
                return data;
            }
        }
    }
}
