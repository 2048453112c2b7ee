//! Stores whose files are small, so that a few MB lie on several levels, rewritten while they are used.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use crate::store::fjall::FjallStore;
use crate::store::{Batch, KeyRange, Order, Persist, Store, StoreError, Table};

const ALL: KeyRange = (Bound::Unbounded, Bound::Unbounded);
const MIB: u64 = 1024 * 1024;

/// A store beside what it should hold.
struct Pair {
    store: FjallStore,
    model: RefCell<BTreeMap<u64, Vec<u8>>>,
    state: Cell<u64>,
}

impl Pair {
    fn at(folder: &std::path::Path, seed: u64) -> Self {
        Self { store: FjallStore::open(folder).unwrap(), model: RefCell::default(), state: Cell::new(seed) }
    }

    fn noise(&self) -> u64 {
        self.state.set(self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        self.state.get() >> 24
    }

    fn put(&self, keys: impl Iterator<Item = u64>, bytes: usize) {
        let mut batch = Batch::default();
        for key in keys {
            let value: Vec<u8> = (0..bytes / 5).flat_map(|_| self.noise().to_be_bytes().into_iter().skip(3)).collect();
            batch.put(Table::Log, key.to_be_bytes().to_vec(), value.clone());
            self.model.borrow_mut().insert(key, value);
            if batch.changes.len() == 128 {
                self.store.commit(std::mem::take(&mut batch), Persist::Later).unwrap();
            }
        }
        self.store.commit(batch, Persist::Later).unwrap();
    }

    fn remove(&self, keys: impl Iterator<Item = u64>) {
        let mut batch = Batch::default();
        for key in keys {
            batch.remove(Table::Log, key.to_be_bytes().to_vec());
            self.model.borrow_mut().remove(&key);
        }
        self.store.commit(batch, Persist::Later).unwrap();
    }

    fn check(&self) {
        let model = self.model.borrow();
        let mut count = 0;
        for (pair, (key, value)) in self.store.scan(Table::Log, ALL, Order::Ascending).zip(model.iter()) {
            let (found, bytes) = pair.unwrap();
            assert_eq!((&found[..], &bytes[..]), (&key.to_be_bytes()[..], &value[..]));
            count += 1;
        }
        assert_eq!(count, model.len());
        assert_eq!(self.store.scan(Table::Log, ALL, Order::Ascending).count(), model.len());
    }

    /// Has all that is there on the last level, where the engine itself has nothing to do about it.
    fn settle(&self) {
        self.store.wait_for_tables(Table::Log);
        assert!(self.store.reclaim_table(Table::Log, u64::MAX, &|| true).unwrap());
    }

    /// What should be kept, in bytes.
    fn live(&self) -> u64 {
        self.model.borrow().values().map(|value| value.len() as u64 + 8).sum()
    }
}

#[test]
fn steps_give_back_what_was_removed_while_commits_go_on_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::at(folder.path(), 1);
    for round in 0..16 {
        pair.put(round * 1_000..(round + 1) * 1_000, 1_000);
    }
    pair.store.wait_for_tables(Table::Log);
    // Scattered over all of it: of three one is written again, one is removed and one stays.
    pair.put((0..16_000).filter(|key| key % 3 == 0), 1_000);
    pair.remove((0..16_000).filter(|key| key % 3 == 1));
    let before = pair.store.wait_for_tables(Table::Log);
    let steps = Cell::new(0u64);
    let go_on = || {
        steps.set(steps.get() + 1);
        // Publishers go on, with what is written to files at once.
        if steps.get().is_multiple_of(2) {
            pair.put(20_000 + steps.get()..20_001 + steps.get(), 10_000);
            pair.store.wait_for_tables(Table::Log);
        }
        true
    };
    assert!(pair.store.reclaim_table(Table::Log, 0, &go_on).unwrap());
    let after = pair.store.wait_for_tables(Table::Log);
    assert!(steps.get() > 4, "{} steps", steps.get());
    assert!(before > 18 * MIB, "{before}");
    assert!(after < pair.live() * 5 / 4, "{before} bytes before, {after} after, {} live", pair.live());
    pair.check();
}

