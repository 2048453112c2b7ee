//! The fixtures: bytes and what they mean, always both.

use crate::repo::{files, nothing};

#[test]
fn every_fixture_has_its_bytes_and_what_they_mean() {
    let files = files();
    let mut alone = Vec::new();
    let mut pairs = 0;
    for path in files.iter().filter(|path| path.starts_with("fixtures/")) {
        let other = match path.rsplit_once('.') {
            Some((name, "sse")) => format!("{name}.json"),
            Some((name, "json")) => format!("{name}.sse"),
            _ => continue,
        };
        if files.contains(&other) {
            pairs += 1;
        } else {
            alone.push(format!("{path} has no {other}"));
        }
    }
    nothing(&alone, "fixtures come in pairs");
    assert!(pairs > 100, "only {pairs} files of fixtures were found");
}
