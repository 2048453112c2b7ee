//! Settings from a file, read again while the server runs.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Address, Hub, Listener, binary, folder};

/// Waits until what is asked for is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} never came to be");
}

fn run(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(binary()).args(arguments).env_remove("FANFARE_CONFIG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn settings_are_read_again_under_a_thousand_streams_and_none_is_dropped() {
    let folder = folder();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "[streams]\nmax = 1000\n").unwrap();
    let data = folder.path().join("data");
    let hub = Hub::start_with(&data, &["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    let mut listeners: Vec<Listener> = (0..1_000).map(|_| hub.listen("channel=news&hello=none")).collect();
    let is_full = || Listener::try_open(hub.addr(), "errors=status", None).unwrap().head.status == 503;
    until("all thousand", is_full);

    // What can't be used changes nothing.
    std::fs::write(&file, "[streams]\nmaximum = 1001\n").unwrap();
    hub.signal("HUP");
    let origin = [("Origin", "https://page.example")];
    let foreign = || hub.request("POST", "/channels/news", &origin, b"x").status;
    assert_eq!(foreign(), 403);
    assert!(is_full());

    let text = "[streams]\nmax = 1001\n[door]\nallow_origins = ['https://page.example']\n\
                [[rule]]\npattern = 'news'\nhistory.count_max = 7\n";
    std::fs::write(&file, text).unwrap();
    hub.signal("HUP");
    until("one stream more", || !is_full());
    until("the page of another site", || foreign() == 200);
    let rule = hub.get("/channels/news").json()["rule"].clone();
    assert_eq!(rule["history"]["count"], 7, "{rule}");

    let id = hub.publish("news", "still here");
    for listener in &mut listeners {
        let last = std::iter::repeat_with(|| listener.next()).find(|heard| heard.id == id).unwrap();
        assert_eq!(last.data, "still here");
    }
    assert_eq!(hub.get("/stats").json()["streams_closed"]["shutdown"], 0);
}

#[test]
fn what_can_not_be_used_is_said_before_a_port_is_bound() {
    let folder = folder();
    let file = folder.path().join("hub.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[streams]\nmx = 1000\n").unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["serve"]] {
        let (good, _, told) = run(&[command, &["--config", path]].concat());
        assert!(!good && told.contains("line 2") && told.contains("did you mean `max`?"), "{told}");
    }
    let (good, _, told) = run(&["serve", "--set", "streams.max"]);
    assert!(!good && told.contains("takes a key, `=` and a value"), "{told}");
    if cfg!(not(feature = "otel")) {
        let (good, _, told) = run(&["serve", "--set", "telemetry.otlp=http://localhost:4318"]);
        assert!(!good && told.contains("this binary was built without traces"), "{told}");
    }
    std::fs::write(&file, "[streams]\nmax = 5\n").unwrap();
    let (good, told, _) = run(&["config", "check", "--config", path]);
    assert!(good && told.contains("can be used"), "{told}");
    let (good, told, _) = run(&["config", "show", "--config", path, "--listen", "127.0.0.1:0"]);
    assert!(good && told.contains("streams.max = 5") && told.contains("# --listen"), "{told}");
}

#[test]
fn shells_are_told_how_to_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let (good, script, told) = run(&["completions", shell]);
        assert!(good && script.contains("allow-origin"), "{shell}: {told}");
    }
}
