//! Starting and stopping the binary: what it says, what listeners are told, what the next start finds.

use std::process::Command;

use crate::harness::{Address, Hub, binary, folder};

#[test]
fn a_graceful_stop_tells_each_stream_when_to_come_back_and_loses_nothing() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    let mut listener = hub.live("channel=a");
    let id = hub.publish("a", "before");
    hub.terminate();
    assert_eq!(listener.next().id, id);
    let bye = listener.named("fanfare.bye").json();
    assert_eq!((&bye["reason"], &bye["reconnect"]), (&"shutdown".into(), &true.into()));
    assert_eq!(listener.any(), None, "the stream is closed");
    assert!(hub.wait().success());
    let hub = Hub::start(folder.path());
    let mut back = hub.resume("channel=a", listener.last_event_id());
    back.named("fanfare.hello");
    hub.publish("a", "after");
    assert_eq!(back.any().unwrap().data, "after", "no gap, no double");
}

#[test]
fn both_loopbacks_are_served_and_another_address_needs_the_flag() {
    let folder = folder();
    let hub = Hub::start_with(folder.path(), &["--listen", "localhost:0"]);
    assert_eq!(hub.get("/health/live").status, 200);
    let second = Command::new(binary())
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(crate::harness::folder().path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("--allow-anyone"), "{told}");
}

#[test]
fn a_folder_or_port_in_use_is_a_clear_error() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let output = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("in use"), "{told}");
    let output = Command::new(binary())
        .args(["serve", "--listen", &hub.addr().to_string(), "--data"])
        .arg(crate::harness::folder().path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains(&hub.addr().port().to_string()), "{told}");
}
