//! Stores whose files are small, rewritten while they are used.

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

    /// A store with so many events in files, of which every second one is then removed.
    fn half_dead(folder: &std::path::Path, seed: u64, count: u64) -> Self {
        let pair = Self::at(folder, seed);
        pair.put(0..count, 1_000);
        pair.store.wait_for_tables(Table::Log);
        assert!(pair.store.reclaim_table(Table::Log, &|| true).unwrap());
        assert_eq!(pair.store.dead_bytes(Table::Log), Some(0));
        pair.remove((0..count).filter(|key| key % 2 > 0));
        pair
    }
}

#[test]
fn whoever_wants_it_to_stop_is_asked_first() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::half_dead(folder.path(), 3, 4_000);
    assert!(!pair.store.reclaim_table(Table::Log, &|| false).unwrap());
    pair.check();
}

#[test]
fn reopening_waits_for_the_table_at_work_while_everything_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::half_dead(folder.path(), 4, 4_000);
    pair.store.wait_for_tables(Table::Log);
    let refused = Cell::new(0);
    let go_on = || {
        assert!(matches!(pair.store.reopen(), Err(StoreError::Failed(_))));
        pair.check();
        refused.set(refused.get() + 1);
        true
    };
    // The one that was at work ends; there is none after it.
    let done = pair.store.reclaim_table(Table::Log, &go_on).unwrap();
    assert!(done && refused.get() == 1, "{refused:?}");
    assert!(!pair.store.reclaim_table(Table::Log, &|| true).unwrap());
    pair.store.reopen().unwrap();
    pair.check();
    assert!(pair.store.reclaim_table(Table::Log, &|| true).unwrap(), "then it may go on");
    pair.check();
}

#[test]
fn what_can_be_given_back_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::half_dead(folder.path(), 5, 3_000);
    pair.store.wait_for_tables(Table::Log);
    drop(pair.store);
    let store = FjallStore::open(folder.path()).unwrap();
    let dead = store.dead_bytes(Table::Log).unwrap();
    assert!((MIB..=3 * MIB).contains(&dead), "{dead}");
    assert!(store.reclaim_table(Table::Log, &|| true).unwrap());
    assert_eq!(store.dead_bytes(Table::Log), Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]
    #[test]
    fn a_table_holds_the_same_however_it_is_rewritten(
        seed in 1u64..,
        rounds in prop::collection::vec((0u64..4_000, 1u64..1_500, 0u64..4_000, 1u64..1_500, 1u64..5), 3..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::at(folder.path(), seed);
        for (from, count, gone, gone_count, part) in rounds {
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
            pair.store.reclaim_table(Table::Log, &more).unwrap();
            pair.check();
            prop_assert_eq!(reader.count(), seen);
        }
        pair.store.wait_for_tables(Table::Log);
        pair.check();
        pair.store.reopen().unwrap();
        pair.check();
    }
}

#[test]
fn what_is_flushed_needs_no_journal_but_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let journals = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "jnl")).count()
    };
    let store = FjallStore::open(folder.path()).unwrap();
    // Of noise, as the engine presses what it can.
    let mut state = 5_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 32) as u32
    });
    let value = bytes::Bytes::from(noise.take(MIB as usize / 4).flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
    let mut count = 0_u64;
    // The engine begins the next journal after 64 MB. It keeps this one, too, as the table `meta` has little to write.
    while journals() < 2 {
        let mut batch = Batch::default();
        batch.put(Table::Log, count.to_be_bytes().to_vec(), value.clone());
        store.commit(batch, Persist::Later).unwrap();
        count += 1;
    }
    store.flush(&|| true).unwrap();
    drop(store);
    assert_eq!(journals(), 1);
    let store = FjallStore::open(folder.path()).unwrap();
    let found = store.scan(Table::Log, ALL, Order::Ascending).map(Result::unwrap);
    assert!(
        found
            .map(|(key, found)| (key, found == value))
            .eq((0..count).map(|key| (key.to_be_bytes().to_vec().into(), true)))
    );
}
