//! `fanfare data`, and what `docs/backup.md` promises: copies of a folder, and what a hub on one of them knows.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Address, Hub, binary, folder};

/// Runs `fanfare data` with these words on a folder.
fn data(folder: &Path, words: &[&str], input: &str) -> Output {
    let (command, rest) = words.split_first().unwrap();
    let mut child = Command::new(binary())
        .args(["data", command, "--data"])
        .arg(folder)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses to begin doesn't read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder with events of all kinds, in order closed.
fn filled() -> tempfile::TempDir {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    for n in 0..20 {
        hub.publish(&format!("chat:{}", n % 2), &format!("hello {n}\nwith \"quotes\" and ü"));
    }
    let answer = hub.request(
        "POST",
        "/publish",
        &[("content-type", "application/json")],
        br#"{"channels":["news","chat:0"],"event":"told","data":{"b":1,"a":[2]},"ttl":"1h","retry":2000}"#,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    // One for more channels than a publisher may name, and not for all.
    let rooms: Vec<String> = (0..110).map(|n| format!("channel=room:{n}")).collect();
    let listener = hub.live(&rooms.join("&"));
    let body = r#"{"to":{"pattern":"room:*"},"data":"all rooms","except":{"user":"ada"}}"#;
    let answer = hub.request("POST", "/publish", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.json()["channels"], 110, "{}", answer.text());
    drop(listener);
    hub.terminate();
    hub.wait();
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, copied).unwrap();
        }
    }
}

#[test]
fn an_export_of_an_import_is_the_same_but_for_the_ids() {
    let (first, second) = (filled(), folder());
    let exported = data(first.path(), &["export"], "");
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let lines = text(&exported.stdout);
    assert_eq!(lines.lines().filter(|line| line.contains("chat:") || line.contains("news")).count(), 21);
    let imported = data(second.path(), &["import"], lines);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let again = data(second.path(), &["export"], "");
    let without_ids = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_once(r#","channels""#).unwrap().1.to_owned()).collect()
    };
    assert_eq!(without_ids(lines), without_ids(text(&again.stdout)));
    let checked = data(second.path(), &["check"], "");
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    // A hub takes it up.
    let hub = Hub::start(second.path());
    let mut listener = hub.listen("channel=chat:1&since=last:1");
    assert_eq!(listener.named("message").data, "hello 19\nwith \"quotes\" and ü");
    hub.publish("room:109", "later");
    for (user, first) in [("ada", "later"), ("bob", "all rooms")] {
        let mut listener = hub.listen(&format!("channel=room:109&since=start&user={user}"));
        assert_eq!(listener.named("message").data, first, "to {user}");
    }
}

#[test]
fn filters_pick_channels_and_ages() {
    let folder = filled();
    let count = |words: &[&str]| text(&data(folder.path(), words, "").stdout).lines().count();
    assert_eq!(count(&["export", "--channel", "chat:1"]), 10);
    assert_eq!(count(&["export", "--pattern", "chat:*"]), 21);
    assert_eq!(count(&["export", "--channel", "news", "--since", "1h"]), 1);
    assert_eq!(count(&["export", "--channel", "nothing"]), 0);
}

#[test]
fn stats_count_what_is_there_for_people_and_programs() {
    let folder = filled();
    let stats: serde_json::Value =
        serde_json::from_slice(&data(folder.path(), &["stats", "--json"], "").stdout).unwrap();
    let of =
        |name: &str| stats["channels"].as_array().unwrap().iter().find(|of| of["channel"] == name).unwrap().clone();
    assert_eq!(of("chat:0")["events"], 11);
    assert_eq!(of("news")["events"], 1);
    assert_eq!((&stats["damaged"], &stats["epochs"]), (&0.into(), &1.into()));
    let table = data(folder.path(), &["stats", "--top", "1"], "");
    assert!(text(&table.stdout).contains("  chat:0\n"), "{}", text(&table.stdout));
}

