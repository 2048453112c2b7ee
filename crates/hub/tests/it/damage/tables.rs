//! Tables of the store whose files are gone or damaged, one after another and together.

use std::fs;

use fanfare_hub::{ChannelName, Hub};

use super::fixture::{Story, Told, place, read};

/// The tables of the store, by the numbers of their folders.
const TABLES: [&str; 7] = ["log", "by_channel", "channels", "epochs", "idempotency", "due", "meta"];

/// Overwrites something of each file of a table.
fn spoil(folder: &std::path::Path, table: usize, at: impl Fn(usize) -> std::ops::Range<usize>) {
    for file in fs::read_dir(folder.join(format!("keyspaces/{table}/tables"))).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let at = at(bytes.len());
        bytes[at].fill(0xa5);
        fs::write(path, bytes).unwrap();
    }
}

/// Checks that no gap is told, but for a channel's own events that are missing.
fn check_others(story: &Story, told: &Told, what: &str) {
    for (scope, from, to) in &told.gaps {
        let is_missing = |(place, (channel, _)): (&(u64, u64), &(String, String))| {
            channel == scope && from < place && place <= to && !told.events.contains_key(place)
        };
        assert!(scope == "*" || story.events.iter().any(is_missing), "{what}: {scope} lost nothing");
    }
}

#[tokio::test]
async fn a_table_without_its_files_costs_only_what_the_others_do_not_know() {
    let story = Story::in_tables(60).await;
    for (number, table) in (1..).zip(TABLES) {
        for what in ["tables", "current", ""] {
            let folder = story.copy();
            let path = folder.path().join(format!("keyspaces/{number}")).join(what);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
            let told = read(folder.path()).await;
            let what = format!("table {table} without {what}");
            story.check(&told, &what);
            check_others(&story, &told, &what);
            if table != "log" || what.ends_with("current") {
                assert_eq!((told.events.len(), told.gaps.len()), (story.events.len(), 0), "{what}");
            }
            let again = read(folder.path()).await;
            assert!(again.events == told.events, "{what}: the same after further starts");
            assert_eq!(again.gaps, told.gaps, "{what}: the same after further starts");
        }
    }
}

#[tokio::test]
async fn a_spoiled_table_costs_only_what_the_others_do_not_know() {
    let story = Story::in_tables(60).await;
    for (number, table) in (0..).zip(["names"].into_iter().chain(TABLES)) {
        for (what, at) in [("front", 0..1), ("middle", 2..3), ("end", 4..5)] {
            let folder = story.copy();
            spoil(folder.path(), number, |size| size * at.start / 5..size * at.end / 5);
            let told = read(folder.path()).await;
            let what = format!("the {what} of table {table}");
            story.check(&told, &what);
            if table != "log" {
                assert_eq!((told.events.len(), told.gaps.len()), (story.events.len(), 0), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn tables_that_are_lost_together_are_told_together() {
    let story = Story::in_tables(60).await;
    for tables in [&[1, 2][..], &[1, 3], &[2, 3], &[1, 2, 3, 4, 5, 6, 7], &[4, 7], &[3, 7], &[2, 3, 4, 5, 6, 7]] {
        let folder = story.copy();
        for table in tables {
            fs::remove_dir_all(folder.path().join(format!("keyspaces/{table}"))).unwrap();
        }
        let told = read(folder.path()).await;
        story.check(&told, &format!("tables {tables:?}"));
        if !tables.contains(&1) {
            assert_eq!(told.events.len(), story.events.len(), "tables {tables:?}: the log says the rest");
        }
    }
}

#[tokio::test]
async fn after_tables_are_lost_no_number_is_given_twice_and_histories_go_on() {
    let story = Story::in_tables(60).await;
    for tables in [&[3][..], &[4], &[7], &[2, 3, 4, 7]] {
        let folder = story.copy();
        for table in tables {
            fs::remove_dir_all(folder.path().join(format!("keyspaces/{table}"))).unwrap();
        }
        let hub = Hub::open(folder.path()).unwrap();
        for n in 0..6 {
            let id = place(&hub.publish(&format!("c{n}"), "more").await.unwrap().id.unwrap());
            assert!(story.events.keys().all(|other| *other < id), "tables {tables:?}: {id:?}");
            let info = hub.channel(&ChannelName::new(&format!("c{n}")).unwrap()).unwrap();
            assert_eq!(info.events, 21, "tables {tables:?}");
        }
        hub.close().await;
    }
}
