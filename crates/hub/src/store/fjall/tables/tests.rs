//! Tables cut, flipped and lost: what is kept of them.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::fjall::FjallStore;
use crate::store::{Batch, LostRows, Order, Persist, Store, keys_with_prefix};

/// Rows of the table that is damaged.
const ROWS: u64 = 400;

/// A folder with rows in files of two ages, and the last ones in the journal.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    let put = |n: u64| {
        let mut batch = Batch::default();
        // Not all the same, so that it takes more than a block.
        let value: Vec<u8> = (0..300u64).map(|at| (n.wrapping_mul(at + 7) >> 3) as u8).collect();
        batch.put(Table::Log, n.to_be_bytes().to_vec(), value);
        batch.put(Table::Meta, "head", n.to_be_bytes().to_vec());
        store.commit(batch, Persist::Now).unwrap();
    };
    (0..ROWS / 2).for_each(put);
    store.wait_for_tables(Table::Log);
    store.reclaim().unwrap();
    (ROWS / 2..ROWS).for_each(put);
    store.wait_for_tables(Table::Log);
    (ROWS..ROWS + 5).for_each(put);
    store.mark(ROWS.to_be_bytes());
    drop(store);
    folder
}

/// Copies a folder to a new one.
fn copy(from: &Path) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() {
                fs::create_dir(&to).unwrap();
                all(&path, &to);
            } else {
                fs::copy(path, to).unwrap();
            }
        }
    }
    let copy = tempfile::tempdir().unwrap();
    all(from, copy.path());
    copy
}

/// The files of the table `log`, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder.join("keyspaces/1/tables")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    files
}

/// Opens a folder; which rows it has, and what it says of those that it hasn't.
fn read(folder: &Path) -> (Vec<u64>, Vec<LostRows>) {
    let store = FjallStore::open(folder).unwrap();
    let scan = store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending);
    let rows = scan.map(|row| u64::from_be_bytes(row.unwrap().0[..].try_into().unwrap())).collect();
    (rows, store.lost_rows())
}

/// Checks that all rows are there but those between what is said to be lost.
fn check(folder: &Path, what: &str) -> usize {
    let (rows, lost) = read(folder);
    let number = |key: &Option<Vec<u8>>| key.as_ref().map(|key| u64::from_be_bytes(key[..].try_into().unwrap()));
    for n in 0..ROWS + 5 {
        let is_told = lost.iter().any(|lost| {
            lost.table == Table::Log
                && number(&lost.after).is_none_or(|after| after < n)
                && number(&lost.before).is_none_or(|before| n < before)
        });
        assert!(rows.contains(&n) || is_told, "{what}: row {n} is missing in silence; {lost:?}");
    }
    rows.len()
}

#[test]
fn a_table_cut_off_anywhere_keeps_the_blocks_before_the_cut() {
    let whole = folder();
    let sizes: Vec<u64> = files(whole.path()).iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    assert!(sizes.len() >= 2, "{sizes:?}");
    for (number, size) in sizes.iter().enumerate() {
        let is_long = std::env::var_os("FANFARE_LONG").is_some();
        let steps = if is_long { 40 } else { 3 };
        for cut in (0..*size).step_by((*size / steps) as usize | 1).chain([1, 60, 2000].map(|off| size - off)) {
            let folder = copy(whole.path());
            let file = files(folder.path())[number].clone();
            fs::File::options().write(true).open(&file).unwrap().set_len(cut).unwrap();
            let rows = check(folder.path(), &format!("file {number} cut to {cut} of {size}"));
            assert!(rows as u64 >= ROWS / 2, "the other file is whole");
            if cut + 100 > *size {
                assert_eq!(rows as u64, ROWS + 5, "only its end is gone");
            }
            if is_long {
                assert_eq!(check(folder.path(), "once more"), rows);
            }
        }
    }
}

#[test]
fn a_file_a_manifest_or_a_folder_that_is_gone_keeps_all_the_rest() {
    let whole = folder();
    for name in ["version", "keyspaces/1/current", "keyspaces/0/current", "keyspaces/0", "keyspaces/6", "keyspaces/1"] {
        let folder = copy(whole.path());
        let path = folder.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        assert!(FjallStore::open_as_it_is(folder.path()).is_err(), "{name}");
        let said = FjallStore::look(folder.path()).unwrap();
        assert!(!said.is_empty(), "{name}");
        let rows = check(folder.path(), name) as u64;
        assert!(rows == ROWS + 5 || name == "keyspaces/1", "{name}: {rows} rows");
        assert!(FjallStore::look(folder.path()).unwrap().is_empty(), "{name}");
    }
    let folder = copy(whole.path());
    fs::remove_file(&files(folder.path())[1]).unwrap();
    assert_eq!(check(folder.path(), "a file is gone") as u64, ROWS + 5, "the journal has its rows still");
    let folder = copy(whole.path());
    fs::remove_file(&files(folder.path())[0]).unwrap();
    assert_eq!(check(folder.path(), "an older file is gone") as u64, ROWS / 2 + 5);
}

