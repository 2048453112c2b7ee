//! Restarts under a service manager that holds the listening socket, as systemd does: nobody is refused, nothing is lost.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Address, binary, folder};
use crate::http::Connection;

const RESTARTS: usize = 20;

/// A server that was given its socket. `LISTEN_PID` must be its own number, which a shell knows before it becomes it.
struct Activated(Child, SocketAddr);

impl Address for Activated {
    fn addr(&self) -> SocketAddr {
        self.1
    }
}

impl Activated {
    fn start(socket: &TcpListener, data: &Path) -> Self {
        let script = "LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec \"$@\" 3<&0 0</dev/null";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(binary())
            .args(["serve", "--data"])
            .arg(data)
            .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = socket.local_addr().unwrap();
        assert_eq!(line.trim(), format!("listening on http://{addr}"));
        Self(child, addr)
    }

    fn stop(&mut self) {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes, each time on a connection of its own, until told to stop; gives what was acknowledged.
fn publish(addr: SocketAddr, is_over: &AtomicBool) -> HashSet<String> {
    let mut acknowledged = HashSet::new();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut connection = match Connection::open(addr) {
            Ok(connection) => connection,
            Err(error) => panic!("connection {number} was refused: {error}"),
        };
        let data = format!("event {number}");
        number += 1;
        match connection.request("POST", "/channels/a", &[], data.as_bytes()) {
            Ok(answer) if answer.status == 200 => {
                acknowledged.insert(data);
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
            // It was accepted and not yet read when the server went.
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe),
                "{error}"
            ),
        }
    }
    acknowledged
}

#[test]
fn twenty_restarts_refuse_no_connection_and_lose_no_event() {
    let folder = folder();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hub = Activated::start(&socket, folder.path());
    let is_over = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publish(socket.local_addr().unwrap(), &is_over));
        for _ in 0..RESTARTS {
            hub.publish("a", "between restarts");
            hub.stop();
            hub = Activated::start(&socket, folder.path());
        }
        is_over.store(true, Ordering::Relaxed);
        publishing.join().unwrap()
    });
    assert!(acknowledged.len() > RESTARTS, "{} events", acknowledged.len());
    let mut kept = HashSet::new();
    let mut since = "start".to_owned();
    loop {
        let page = hub.get(&format!("/history?channel=a&limit=1000&since={since}")).json();
        kept.extend(page["events"].as_array().unwrap().iter().map(|event| event["data"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => since = next.to_owned(),
            None => break,
        }
    }
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
