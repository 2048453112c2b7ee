//! Every case in `fixtures/`, over every way to cut it in two, byte by byte, and, if short, over every way to cut it in
//! three.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fanfare_wire::{DecodeError, Item, Limits};
use serde_json::{Value, json};

use crate::property::{Reading, holds, read};

/// Cases of this many bytes and more are not cut in three: that would take too long.
const CUT_IN_THREE_BYTES_MAX: usize = 64;

/// One pair of files.
struct Fixture {
    name: String,
    bytes: Vec<u8>,
    limits: Limits,
    expected: Value,
}

impl Fixture {
    fn open(sse: &Path) -> Self {
        let mut expected: Value = serde_json::from_slice(&std::fs::read(sse.with_extension("json")).unwrap()).unwrap();
        for told in ["description", "clause"] {
            let text = expected.as_object_mut().unwrap().remove(told).unwrap_or_default();
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{} has no {told}", sse.display());
        }
        let limits = match expected.as_object_mut().unwrap().remove("limits") {
            None => Limits::default(),
            Some(limits) => {
                let limit = |name: &str| usize::try_from(limits[name].as_u64().unwrap()).unwrap();
                Limits { line_bytes_max: limit("line_bytes_max"), event_bytes_max: limit("event_bytes_max") }
            }
        };
        Self { name: sse.display().to_string(), bytes: std::fs::read(sse).unwrap(), limits, expected }
    }

    fn check<'a>(&self, chunks: impl IntoIterator<Item = &'a [u8]>, cut: impl std::fmt::Display) {
        let reading = read(chunks, self.limits);
        assert_eq!(as_json(&reading), self.expected, "{}, {cut}", self.name);
    }
}

/// A reading in the form of the fixtures.
fn as_json(reading: &Reading) -> Value {
    let item = |item: &Item| match item {
        Item::Event(event) => json!({ "event": event.event, "data": event.data, "id": event.id }),
        Item::Retry(retry) => json!({ "retry": u64::try_from(retry.as_millis()).unwrap() }),
    };
    let items: Vec<Value> = reading.items.iter().map(item).collect();
    let mut value = json!({ "items": items, "last_event_id": reading.last_event_id });
    if let Some(error) = reading.error {
        value["error"] = match error {
            DecodeError::LineTooLong { .. } => "line_too_long".into(),
            DecodeError::EventTooLong { .. } => "event_too_long".into(),
        };
    }
    value
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn files(folder: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn fixtures() -> Vec<Fixture> {
    let folders = [folder(""), folder("limits")];
    folders.iter().flat_map(|folder| files(folder, "sse")).map(|sse| Fixture::open(&sse)).collect()
}

#[test]
fn every_case_has_both_of_its_files() {
    for folder in [folder(""), folder("limits")] {
        let sse = files(&folder, "sse");
        let json: BTreeSet<_> = files(&folder, "json").iter().map(|path| path.with_extension("sse")).collect();
        assert!(!sse.is_empty());
        assert_eq!(sse, json);
    }
}

#[test]
fn every_case_means_what_it_should_in_one_chunk() {
    for fixture in fixtures() {
        fixture.check([fixture.bytes.as_slice()], "in one chunk");
    }
}

#[test]
fn every_case_means_the_same_byte_by_byte() {
    for fixture in fixtures() {
        fixture.check(fixture.bytes.chunks(1), "byte by byte");
        fixture.check(fixture.bytes.chunks(1).flat_map(|byte| [byte, &[]]), "byte by byte with empty chunks between");
    }
}

#[test]
fn every_case_means_the_same_cut_in_two_anywhere() {
    for fixture in fixtures() {
        for at in 0..=fixture.bytes.len() {
            let (left, right) = fixture.bytes.split_at(at);
            fixture.check([left, right], format_args!("cut at {at}"));
        }
    }
}

#[test]
fn every_short_case_means_the_same_cut_in_three_anywhere() {
    for fixture in fixtures().iter().filter(|fixture| fixture.bytes.len() < CUT_IN_THREE_BYTES_MAX) {
        for first in 0..=fixture.bytes.len() {
            let (left, rest) = fixture.bytes.split_at(first);
            for second in 0..=rest.len() {
                let (middle, right) = rest.split_at(second);
                fixture.check([left, middle, right], format_args!("cut at {first} and {}", first + second));
            }
        }
    }
}

#[test]
fn the_fuzzed_property_holds_for_every_case() {
    for fixture in fixtures() {
        holds(&fixture.bytes, &[1, 0, 2, 3, 5, 8, 13]);
    }
}
