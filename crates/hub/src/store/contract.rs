//! What every store must do, as one suite that each store's test runs.

use std::ops::Bound;

use bytes::Bytes;

use super::fjall::FjallStore;
use super::memory::MemoryStore;
use super::{Batch, KeyRange, Order, Persist, Store, Table, keys_with_prefix};

const ALL: KeyRange = (Bound::Unbounded, Bound::Unbounded);

fn keys(store: &dyn Store, table: Table, range: KeyRange, order: Order) -> Vec<Bytes> {
    store.scan(table, range, order).map(|pair| pair.unwrap().0).collect()
}

fn put(store: &dyn Store, table: Table, pairs: &[(&'static str, &'static str)]) {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(table, *key, *value);
    }
    store.commit(batch, Persist::Now).unwrap();
}

/// Runs the suite against an empty store.
fn holds_for(store: &dyn Store) {
    a_batch_is_seen_whole_once_it_is_committed(store);
    tables_are_apart(store);
    scans_go_both_ways_within_their_bounds(store);
    a_scan_that_began_goes_on_while_the_table_changes(store);
    what_was_removed_is_gone_also_after_reclaiming(store);
    what_lies_above_stays_when_the_front_is_dropped(store);
    everything_is_there_after_reopening_and_goes_on(store);
}

fn what_lies_above_stays_when_the_front_is_dropped(store: &dyn Store) {
    let table = Table::Log;
    let key = |n: u32| n.to_be_bytes().to_vec();
    for n in 0..100 {
        let mut batch = Batch::default();
        batch.put(table, key(n), vec![7; 100]);
        store.commit(batch, Persist::Later).unwrap();
    }
    assert!(store.reclaim_table(table, &|| true).unwrap());
    assert!(store.table_bytes(table) > Some(0));
    for below in [0, 60, 60, 99] {
        let mut batch = Batch::default();
        (0..=below).for_each(|n| batch.remove(table, key(n)));
        store.commit(batch, Persist::Now).unwrap();
        store.drop_below(table, &key(below)).unwrap();
        let above = (Bound::Excluded(key(below)), Bound::Excluded(key(100)));
        let expected: Vec<Bytes> = (below + 1..100).map(|n| key(n).into()).collect();
        assert_eq!(keys(store, table, above, Order::Ascending), expected);
    }
}

fn a_batch_is_seen_whole_once_it_is_committed(store: &dyn Store) {
    let mut batch = Batch::default();
    batch.put(Table::Meta, "x", "1");
    batch.put(Table::Meta, "x", "2");
    batch.put(Table::Meta, "y", "1");
    batch.remove(Table::Meta, "y");
    store.commit(batch, Persist::Later).unwrap();
    assert_eq!(store.get(Table::Meta, b"x").unwrap().as_deref(), Some(&b"2"[..]), "the last change counts");
    assert_eq!(store.get(Table::Meta, b"y").unwrap(), None);
    store.commit(Batch::default(), Persist::Now).unwrap();
}

fn tables_are_apart(store: &dyn Store) {
    for table in Table::ALL {
        put(store, table, &[("same", table.as_str())]);
    }
    for table in Table::ALL {
        assert_eq!(store.get(table, b"same").unwrap().as_deref(), Some(table.as_str().as_bytes()));
    }
}

fn scans_go_both_ways_within_their_bounds(store: &dyn Store) {
    let table = Table::Channels;
    put(store, table, &[("a", ""), ("b", ""), ("b1", ""), ("b\u{7f}", ""), ("c", "")]);
    assert_eq!(keys(store, table, keys_with_prefix(b"b"), Order::Ascending), ["b", "b1", "b\u{7f}"]);
    assert_eq!(keys(store, table, keys_with_prefix(b"b"), Order::Descending), ["b\u{7f}", "b1", "b"]);
    let after_a = (Bound::Excluded(b"a".to_vec()), Bound::Included(b"b1".to_vec()));
    assert_eq!(keys(store, table, after_a.clone(), Order::Ascending), ["b", "b1"]);
    assert_eq!(keys(store, table, after_a, Order::Descending), ["b1", "b"]);
    let void = (Bound::Included(b"c".to_vec()), Bound::Excluded(b"a".to_vec()));
    assert!(keys(store, table, void, Order::Ascending).is_empty());
}

fn a_scan_that_began_goes_on_while_the_table_changes(store: &dyn Store) {
    let table = Table::Due;
    put(store, table, &[("1", ""), ("2", ""), ("3", "")]);
    let mut scan = store.scan(table, keys_with_prefix(b""), Order::Ascending);
    assert_eq!(scan.next().unwrap().unwrap().0, "1");
    put(store, table, &[("4", "")]);
    let rest: Vec<_> = scan.map(|pair| pair.unwrap().0).collect();
    assert!(rest.starts_with(&["2".into(), "3".into()]), "what was there is seen: {rest:?}");
}

fn what_was_removed_is_gone_also_after_reclaiming(store: &dyn Store) {
    let table = Table::Log;
    put(store, table, &[("k1", "v"), ("k2", "v")]);
    let mut batch = Batch::default();
    batch.remove(table, "k1");
    store.commit(batch, Persist::Now).unwrap();
    assert_eq!(store.get(table, b"k1").unwrap(), None);
    store.reclaim().unwrap();
    assert_eq!(store.get(table, b"k1").unwrap(), None);
    assert_eq!(store.get(table, b"k2").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(keys(store, table, ALL, Order::Descending).last().map(AsRef::as_ref), Some(&b"k2"[..]));
}

fn everything_is_there_after_reopening_and_goes_on(store: &dyn Store) {
    let table = Table::Epochs;
    put(store, table, &[("before", "1")]);
    let mut batch = Batch::default();
    batch.put(table, "unsynced", "1");
    store.commit(batch, Persist::Later).unwrap();
    for round in ["1", "2"] {
        store.reopen().unwrap();
        put(store, table, &[("after", round)]);
        assert_eq!(keys(store, table, ALL, Order::Ascending), ["after", "before", "same", "unsynced"]);
        assert_eq!(store.get(table, b"after").unwrap().as_deref(), Some(round.as_bytes()));
    }
    assert!(store.wait(std::time::Duration::ZERO), "it can be read");
}

#[test]
fn the_contract_holds_in_memory() {
    holds_for(&super::faulty::FaultyStore::default());
    holds_for(&MemoryStore::default());
    holds_for(&MemoryStore::forgetful());
}

#[test]
fn the_contract_holds_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    holds_for(&FjallStore::open(folder.path()).unwrap());
}