#[test]
fn what_steps_leave_is_written_anew_at_once_where_the_table_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::at(folder.path(), 2);
    pair.put(100..1_100, 1_000);
    pair.settle();
    // One file with marks from before the first key to behind the last.
    pair.put([1, 5_000].into_iter(), 10);
    pair.remove((100..1_100).filter(|key| key % 10 > 0));
    assert!(pair.store.reclaim_table(Table::Log, 0, &|| true).unwrap());
    assert!(pair.store.dead_bytes(Table::Log) > Some(0), "the steps were enough, or this test shows nothing");
    assert!(pair.store.reclaim_table(Table::Log, MIB * 16, &|| true).unwrap());
    assert_eq!(pair.store.dead_bytes(Table::Log), Some(0));
    let after = pair.store.table_bytes(Table::Log).unwrap();
    assert!(after < pair.live() * 3 / 2, "{after} bytes, {} live", pair.live());
    pair.check();
}

#[test]
fn whoever_wants_it_to_stop_waits_for_a_step_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::at(folder.path(), 3);
    pair.put(0..4_000, 1_000);
    pair.settle();
    pair.remove((0..4_000).filter(|key| key % 2 > 0));
    pair.store.wait_for_tables(Table::Log);
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) < 1;
    assert!(!pair.store.reclaim_table(Table::Log, u64::MAX, &stop).unwrap());
    assert_eq!(asked.get(), 2, "nothing more was done");
    assert!(!pair.store.reclaim_table(Table::Log, u64::MAX, &|| false).unwrap());
    pair.check();
}

#[test]
fn reopening_waits_for_the_step_at_work_while_everything_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::at(folder.path(), 4);
    pair.put(0..4_000, 1_000);
    pair.settle();
    pair.remove((0..4_000).filter(|key| key % 2 > 0));
    pair.store.wait_for_tables(Table::Log);
    let refused = Cell::new(0);
    let go_on = || {
        assert!(matches!(pair.store.reopen(), Err(StoreError::Failed(_))));
        pair.check();
        refused.set(refused.get() + 1);
        true
    };
    // The step that was at work ends; there is none after it.
    let done = pair.store.reclaim_table(Table::Log, u64::MAX, &go_on).unwrap();
    assert!(!done && refused.get() == 1, "{refused:?}");
    pair.store.reopen().unwrap();
    pair.check();
    assert!(pair.store.reclaim_table(Table::Log, u64::MAX, &|| true).unwrap(), "then it may go on");
    pair.check();
}

#[test]
fn what_can_be_given_back_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::at(folder.path(), 5);
    pair.put(0..3_000, 1_000);
    pair.settle();
    assert_eq!(pair.store.dead_bytes(Table::Log), Some(0));
    pair.remove((0..3_000).filter(|key| key % 2 > 0));
    pair.store.wait_for_tables(Table::Log);
    drop(pair.store);
    let store = FjallStore::open(folder.path()).unwrap();
    let dead = store.dead_bytes(Table::Log).unwrap();
    assert!((MIB..=3 * MIB).contains(&dead), "{dead}");
    assert!(store.reclaim_table(Table::Log, u64::MAX, &|| true).unwrap());
    assert_eq!(store.dead_bytes(Table::Log), Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]
    #[test]
    fn a_table_holds_the_same_however_it_is_rewritten(
        seed in 1u64..,
        rounds in prop::collection::vec((0u64..4_000, 1u64..1_500, 0u64..4_000, 1u64..1_500, 1u64..5, any::<bool>()), 3..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::at(folder.path(), seed);
        for (from, count, gone, gone_count, part, whole) in rounds {
            pair.put(from..from + count, 600);
            pair.remove((gone..gone + gone_count).filter(|key| key % part == 0));
            // Readers that began before see what there was.
            let reader = pair.store.scan(Table::Log, ALL, Order::Ascending);
            let seen = pair.model.borrow().len();
            let more = || {
                if pair.noise().is_multiple_of(3) {
                    pair.put([pair.noise() % 4_000].into_iter(), 600);
                    pair.remove([pair.noise() % 4_000].into_iter());
                }
                true
            };
            pair.store.reclaim_table(Table::Log, if whole { u64::MAX } else { 0 }, &more).unwrap();
            pair.check();
            prop_assert_eq!(reader.count(), seen);
        }
        pair.store.wait_for_tables(Table::Log);
        pair.check();
        pair.store.reopen().unwrap();
        pair.check();
    }
}