#[test]
fn a_manifest_is_written_anew_as_the_engine_would_have_it() {
    let whole = folder();
    for (name, bytes) in [("current", &b"short"[..]), ("v1", b""), ("current", &[7; 25])] {
        let folder = copy(whole.path());
        for file in fs::read_dir(folder.path().join("keyspaces/1")).unwrap() {
            let path = file.unwrap().path();
            let is_it = path.file_name().unwrap().to_str().unwrap().starts_with(name.trim_end_matches('1'));
            if is_it && path.is_file() {
                fs::write(path, bytes).unwrap();
            }
        }
        assert_eq!(check(folder.path(), name) as u64, ROWS + 5);
        // It can be written to and compacted, and is as it was.
        let store = FjallStore::open(folder.path()).unwrap();
        store.reclaim().unwrap();
        assert!(store.lost_rows().is_empty());
        drop(store);
        assert_eq!(check(folder.path(), name) as u64, ROWS + 5);
    }
}

#[test]
fn a_compaction_that_meets_damage_gets_over_it_once_the_store_is_reopened() {
    let whole = folder();
    let folder = copy(whole.path());
    let file = files(folder.path())[0].clone();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 8;
    fs::write(&file, bytes).unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    assert!(store.lost_rows().is_empty(), "a start doesn't read every byte");
    store.reclaim().unwrap_err();
    assert!(!store.reclaim_table(Table::Log, &|| true).unwrap(), "it isn't tried again");
    store.reopen().unwrap();
    assert!(!store.lost_rows().is_empty());
    store.reclaim().unwrap();
    drop(store);
    let rows = check(folder.path(), "a damaged block") as u64;
    assert!(rows < ROWS + 5 && rows > ROWS / 2 + 5, "{rows} rows: a block is lost");
    assert!(fs::read_dir(folder.path().join(ASIDE)).unwrap().count() == 1, "the file as it was is kept");
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_is_found_and_mended() {
    let whole = folder();
    for (number, file) in files(whole.path()).into_iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        let id = files(whole.path())[number].file_name().unwrap().to_str().unwrap().parse().unwrap();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        for at in (0..bytes.len()).step_by(if bytes.len() > 20_000 { 97 } else { 11 }) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            // The last byte of a section's name and the like are not looked at by anybody.
            if salvage::is_sound(&path, id, How::All).unwrap() {
                let rows = salvage::open(&path).unwrap().scan().unwrap().flatten().count();
                assert_eq!(rows as u64, ROWS / 2, "byte {at} of file {number}");
                continue;
            }
            let to = place.path().join("new");
            let salvaged = salvage::salvage(&path, id, &to).unwrap();
            assert!(salvage::is_sound(&to, id, How::All).unwrap(), "byte {at} of file {number}");
            let is_lost = salvaged.rows < ROWS / 2;
            // Where nobody knows any more where the rows end, something may be lost there.
            assert!(!is_lost || !salvaged.holes.is_empty(), "byte {at} of file {number}: {} rows", salvaged.rows);
        }
    }
}

#[test]
fn what_an_event_holds_is_never_taken_for_a_block() {
    // A row that holds a whole block of a table, the header of whose block is damaged together with the index.
    let inner = folder();
    let block = fs::read(&files(inner.path())[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = FjallStore::open(folder.path()).unwrap();
    let mut batch = Batch::default();
    batch.put(Table::Log, 9_000u64.to_be_bytes().to_vec(), block);
    store.commit(batch, Persist::Now).unwrap();
    store.wait_for_tables(Table::Log);
    store.mark(9_000u64.to_be_bytes());
    drop(store);
    for journal in fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
        if journal.extension().is_some_and(|ending| ending == "jnl") {
            fs::File::options().write(true).open(journal).unwrap().set_len(0).unwrap();
        }
    }
    let file = files(folder.path())[0].clone();
    let mut bytes = fs::read(&file).unwrap();
    bytes[6] ^= 1;
    bytes.truncate(bytes.len() - 40);
    fs::write(&file, bytes).unwrap();
    let (rows, lost) = read(folder.path());
    assert_eq!((rows, lost.len()), (vec![], 1));
}
