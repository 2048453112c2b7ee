//! The quick run: everything is done once, nothing is lost. No figure is judged here.

#![expect(clippy::panic, reason = "a panic is how a test fails")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use fanfare_bench::retention::{self, RetentionOptions};
use fanfare_bench::{Effort, Options, Part, Row, engine};

fn assert_worked(row: &Row) {
    assert!(row.rounds > 0, "{row:?}");
    assert!(row.published > 0, "{row:?}");
    // The run itself fails on events out of turn, twice or with a gap.
    assert_eq!(row.delivered, row.published, "{row:?}");
    assert!(row.of_subject.bytes_per_s > 0.0 && row.of_limit.bytes_per_s > 0.0, "{row:?}");
}

#[test]
fn a_quick_run_does_all_the_work_and_loses_nothing() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let options = Options { parts: Part::ALL.to_vec(), effort: Effort::Quick, keyed: NonZeroUsize::new(10), folder };
    let table = engine::measure(&options).unwrap();
    let subjects: Vec<&str> = table.rows.iter().map(|row| row.subject.as_str()).collect();
    let of = |what: &str| subjects.iter().filter(|subject| subject.starts_with(what)).count();
    let counts = ["encode", "decode", "append durable", "append memory", "catch-up"].map(of);
    assert_eq!(counts, [1, 1, 6, 6, 3], "{subjects:?}");
    let (keyed, plain): (Vec<&Row>, Vec<&Row>) = table.rows.iter().partition(|row| row.subject.contains("10 keys"));
    plain.into_iter().for_each(assert_worked);
    assert_eq!(keyed.len(), 6, "{subjects:?}");
    for row in keyed {
        // The run itself fails unless the last value of each key is there, and nothing else.
        assert_eq!(row.delivered, 10 * row.rounds as u64, "{row:?}");
        assert!(row.published > row.delivered, "{row:?}");
    }

    let markdown = table.to_markdown();
    assert_eq!(markdown.lines().count(), table.rows.len() + 2, "{markdown}");
    let json = serde_json::to_value(&table).unwrap();
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(table.rows.len()));
}

#[test]
fn a_quick_run_of_retention_removes_what_is_beyond_limits_and_only_that() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let options = RetentionOptions {
        channels: vec![2],
        publishers: 4,
        bytes: 300,
        disk_max_mib: 64,
        count_max: 20,
        duration_s: 1,
        warm_up_s: 0,
        rounds: 1,
        folder,
    };
    let table = retention::measure(&options).unwrap();
    let [without, disk, count] = &table.rows[..] else { panic!("{table}") };
    assert!(without.removed < 1.0 && without.events_per_s > 0.0, "{table}");
    assert!(disk.removed < 1.0, "a second doesn't fill 64 MiB: {table}");
    assert!(count.removed >= 1.0, "{table}");
}
