//! A folder of each format that was released, as it was written then: later hubs read it.
//!
//! `samples/format-1` was made by `fanfare data import` of three events, without the zeros that journals are laid out with.

use std::path::Path;

use fanfare_hub::{Archive, Archived, ChannelName, StoreError};

use super::fixture::copy_folder;

#[test]
fn a_folder_of_format_1_is_read() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/format-1"), folder.path());
    let mut archive = Archive::open(folder.path()).unwrap();
    let mut events: Vec<Archived> = Vec::new();
    let damaged = archive.events::<StoreError>(0, |event| {
        events.push(event);
        Ok(())
    });
    assert_eq!(damaged.unwrap(), 0);
    let told = &events[0];
    let names: Vec<&str> = told.channels.iter().map(ChannelName::as_str).collect();
    assert_eq!(names, ["news", "chat:1"]);
    assert_eq!((told.record.name.as_deref(), &told.record.data[..]), (Some("told"), &b"{\"a\":1}"[..]));
    assert_eq!((told.record.time_ms, told.record.expires_ms), (1_767_225_600_000, Some(32_503_680_000_000)));
    assert_eq!((told.record.publisher.as_deref(), told.record.is_json()), (Some("ada"), true));
    assert_eq!(told.record.retry, Some(std::time::Duration::from_secs(2)));
    assert_eq!(std::str::from_utf8(&events[1].record.data), Ok("hello\nü"));
    assert_eq!((events.len(), events[2].record.data.len()), (3, 0));
    let report = archive.check().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.events, report.channels), (3, 2));
}
