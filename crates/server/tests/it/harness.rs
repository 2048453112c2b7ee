//! Hubs to test against, and listeners: `hub.publish(…)`, `listener.next()`, `hub.kill9()`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fanfare_wire::{Decoder, Item};

use crate::http::{Chunks, Connection, Response};

/// A folder that goes away with the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Something that serves.
pub(crate) trait Address {
    fn addr(&self) -> SocketAddr;

    fn connect(&self) -> Connection {
        Connection::open(self.addr()).unwrap()
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.connect().request(method, path, headers, body).unwrap()
    }

    fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request("POST", path, &[], body.as_ref())
    }

    /// Publishes as `curl -d` does; gives the event's id.
    fn publish(&self, channel: &str, data: &str) -> String {
        let answer = self.post(&format!("/channels/{channel}"), data);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().unwrap_or_default().to_owned()
    }

    fn listen(&self, query: &str) -> Listener {
        Listener::open(self.addr(), query, None)
    }

    /// A listener to whom everything comes that is published from now on.
    fn live(&self, query: &str) -> Listener {
        let mut listener = self.listen(query);
        listener.named("fanfare.hello");
        listener
    }

    fn resume(&self, query: &str, id: &str) -> Listener {
        Listener::open(self.addr(), query, Some(id))
    }
}

/// The real binary.
pub(crate) struct Hub {
    child: Child,
    addr: SocketAddr,
    /// Kept open: a hub whose output nobody takes must not stumble over it.
    _output: BufReader<std::process::ChildStdout>,
}

impl Address for Hub {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Hub {
    /// Starts a hub on a free port.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn command(data: &Path) -> Command {
        Self::serve(Command::new(binary()), data)
    }

    fn serve(mut command: Command, data: &Path) -> Command {
        command.arg("serve").arg("--data").arg(data).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Self::command(data).args(arguments))
    }

    /// Starts a hub on a free port by a command that ends in the binary's own name.
    pub(crate) fn start_by(command: Command, data: &Path) -> Self {
        Self::spawn(Self::serve(command, data).args(["--listen", "127.0.0.1:0"]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let addr = line.trim().rsplit_once("://").unwrap_or_else(|| panic!("it says {line:?}")).1;
        Self { child, addr: addr.parse().unwrap(), _output: output }
    }

    /// What it holds of the machine's memory (`VmRSS`), or held at most (`VmHWM`), in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory_bytes(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would, for the process.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that these tests are for.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_fanfare").into()
}

/// The router in this process, on a hub with rules and a clock of its own.
pub(crate) struct Served {
    addr: SocketAddr,
    pub(crate) hub: fanfare_hub::Hub,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Address for Served {
    fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Served {
    pub(crate) fn start(data: &Path, config: fanfare_hub::HubConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let hub = fanfare_hub::Hub::open_with(data, config).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let router = fanfare::router(hub.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { addr, hub, runtime: Some(runtime) }
    }

    /// Ends the hub in order.
    pub(crate) fn stop(mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(self.hub.clone().close());
        // Waits until the router is dropped, which has the folder too.
        runtime.shutdown_timeout(Duration::from_secs(20));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.hub.clone().close());
            runtime.shutdown_background();
        }
    }
}

/// A config with these rules and everything else as usual.
pub(crate) fn rules(rules: Vec<fanfare_hub::Rule>) -> fanfare_hub::HubConfig {
    fanfare_hub::HubConfig { rules, ..Default::default() }
}

/// A rule for a pattern.
pub(crate) fn rule(pattern: &str) -> fanfare_hub::Rule {
    fanfare_hub::Rule::new(fanfare_hub::Pattern::new(pattern).unwrap())
}

/// A clock that the test moves.
pub(crate) fn manual_clock() -> Arc<fanfare_hub::ManualClock> {
    Arc::new(fanfare_hub::ManualClock::at(1_700_000_000_000))
}

/// An event as a page gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Heard {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// A bare reader of an event stream, as `EventSource` is one.
pub(crate) struct Listener {
    pub(crate) head: Response,
    chunks: Chunks,
    decoder: Decoder,
}

impl Listener {
    pub(crate) fn open(addr: SocketAddr, query: &str, last_event_id: Option<&str>) -> Self {
        Self::try_open(addr, query, last_event_id).unwrap()
    }

    pub(crate) fn try_open(addr: SocketAddr, query: &str, last_event_id: Option<&str>) -> std::io::Result<Self> {
        Self::on(Connection::open(addr)?, query, last_event_id)
    }

    /// On a connection that was made otherwise.
    pub(crate) fn on(connection: Connection, query: &str, last_event_id: Option<&str>) -> std::io::Result<Self> {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("Last-Event-ID", id)));
        let path = format!("/events?{query}");
        let (head, chunks) = connection.stream("GET", &path, &headers, b"")?;
        let decoder = Decoder::new().resuming(last_event_id.unwrap_or_default());
        Ok(Self { head, chunks, decoder })
    }

    /// A stream that was opened otherwise.
    pub(crate) fn of(head: Response, chunks: Chunks) -> Self {
        Self { head, chunks, decoder: Decoder::new() }
    }

    /// The next event of whatever kind, or `None` at the end of the stream.
    pub(crate) fn any(&mut self) -> Option<Heard> {
        loop {
            match self.decoder.next() {
                Some(Ok(Item::Event(event))) => {
                    return Some(Heard { id: event.id, event: event.event, data: event.data });
                }
                Some(Ok(Item::Retry(_))) => {}
                Some(Err(error)) => panic!("the stream is malformed: {error}"),
                None => {
                    let bytes = self.chunks.read(usize::MAX).expect("something comes in time");
                    if bytes.is_empty() {
                        return None;
                    }
                    self.decoder.push(&bytes);
                }
            }
        }
    }

    /// The next event that isn't the hub's own.
    pub(crate) fn next(&mut self) -> Heard {
        loop {
            let heard = self.any().expect("the stream is open");
            if !heard.event.starts_with("fanfare.") {
                return heard;
            }
        }
    }

    /// The next event with this name.
    pub(crate) fn named(&mut self, name: &str) -> Heard {
        loop {
            let heard = self.any().unwrap_or_else(|| panic!("the stream ended before {name}"));
            if heard.event == name {
                return heard;
            }
        }
    }

    /// Reads so many bytes, wherever that cuts a block, and adds the events that came whole.
    pub(crate) fn read_bytes(&mut self, count: usize, heard: &mut Vec<Heard>) -> std::io::Result<()> {
        let mut left = count;
        while left > 0 {
            let bytes = self.chunks.read(left)?;
            if bytes.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            left -= bytes.len();
            self.decoder.push(&bytes);
            for item in self.decoder.by_ref() {
                if let Item::Event(event) = item.expect("the stream is well formed") {
                    heard.push(Heard { id: event.id, event: event.event, data: event.data });
                }
            }
        }
        Ok(())
    }

    /// What a browser would come back with.
    pub(crate) fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.chunks.set_timeout(timeout);
    }
}
