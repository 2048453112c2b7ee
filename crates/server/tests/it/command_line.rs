//! The commands that speak to a hub: `fanfare publish` and `fanfare subscribe`.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Address, Hub, binary, folder};

fn command(hub: &Hub, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).args(["--url", &format!("http://{}", hub.addr())]).stdin(Stdio::null());
    command
}

fn run(hub: &Hub, arguments: &[&str]) -> Output {
    command(hub, arguments).output().unwrap()
}

/// Publishes; gives the receipt.
fn publish(hub: &Hub, arguments: &[&str]) -> Value {
    let output = run(hub, &[&["publish"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that is refused says.
fn refused(hub: &Hub, arguments: &[&str]) -> String {
    let output = run(hub, arguments);
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `fanfare subscribe --json`, which goes on.
struct Subscriber {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Subscriber {
    fn start(hub: &Hub, arguments: &[&str]) -> Self {
        let mut command = command(hub, &[&["subscribe", "--json"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line; what the hub gives anew each time is not in it.
    fn next(&mut self) -> Value {
        let mut line: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        line.as_object_mut().unwrap().retain(|name, _| name != "time" && name != "id");
        line
    }

    /// Waits until it ends by itself.
    fn ends(mut self) -> bool {
        assert!(self.lines.next().is_none());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_published_is_heard() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    assert_eq!(publish(&hub, &["news", "one"])["channel"], "news");
    publish(&hub, &["news", "{\"n\": 2}", "--json", "--event", "told"]);
    let mut subscriber = Subscriber::start(&hub, &["news", "--since", "start"]);
    assert_eq!(subscriber.next(), json!({"channel": "news", "event": null, "data": "one"}));
    assert_eq!(subscriber.next(), json!({"channel": "news", "event": "told", "data": {"n": 2}}));
    assert!(refused(&hub, &["publish", "@mine", "x"]).contains("hub's own"));
}

#[test]
fn values_are_published_deleted_and_kept_by_whoever_listens() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let before = hub.get("/channels/prices").json()["cursor"].as_str().unwrap().to_owned();
    publish(&hub, &["prices", "17.40", "--key", "ACME"]);
    publish(&hub, &["prices", "3.15", "--key", "Umbrella"]);
    let mut subscriber = Subscriber::start(&hub, &["prices"]);
    for (key, data) in [("ACME", "17.40"), ("Umbrella", "3.15")] {
        assert_eq!(subscriber.next(), json!({"channel": "prices", "key": key, "event": null, "data": data}));
    }
    publish(&hub, &["prices", "--key", "Umbrella", "--delete"]);
    let deletion = json!({"channel": "prices", "key": "Umbrella", "event": "fanfare.delete", "data": ""});
    assert_eq!(subscriber.next(), deletion);
    assert!(refused(&hub, &["publish", "prices", "--key", "Umbrella", "--delete"]).contains("no value"));
    hub.post("/channels/prices/end", "");
    let end = json!({"channel": "prices", "reason": "done"});
    assert_eq!(subscriber.next()["data"], end);
    assert!(subscriber.ends(), "nothing will come any more");

    // Without JSON the data goes to the standard output, and what tells of the channel to the standard error.
    let output = run(&hub, &["subscribe", "prices", "--since", &before]);
    assert_eq!(text(&output.stdout), "17.40\n");
    let told = text(&output.stderr);
    assert!(told.contains(r#"delete: {"channel":"prices","key":"Umbrella"}"#), "{told}");
    assert!(told.contains(&format!("end: {end}")), "{told}");
}

#[test]
fn a_gap_is_a_line_of_json_and_what_is_for_everyone_can_be_declined() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    hub.publish("news", "one");
    let everyone = br#"{"to": "everyone", "data": "Back at noon."}"#;
    assert_eq!(hub.post("/publish", everyone).status, 200);
    let foreign = "000001-00000001-0000000000";
    let mut subscriber = Subscriber::start(&hub, &["news", "--since", foreign, "--everyone", "no"]);
    let gap = subscriber.next();
    assert_eq!((&gap["channel"], &gap["event"]), (&"news".into(), &"fanfare.gap".into()));
    assert_eq!(gap["data"]["reason"], "unknown");
    assert_eq!(subscriber.next()["data"], "one");
    hub.publish("news", "two");
    assert_eq!(subscriber.next()["data"], "two", "and nothing that is for everyone");
}

#[test]
fn messages_are_published_and_clear_when_they_are_acknowledged() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    assert_eq!(publish(&hub, &["--user", "ada lovelace/é", "hello"])["channel"], "@inbox/ada lovelace/é");
    let id = publish(&hub, &["--user", "ada", "Lunch?", "--event", "mail"])["id"].clone();
    let device = ["--user", "ada", "--inbox", "--device", "shell", "--ack", "auto"];
    let mut subscriber = Subscriber::start(&hub, &device);
    let message = json!({"channel": "@inbox/ada", "key": id, "event": "mail", "data": "Lunch?"});
    assert_eq!(subscriber.next(), message);
    hub.post("/inbox/ada/ack", json!({"upto": id}).to_string());
    let deletion = json!({"channel": "@inbox/ada", "key": id, "event": "fanfare.delete", "data": ""});
    assert_eq!(subscriber.next(), deletion);
    let (one, other) = (["publish", "--user", "ada", "news", "hello"], ["publish", "--user", "ada", "--key", "k", "x"]);
    assert!(refused(&hub, &one).contains("there is no channel"));
    assert!(refused(&hub, &other).contains("--key"));
    for incomplete in [&["--inbox"][..], &["a", "--device", "d"], &["--user", "ada", "--inbox", "--ack", "auto"]] {
        assert!(refused(&hub, &[&["subscribe"], incomplete].concat()).contains("required"), "{incomplete:?}");
    }
}

#[test]
fn a_device_acknowledges_by_coming_back() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    publish(&hub, &["--user", "ada", "one"]);
    let mut subscriber = Subscriber::start(&hub, &["--user", "ada", "--inbox", "--device", "shell", "--ack", "auto"]);
    assert_eq!(subscriber.next()["data"], "one");
    assert_eq!(hub.get("/inbox/ada").json()["unread"], 1);
    let addr = hub.addr().to_string();
    hub.kill9();
    let hub = Hub::start_with(folder.path(), &["--listen", &addr]);
    publish(&hub, &["--user", "ada", "two"]);
    // By the time it hears of the second it has acknowledged the first.
    while subscriber.next()["data"] != "two" {}
    assert_eq!(hub.get("/inbox/ada").json()["unread"], 1);
}
