//! Journals cut, flipped, overwritten and with events that hold batches: what is kept of them.

use super::*;
use crate::store::fjall::FjallStore;
use crate::store::{Batch as Changes, Persist, Store, Table};

fn is_long() -> bool {
    std::env::var_os("FANFARE_LONG").is_some()
}

/// A journal as the engine writes it.
struct Journal {
    bytes: Vec<u8>,
    /// The ends of its batches.
    ends: Vec<usize>,
    seal: Seal,
}

impl Journal {
    /// Looks at it, or at what became of it, as the last one of its folder.
    fn look_at(&self, bytes: &[u8]) -> (Mended, Vec<Lost>) {
        let mut state = State { seals: vec![self.seal], ..State::default() };
        let mended = state.look_at(bytes, true);
        (mended, state.all_lost())
    }

    /// Checks that nothing was kept but whole batches of it.
    fn check(&self, mended: &Mended, what: &str) {
        for end in mended.kept.iter().flat_map(|kept| [kept.start, kept.end]) {
            assert!(self.ends.contains(&end), "{what}: no batch of the engine begins or ends at {end}");
        }
    }
}

fn commit(store: &FjallStore, n: u64, data: Vec<u8>) {
    let mut changes = Changes::default();
    changes.put(Table::Log, n.to_be_bytes().to_vec(), data);
    changes.put(Table::Meta, "head", n.to_be_bytes().to_vec());
    store.commit(changes, Persist::Now).unwrap();
}

fn journal(batches: u64, data: impl Fn(u64) -> Vec<u8>) -> Journal {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    (1..=batches).for_each(|n| commit(&store, n, data(n)));
    drop(store);
    let bytes = read(&folder.path().join("0.jnl")).unwrap();
    let (mut at, mut ends) = (0, vec![0]);
    while let Some(batch) = parse(&bytes, at) {
        assert!(batch.seal.is_some() && batch.count == batch.items);
        at = batch.end;
        ends.push(at);
    }
    assert_eq!((at, ends.len() as u64), (bytes.len(), batches + 1), "all of it is understood");
    Journal { bytes, ends, seal: Seal::read(folder.path()).unwrap() }
}

fn plain(n: u64) -> Vec<u8> {
    vec![7; 50 + n as usize * 30]
}

/// The number of the table `meta`.
const META: u64 = 7;

fn item(kind: u8, table: u64, key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [(value.len() as u32).to_le_bytes(); 2].concat();
    [&[2, kind, 0][..], &table.to_le_bytes(), &(key.len() as u16).to_le_bytes(), &lengths, key, value].concat()
}

/// A whole batch as somebody else would make it, with a row of the log and one of the table `meta`.
fn forged(sequence: u64, seal: Option<&[u8]>) -> Vec<u8> {
    let mut items = seal.map(|seal| item(1, META, seal, &[])).unwrap_or_default();
    let count = 2 + u32::from(seal.is_some());
    items.extend(item(0, LOG, &sequence.to_be_bytes(), b"forged"));
    items.extend(item(0, META, b"forged", b"forged"));
    let mut hasher = Xxh3::new();
    hasher.update(&items);
    let start = [&[1][..], &count.to_le_bytes(), &sequence.to_le_bytes()].concat();
    [start, items, vec![3], hasher.digest().to_le_bytes().to_vec(), TRAILER.to_vec()].concat()
}

/// Data that holds batches: without a seal, with some seal, in a row, and at last one that takes in what follows.
fn nested(n: u64) -> Vec<u8> {
    let seal = Seal::of_item(&item(1, META, &[&b"seal/"[..], &[9; 16]].concat(), &[])).unwrap();
    let mut data = plain(n);
    for sequence in [n + 20, n + 21, 1000] {
        data.extend(forged(sequence, None));
        data.extend(forged(sequence + 5, Some(&seal.key())));
    }
    let open = forged(n + 30, None);
    data.extend(&open[..open.len() - 13]);
    data.extend([0; 40]);
    assert!(data.len() < 4096, "the engine doesn't compress it");
    data
}

#[test]
fn what_the_tests_forge_is_a_whole_batch() {
    for seal in [None, Some(&[&b"seal/"[..], &[9; 16]].concat()[..])] {
        let bytes = forged(5, seal);
        let batch = parse(&bytes, 0).unwrap();
        assert_eq!((batch.end, batch.seal.is_some()), (bytes.len(), seal.is_some()));
        assert_eq!((batch.count, batch.sequence), (batch.items, 5));
    }
}

#[test]
fn a_journal_cut_anywhere_keeps_exactly_its_whole_batches() {
    for data in [plain, nested] {
        let journal = journal(if is_long() { 60 } else { 8 }, data);
        for cut in 0..=journal.bytes.len() {
            let (mended, lost) = journal.look_at(&journal.bytes[..cut]);
            let whole = journal.ends.iter().rev().find(|end| **end <= cut).unwrap();
            assert_eq!((mended.end, mended.torn), (*whole, cut - whole), "cut at {cut}");
            assert!(lost.is_empty() && mended.starts.is_empty() && !mended.is_damaged, "cut at {cut}");
        }
    }
}