#[test]
fn a_line_that_is_no_event_is_named_and_nothing_behind_it_is_imported() {
    let folder = folder();
    let good = r#"{"channels":["a"],"time":5,"data":"x"}"#;
    for (bad, why) in [
        (r#"{"channels":["a"],"time":5,"data":"x","colour":"red"}"#, "unknown field `colour`"),
        (r#"{"channels":["a"],"time":5}"#, "missing field `data`"),
        (r#"{"channels":[""],"time":5,"data":"x"}"#, "channel"),
        (r#"{"channels":["a"],"time":5,"data":"x","event":"error"}"#, "error"),
        ("nonsense", "expected"),
    ] {
        let output = data(folder.path(), &["import"], &format!("{good}\n{bad}\n{good}\n"));
        let said = text(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("line 2") && said.contains(why) && said.contains("1 events were imported"), "{said}");
    }
    assert_eq!(text(&data(folder.path(), &["export"], "").stdout).lines().count(), 5);
}

#[test]
fn a_folder_that_a_hub_runs_on_and_one_that_is_none_are_refused_by_name() {
    let used = folder();
    let hub = Hub::start(used.path());
    hub.publish("a", "x");
    for words in [&["check"][..], &["stats"], &["export"], &["import"]] {
        let output = data(used.path(), words, "");
        assert!(!output.status.success() && text(&output.stderr).contains("a hub runs on"), "{}", text(&output.stderr));
    }
    let none = folder();
    let output = data(&none.path().join("typo"), &["check"], "");
    assert!(text(&output.stderr).contains("typo is no data folder"), "{}", text(&output.stderr));
    assert!(!none.path().join("typo").exists(), "nothing is made");
}

#[test]
fn a_damaged_folder_is_found_out_and_what_can_be_read_is_exported() {
    let folder = filled();
    let journal = folder.path().join("0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.windows(8).position(|part| part == b"hello 7\n").unwrap();
    bytes[at] ^= 4;
    fs::write(&journal, bytes).unwrap();
    let exported = data(folder.path(), &["export", "--pattern", "chat:*"], "");
    let lines = text(&exported.stdout);
    assert_eq!(lines.lines().count(), 20, "one event is lost, and nothing else");
    assert!(!lines.contains("hello 7"));
    let checked = data(folder.path(), &["check"], "");
    assert!(text(&checked.stdout).contains("lost earlier"), "{}", text(&checked.stdout));
    // Its gap is told, though it was not a hub that found it.
    let hub = Hub::start(folder.path());
    let gap = hub.listen("channel=chat:1&since=start").named("fanfare.gap");
    assert!(gap.data.contains(r#""reason":"damaged""#), "{}", gap.data);
}

/// All files of a folder with what they hold.
fn files(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_folder_whose_tables_are_damaged_is_checked_without_a_change_and_exported_whole() {
    let folder = filled();
    for name in ["keyspaces/1/current", "keyspaces/2/current"] {
        fs::write(folder.path().join(name), "damaged").unwrap();
    }
    fs::remove_dir_all(folder.path().join("keyspaces/3")).unwrap();
    let before = files(folder.path());
    let checked = data(folder.path(), &["check"], "");
    let said = text(&checked.stdout);
    assert!(!checked.status.success());
    assert!(["`log`", "`by_channel`", "`channels`"].iter().all(|table| said.contains(table)), "{said}");
    assert!(text(&checked.stderr).contains("A start of the hub mends them"), "{}", text(&checked.stderr));
    assert!(files(folder.path()) == before, "nothing is changed");
    let exported = data(folder.path(), &["export", "--pattern", "chat:*"], "");
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(text(&exported.stdout).lines().count(), 21);
    let checked = data(folder.path(), &["check"], "");
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    let hub = Hub::start(folder.path());
    assert!(hub.listen("channel=chat:1&since=last:1").named("message").data.starts_with("hello 19"));
}

#[test]
fn a_copy_of_a_stopped_hub_is_a_backup_that_listeners_resume_from() {
    let (folder, backup) = (filled(), folder());
    let restored = backup.path().join("fanfare-data");
    copy(folder.path(), &restored);
    let exported = data(&restored, &["export", "--channel", "chat:1"], "");
    let fifth = text(&exported.stdout).lines().nth(4).unwrap();
    let fifth: serde_json::Value = serde_json::from_str(fifth).unwrap();
    let original = Hub::start(folder.path());
    let later = original.publish("chat:1", "after the backup");
    let hub = Hub::start(&restored);
    let mut listener = hub.resume("channel=chat:1", fifth["id"].as_str().unwrap());
    assert!(listener.named("fanfare.hello").data.contains(r#""resumed":true"#));
    for n in 5..10 {
        assert_eq!(listener.next().data, format!("hello {}\nwith \"quotes\" and ü", 2 * n + 1));
    }
    // An id of an opening that the backup doesn't know is told so.
    let gap = hub.resume("channel=chat:1", &later).named("fanfare.gap");
    assert!(gap.data.contains(r#""reason":"unknown""#), "{}", gap.data);
}

#[test]
fn a_snapshot_of_a_running_hub_has_all_that_was_acknowledged() {
    let (folder, backup) = (folder(), folder());
    let hub = Hub::start(folder.path());
    let ids: Vec<String> = (0..50).map(|n| hub.publish("a", &format!("event {n}"))).collect();
    // Nothing is written meanwhile but the hub's own figures, so a copy is as good as a snapshot.
    copy(folder.path(), backup.path());
    hub.publish("a", "after the snapshot");
    let restored = Hub::start(backup.path());
    let mut listener = restored.resume("channel=a", &ids[9]);
    for n in 10..50 {
        assert_eq!(listener.named("message").data, format!("event {n}"));
    }
    // Who was further than the backup hears what comes after it was restored.
    let id = hub.publish("a", "later");
    let mut listener = restored.resume("channel=a", &id);
    restored.publish("a", "new");
    assert_eq!(listener.next().data, "new");
}