#[test]
fn what_was_committed_is_there_after_reopening_and_the_folder_is_locked_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    put(&store, Table::Log, &[("k", "v")]);
    assert!(matches!(FjallStore::open(folder.path()), Err(super::StoreError::Locked)));
    drop(store);
    let store = FjallStore::open(folder.path()).unwrap();
    assert_eq!(store.get(Table::Log, b"k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn reopening_waits_for_scans_and_refuses_everything_else_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    put(&store, Table::Log, &[("a", "1"), ("b", "2")]);
    let mut scan = store.scan(Table::Log, ALL, Order::Ascending);
    assert_eq!(scan.next().unwrap().unwrap().0, "a");
    std::thread::scope(|scope| {
        let reopening = scope.spawn(|| store.reopen());
        // Whoever holds a scan may ask for something else; if that waited, both would for ever.
        while store.get(Table::Log, b"a").is_ok() {
            std::thread::yield_now();
        }
        assert!(matches!(store.get(Table::Log, b"a"), Err(super::StoreError::Reopening)));
        let refused = store.scan(Table::Log, ALL, Order::Descending).next().unwrap();
        assert!(matches!(refused, Err(super::StoreError::Reopening)));
        assert!(!store.wait(std::time::Duration::ZERO));
        assert_eq!(scan.next().unwrap().unwrap().0, "b", "what was begun goes on");
        drop(scan);
        reopening.join().unwrap().unwrap();
    });
    assert!(store.wait(std::time::Duration::ZERO));
    assert_eq!(keys(&store, Table::Log, ALL, Order::Ascending), ["a", "b"]);
    assert!(matches!(FjallStore::open(folder.path()), Err(super::StoreError::Locked)));
}

#[test]
fn a_store_that_can_not_be_reopened_yet_can_be_read_and_is_reopened_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    put(&store, Table::Log, &[("a", "1")]);
    // No file can be made where a folder is.
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let journal = names.into_iter().find(|path| path.extension().is_some_and(|of| of == "jnl")).unwrap();
    let in_the_way = journal.with_extension("jnl-copy");
    std::fs::create_dir(&in_the_way).unwrap();
    store.reopen().unwrap_err();
    assert_eq!(store.get(Table::Log, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    std::fs::remove_dir(in_the_way).unwrap();
    store.reopen().unwrap();
    put(&store, Table::Log, &[("b", "1")]);
    assert_eq!(keys(&store, Table::Log, ALL, Order::Ascending), ["a", "b"]);
}

#[test]
fn a_store_whose_background_work_failed_says_so_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    put(&store, Table::Log, &[("a", "1")]);
    // The journal is written as before, but no table can be.
    let (tables, away) = (folder.path().join("keyspaces"), folder.path().join("away"));
    std::fs::rename(&tables, &away).unwrap();
    assert!(store.reclaim().is_err(), "it neither succeeds nor waits for workers that are gone");
    let asked = store.commit(Batch::default(), Persist::Later);
    assert!(asked.is_err(), "it takes nothing any more");
    std::fs::rename(&away, &tables).unwrap();
    store.reopen().unwrap();
    put(&store, Table::Log, &[("b", "1")]);
    store.reclaim().unwrap();
    assert_eq!(keys(&store, Table::Log, ALL, Order::Ascending), ["a", "b"]);
}

#[test]
fn dropping_the_front_frees_its_files_without_writing_any_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    let key = |n: u64| n.to_be_bytes().to_vec();
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for n in 0..4096 {
        let mut batch = Batch::default();
        batch.put(Table::Log, key(n), (0..2048).map(|_| noise()).collect::<Vec<_>>());
        store.commit(batch, Persist::Later).unwrap();
    }
    let before = store.wait_for_tables(Table::Log);
    store.drop_below(Table::Log, &key(2048)).unwrap();
    let after = store.table_bytes(Table::Log).unwrap();
    assert!(after < before - 2_000_000 && after > 2_000_000, "{before} bytes before, {after} after");
    assert!(store.get(Table::Log, &key(2049)).unwrap().is_some());
}

#[test]
fn removing_really_frees_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    // Not compressible, or there would be nothing to free.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for n in 0..4096u64 {
        let mut batch = Batch::default();
        batch.put(Table::Log, n.to_be_bytes().to_vec(), (0..4096).map(|_| noise()).collect::<Vec<_>>());
        store.commit(batch, Persist::Later).unwrap();
    }
    store.reclaim().unwrap();
    let tables = |store: &FjallStore| store.tables_bytes();
    let before = tables(&store);
    let mut batch = Batch::default();
    for n in 0..4000u64 {
        batch.remove(Table::Log, n.to_be_bytes().to_vec());
    }
    store.commit(batch, Persist::Now).unwrap();
    store.reclaim().unwrap();
    let after = tables(&store);
    assert!(before > 15_000_000 && after * 10 < before, "{before} bytes before, {after} after");
}