#[test]
fn a_bit_flipped_anywhere_costs_the_batch_it_is_in_and_no_other() {
    for data in [plain, nested] {
        let journal = journal(8, data);
        let length = journal.bytes.len();
        for bit in (0..length * 8).step_by(if is_long() { 1 } else { 13 }) {
            let mut flipped = journal.bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (mended, lost) = journal.look_at(&flipped);
            journal.check(&mended, &format!("bit {bit}"));
            let kept: usize = mended.kept.iter().map(Range::len).sum();
            let number = journal.ends.iter().filter(|end| **end <= bit / 8).count();
            let batch = journal.ends[number] - journal.ends[number - 1];
            assert!(kept == length || kept + batch == length, "bit {bit}: {kept} bytes are kept");
            // In the last batch nobody can tell it from a torn end.
            assert_eq!(lost.is_empty(), kept == length || number == 8, "bit {bit}");
        }
    }
}

#[test]
fn bytes_overwritten_anywhere_never_bring_up_what_an_event_holds() {
    let journal = journal(6, nested);
    for (with, length) in [(0, 64), (0xaa, 64), (0, 400), (1, 30)] {
        for at in (0..journal.bytes.len() - length).step_by(if is_long() { 1 } else { 7 }) {
            let mut bytes = journal.bytes.clone();
            bytes[at..at + length].fill(with);
            // With and without a torn end.
            for end in [bytes.len(), bytes.len() - 300] {
                journal.check(&journal.look_at(&bytes[..end]).0, &format!("{length} bytes of {with} at {at}"));
            }
        }
    }
}

#[test]
fn damage_at_the_end_of_a_journal_that_another_follows_is_lost_and_not_torn() {
    let journal = journal(8, nested);
    let (first, second) = journal.bytes.split_at(journal.ends[4]);
    for cut in [journal.ends[3], journal.ends[3] + 1, journal.ends[4] - 1] {
        // Gone from there on, or overwritten.
        let mut overwritten = first.to_vec();
        overwritten[cut..].fill(0xaa);
        for bytes in [&first[..cut], &overwritten] {
            let mut state = State { seals: vec![journal.seal], ..State::default() };
            let one = state.look_at(bytes, false);
            let two = state.look_at(second, true);
            assert_eq!((one.end, one.is_damaged), (journal.ends[3], bytes.len() > journal.ends[3]));
            assert_eq!((two.end, two.torn, two.is_damaged), (second.len(), 0, false));
            let lost = Lost { after: Some(3u64.to_be_bytes()), before: Some(5u64.to_be_bytes()) };
            let expected: &[Lost] = if one.is_damaged { &[lost] } else { &[] };
            assert_eq!(state.all_lost(), expected, "cut at {cut}");
        }
    }
    // Nothing is known of what follows.
    let mut state = State { seals: vec![journal.seal], ..State::default() };
    state.look_at(&first[..first.len() - 1], false);
    state.look_at(&[], true);
    assert_eq!(state.all_lost(), [Lost { after: Some(3u64.to_be_bytes()), before: None }]);
}

#[test]
fn without_the_file_of_the_seal_the_batches_before_the_damage_tell_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    (1..=6).for_each(|n| commit(&store, n, nested(n)));
    drop(store);
    fs::remove_file(folder.path().join("seal")).unwrap();
    let path = folder.path().join("0.jnl");
    let mut bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> = std::iter::successors(Some(0), |at| Some(parse(&bytes, *at)?.end)).collect();
    bytes[ends[2] + START..ends[2] + 200].fill(0xaa);
    fs::write(&path, &bytes).unwrap();
    let lost = Lost { after: Some(2u64.to_be_bytes()), before: Some(4u64.to_be_bytes()) };
    assert_eq!(mend(folder.path()).unwrap(), [lost]);
    let store = FjallStore::open(folder.path()).unwrap();
    let is_there = |n: u64| store.get(Table::Log, &n.to_be_bytes()).unwrap().is_some();
    assert_eq!((1..=6).filter(|n| is_there(*n)).collect::<Vec<u64>>(), [1, 2, 4, 5, 6]);
    assert_eq!(store.get(Table::Meta, b"forged").unwrap(), None);
    assert!(Seal::read(folder.path()).is_some(), "a new one is made");
}

#[test]
fn no_batch_in_an_events_data_is_applied_after_a_power_failure() {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    commit(&store, 1, plain(1));
    commit(&store, 2, nested(2));
    drop(store);
    let path = folder.path().join("0.jnl");
    let bytes = read(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 20).unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    assert_eq!(store.lost(), []);
    assert_eq!(store.get(Table::Meta, b"forged").unwrap(), None);
    assert_eq!(store.get(Table::Meta, b"head").unwrap().as_deref(), Some(&1u64.to_be_bytes()[..]));
    assert_eq!(store.scan(Table::Log, crate::store::keys_with_prefix(b""), crate::store::Order::Ascending).count(), 1);
}
