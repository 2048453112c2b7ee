//! What an idle stream costs the server, by the way it comes: `plain` (HTTP/1.1), `tls` (HTTP/1.1 within TLS), `h2c` and `h2`
//! (HTTP/2 without and within TLS). Starts a server, opens streams, and looks at the server's memory before and after.
//!
//! ```sh
//! cargo build --release && cargo run --release -p fanfare-bench --example idle_over -- --over tls
//! ```

#![expect(clippy::unwrap_used, reason = "a measurement that fails is no measurement")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use fanfare_bench::usage::ProcessTree;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// What memory that opening needed only for a moment takes to be given back.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Parser)]
struct Options {
    /// How the streams come.
    #[arg(long, value_parser = ["plain", "tls", "h2c", "h2"])]
    over: String,
    /// How many.
    #[arg(long, default_value_t = 5_000)]
    streams: usize,
    /// Streams that share a connection, where that can be.
    #[arg(long, default_value_t = 100)]
    per_connection: usize,
    /// The server's binary.
    #[arg(long, default_value = "target/release/fanfare")]
    server: PathBuf,
}

/// Something that carries bytes.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream or a connection that is held open.
type Held = Box<dyn Send>;

struct Server {
    child: Child,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    /// Goes with it.
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let server = start(&options);
    let process = ProcessTree::new(server.child.id());
    // What the first stream needs is not what the next one needs.
    let mut held = open(&server, &options, 1).await;
    sleep(SETTLE).await;
    let before = process.memory_bytes();
    let mut open_streams = 0;
    while open_streams < options.streams {
        let count = if options.over.starts_with("h2") { options.per_connection } else { 1 };
        held.extend(open(&server, &options, count).await);
        open_streams += count;
    }
    sleep(SETTLE).await;
    let bytes = process.memory_bytes().saturating_sub(before);
    println!("{}: {} bytes for each of {open_streams} streams", options.over, bytes / open_streams as u64);
    drop(held);
}

/// Starts a server with a certificate, if it is to have one.
fn start(options: &Options) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut command = Command::new(&options.server);
    command.args(["serve", "--listen", "127.0.0.1:0", "--streams-max", "20000", "--data"]).arg(folder.path());
    if is_encrypted(options) {
        command.arg("--tls-certificate").arg(&certificate).arg("--tls-key").arg(&key);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once("://").unwrap().1.parse().unwrap();
    Server { child, address, certificate: made.cert.der().clone(), _folder: folder }
}

fn is_encrypted(options: &Options) -> bool {
    matches!(options.over.as_str(), "tls" | "h2")
}

/// Opens streams on one connection, and waits for the hello of each.
async fn open(server: &Server, options: &Options, count: usize) -> Vec<Held> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let is_http2 = options.over.starts_with("h2");
    let io: Box<dyn Io> = if is_encrypted(options) {
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = ServerName::try_from("localhost").unwrap();
        Box::new(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap())
    } else {
        Box::new(socket)
    };
    if is_http2 { open_http2(io, count).await } else { vec![open_http1(io).await] }
}

async fn open_http1(mut io: Box<dyn Io>) -> Held {
    io.write_all(b"GET /events?channel=idle HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("fanfare.hello") {
        assert_ne!(io.read_buf(&mut read).await.unwrap(), 0, "the stream ended");
    }
    // Heartbeats are read on.
    let reading = tokio::spawn(async move { while io.read(&mut [0; 256]).await.is_ok_and(|count| count > 0) {} });
    Box::new(reading)
}

async fn open_http2(io: Box<dyn Io>, count: usize) -> Vec<Held> {
    let (mut requests, connection) = h2::client::handshake(io).await.unwrap();
    let mut held: Vec<Held> = vec![Box::new(tokio::spawn(connection))];
    for _ in 0..count {
        let request = http::Request::get("http://localhost/events?channel=idle").body(()).unwrap();
        let (answer, _) = requests.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        held.push(Box::new(tokio::spawn(async move { while body.data().await.is_some_and(|data| data.is_ok()) {} })));
    }
    held
}
