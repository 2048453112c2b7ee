//! Clients that vanish without a word, in a network of their own: two namespaces, and a cable between them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{binary, folder};

/// Clients that vanish.
const CLIENTS: usize = 5_000;

/// Where the hub listens, in its own namespace.
const HUB: &str = "10.231.7.1:8080";

/// Opens streams, says so, and holds them. Its arguments: address, port, how many.
const HOLD: &str = r#"
import socket, sys
held = []
for _ in range(int(sys.argv[3])):
    client = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
    client.sendall(b"GET /events?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    while b"fanfare.hello" not in got:
        more = client.recv(4096)
        assert more, got
        got += more
    held.append(client)
print("held", flush=True)
sys.stdin.read()
"#;

/// Runs `ip`; whether it succeeded.
fn ip(arguments: &str) -> bool {
    let silent = Command::new("ip").args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
}

/// Two machines with a cable between them.
struct Network {
    hub: String,
    clients: String,
}

impl Network {
    /// Lays it; `None` where the system doesn't allow that.
    fn lay() -> Option<Self> {
        let pid = std::process::id();
        let network = Self { hub: format!("fanfare-hub-{pid}"), clients: format!("fanfare-clients-{pid}") };
        let Self { hub, clients } = &network;
        let steps = [
            format!("netns add {hub}"),
            format!("netns add {clients}"),
            format!("link add cable netns {hub} type veth peer name cable netns {clients}"),
            format!("-n {hub} addr add 10.231.7.1/24 dev cable"),
            format!("-n {clients} addr add 10.231.7.2/24 dev cable"),
            format!("-n {hub} link set lo up"),
            format!("-n {hub} link set cable up"),
            format!("-n {clients} link set cable up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(network)
    }

    /// A command on one of the machines.
    fn on(machine: &str, command: &str) -> Command {
        let mut on = Command::new("ip");
        on.args(["netns", "exec", machine, command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        on
    }

    /// The hub's figures, asked on its own machine.
    fn stats(&self) -> serde_json::Value {
        let url = format!("http://{HUB}/stats");
        let answer = Self::on(&self.hub, "curl").args(["-s", "-H", "Host: localhost", &url]).output().unwrap();
        serde_json::from_slice(&answer.stdout).unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.hub));
        ip(&format!("netns del {}", self.clients));
    }
}

/// A process that is gone when the test is.
struct Process(Child);

impl Process {
    /// Starts it, and gives its first line.
    fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "long: most of a minute, which are the kernel's and the door's constants"]
fn five_thousand_clients_behind_a_pulled_cable_are_found_out_and_counted() {
    vanish(|clients| format!("-n {clients} link set cable down"));
}

#[test]
#[ignore = "long: most of a minute, which are the kernel's and the door's constants"]
fn five_thousand_clients_that_never_answer_again_are_found_out_and_counted() {
    vanish(|clients| format!("-n {clients} route replace blackhole 10.231.7.1/32"));
}

fn vanish(cut: impl Fn(&str) -> String) {
    let Some(network) = Network::lay() else {
        println!("skipped: network namespaces can't be made here (that takes root, and `ip` of iproute2)");
        return;
    };
    let folder = folder();
    let mut command = Network::on(&network.hub, binary().to_str().unwrap());
    command.args(["serve", "--listen", HUB, "--allow-anyone", "--data"]).arg(folder.path());
    let (_hub, line) = Process::start(&mut command);
    assert!(line.contains("http://"), "it says {line:?}");
    let mut command = Network::on(&network.clients, "python3");
    let (address, port) = HUB.split_once(':').unwrap();
    let (_clients, line) = Process::start(command.args(["-c", HOLD, address, port, &CLIENTS.to_string()]));
    assert_eq!(line, "held\n");
    assert_eq!(network.stats()["streams"], CLIENTS);
    assert!(ip(&cut(&network.clients)));
    let began = Instant::now();
    let mut first = None;
    let stats = loop {
        let stats = network.stats();
        let open = stats["streams"].as_u64().unwrap();
        if open < CLIENTS as u64 {
            first.get_or_insert_with(|| began.elapsed());
        }
        if open == 0 {
            break stats;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{open} are still counted as there");
        std::thread::sleep(Duration::from_millis(200));
    };
    println!("{CLIENTS} found out from {first:?} to {:?}; {}", began.elapsed(), stats["streams_closed"]);
    assert_eq!(stats["streams_closed"]["timed_out"], CLIENTS, "{stats}");
}
