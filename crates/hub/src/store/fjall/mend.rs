//! The journals of a folder, looked at before the storage engine opens it.
//!
//! The engine ends a journal at the first entry that it can't parse, and drops what lies behind; and where an entry can be
//! parsed but its checksum doesn't hold, it refuses to open the folder at all. Neither will do: a write that a power failure
//! tore may look like either, and a flipped bit must not cost what was written after it. So damaged batches are taken out
//! here, each alone, and it is told which part of the log they were.
//!
//! A journal is a row of batches: a start (count, sequence number), items, an end (checksum of the items). See the engine's
//! `journal/entry.rs`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::store::Lost;

/// What every end of a batch ends with.
const TRAILER: &[u8] = b"FJL\x03";

/// The engine's number for the table `log`, which is made first of all.
const LOG: u64 = 1;

/// Bytes of a start: tag, count, sequence number.
const START: usize = 1 + 4 + 8;

/// How far sequence numbers of two batches in a row lie apart at most. They count one by one; flushes take some.
const LEAP_MAX: u64 = 1 << 20;

/// A batch that is whole.
struct Batch {
    /// Where it ends.
    end: usize,
    /// Its items, as the start says.
    count: u32,
    /// Its items, as they are.
    items: u32,
    sequence: u64,
    /// The least and greatest keys that it puts into the table `log`.
    keys: Option<([u8; 8], [u8; 8])>,
}

/// What is to be written instead of a journal.
#[derive(Default)]
struct Mended {
    /// Parts that stay.
    kept: Vec<Range<usize>>,
    /// New starts of batches: where, count, sequence number.
    starts: Vec<(usize, u32, u64)>,
    /// What was lost in between.
    lost: Vec<Lost>,
    /// Bytes after the last batch, which are no batch: what was being written when the machine stopped.
    torn: usize,
    /// Where the last batch ends.
    end: usize,
}

/// Looks at all journals of a folder and mends them. A journal that is changed in its midst is kept beside the new one,
/// with the ending `damaged`.
///
/// # Errors
///
/// When a file can't be read or written.
pub(crate) fn mend(folder: &Path) -> io::Result<Vec<Lost>> {
    let mut journals: Vec<(u64, std::path::PathBuf)> = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|ending| ending == "jnl")) {
            journals.push((number, path));
        }
    }
    journals.sort();
    let mut lost = Vec::new();
    let mut state = State::default();
    for (_, path) in journals {
        let bytes = read(&path)?;
        let mended = state.look_at(&bytes);
        if mended.lost.is_empty() && mended.starts.is_empty() {
            if mended.torn > 0 {
                tracing::warn!(
                    journal = %path.display(),
                    bytes = mended.torn,
                    "the journal's end is torn, as after a power failure, and is cut off",
                );
                let file = File::options().write(true).open(&path)?;
                file.set_len(mended.end as u64)?;
                file.sync_all()?;
            }
        } else {
            tracing::error!(
                journal = %path.display(),
                places = mended.lost.len() + mended.starts.len(),
                "the journal is damaged; what is sound in it is kept, and a copy of it as it was",
            );
            write(&path, &bytes, &mended)?;
        }
        lost.extend(mended.lost);
    }
    // What is between two losses may be known from the later one only.
    for at in (1..lost.len()).rev() {
        let before = lost.get(at).and_then(|lost| lost.before);
        if let Some(earlier) = lost.get_mut(at - 1).filter(|lost| lost.before.is_none()) {
            earlier.before = before;
        }
    }
    Ok(lost)
}

/// The bytes of a journal, without the zeros that a new one is filled with.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 256 * 1024];
    let mut zeros = 0;
    loop {
        let count = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..count).filter(|part| !part.is_empty()) else { break };
        match part.iter().rposition(|byte| *byte != 0) {
            Some(last) => {
                bytes.resize(bytes.len() + zeros, 0);
                bytes.extend_from_slice(part.get(..=last).unwrap_or_default());
                zeros = count - last - 1;
            }
            None => zeros += count,
        }
    }
    Ok(bytes)
}

/// Keeps the damaged journal and writes the mended one in its place.
fn write(path: &Path, bytes: &[u8], mended: &Mended) -> io::Result<()> {
    let mut new = Vec::with_capacity(bytes.len());
    for range in &mended.kept {
        let from = new.len();
        new.extend_from_slice(bytes.get(range.clone()).unwrap_or_default());
        for (at, count, sequence) in mended.starts.iter().filter(|(at, ..)| range.contains(at)) {
            let start = [&[1][..], &count.to_le_bytes(), &sequence.to_le_bytes()].concat();
            let at = from + at - range.start;
            if let Some(place) = new.get_mut(at..at + START) {
                place.copy_from_slice(&start);
            }
        }
    }
    let beside = path.with_extension("mended");
    let mut file = File::create(&beside)?;
    file.write_all(&new)?;
    file.sync_all()?;
    let free = (1..).map(|number| path.with_extension(format!("jnl.{number}.damaged")));
    for copy in free {
        if !copy.try_exists()? {
            fs::hard_link(path, copy)?;
            break;
        }
    }
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What is known from one journal to the next.
#[derive(Default)]
struct State {
    sequence: Option<u64>,
    last_key: Option<[u8; 8]>,
}

impl State {
    /// Looks at one journal.
    fn look_at(&mut self, bytes: &[u8]) -> Mended {
        let mut mended = Mended::default();
        let mut at = 0;
        // Whether something was lost since the last batch.
        let mut open: Option<Lost> = None;
        while let Some(found) = find(bytes, at) {
            let (start, batch) = found;
            let skipped = start > at;
            if skipped && open.is_none() {
                open = Some(Lost { after: self.last_key, before: None });
            }
            let next = parse(bytes, batch.end).map(|next| next.sequence);
            let sequence = self.sequence_of(batch.sequence, next);
            if sequence != batch.sequence || batch.count != batch.items {
                mended.starts.push((start, batch.items, sequence));
            }
            self.sequence = Some(sequence);
            if let Some((least, greatest)) = batch.keys {
                if let Some(lost) = open.take() {
                    mended.lost.push(Lost { before: Some(least), ..lost });
                }
                self.last_key = self.last_key.max(Some(greatest));
            }
            match mended.kept.last_mut() {
                Some(kept) if kept.end == start => kept.end = batch.end,
                _ => mended.kept.push(start..batch.end),
            }
            at = batch.end;
        }
        mended.lost.extend(open);
        mended.torn = bytes.len() - at;
        mended.end = at;
        mended
    }

    /// The sequence number of a batch, as it must be between its neighbours. The checksum doesn't cover it.
    fn sequence_of(&self, found: u64, next: Option<u64>) -> u64 {
        let Some(last) = self.sequence else {
            return match next {
                Some(next) if found >= next => next.saturating_sub(1),
                _ => found,
            };
        };
        let is_plausible =
            found > last && found - last <= LEAP_MAX && next.is_none_or(|next| found < next || next <= last);
        if is_plausible { found } else { last + 1 }
    }
}

/// The first whole batch at or after a place.
fn find(bytes: &[u8], from: usize) -> Option<(usize, Batch)> {
    let mut at = from;
    loop {
        if let Some(batch) = parse(bytes, at) {
            return Some((at, batch));
        }
        at += 1 + bytes.get(at + 1..)?.iter().position(|byte| *byte == 1)?;
    }
}

/// The batch that begins at a place, if it is whole.
fn parse(bytes: &[u8], at: usize) -> Option<Batch> {
    let mut rest = bytes.get(at..)?;
    if take::<1>(&mut rest)? != [1] {
        return None;
    }
    let count = u32::from_le_bytes(take(&mut rest)?);
    let sequence = u64::from_le_bytes(take(&mut rest)?);
    let mut hasher = Xxh3::new();
    let mut items = 0u32;
    let mut keys: Option<([u8; 8], [u8; 8])> = None;
    loop {
        let before = rest;
        match take::<1>(&mut rest)? {
            [2] => {
                let [kind, _compression] = take(&mut rest)?;
                let table = u64::from_le_bytes(take(&mut rest)?);
                let key_length = usize::from(u16::from_le_bytes(take(&mut rest)?));
                let _length: [u8; 4] = take(&mut rest)?;
                let length = u32::from_le_bytes(take(&mut rest)?) as usize;
                let (key, after) = rest.split_at_checked(key_length)?;
                rest = after.get(length..)?;
                if let (LOG, 0, Ok(key)) = (table, kind, key.try_into()) {
                    keys = Some(keys.map_or((key, key), |(least, greatest)| (key.min(least), key.max(greatest))));
                }
            }
            [4] => {
                take::<8>(&mut rest)?;
            }
            [3] => {
                let checksum = u64::from_le_bytes(take(&mut rest)?);
                let is_whole = take::<4>(&mut rest)? == *TRAILER && hasher.digest() == checksum && items > 0;
                return is_whole.then(|| Batch { end: bytes.len() - rest.len(), count, items, sequence, keys });
            }
            _ => return None,
        }
        hasher.update(before.get(..before.len() - rest.len())?);
        items += 1;
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fjall::FjallStore;
    use crate::store::{Batch as Changes, Persist, Store, Table};

    fn is_long() -> bool {
        std::env::var_os("FANFARE_LONG").is_some()
    }

    /// A journal as the engine writes it, with the ends of its batches.
    fn journal(batches: u64) -> (Vec<u8>, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let store = FjallStore::open(folder.path()).unwrap();
        for n in 1..=batches {
            let mut changes = Changes::default();
            changes.put(Table::Log, n.to_be_bytes().to_vec(), vec![7; 50 + n as usize * 30]);
            changes.put(Table::Meta, "head", n.to_be_bytes().to_vec());
            store.commit(changes, Persist::Now).unwrap();
        }
        drop(store);
        let bytes = read(&folder.path().join("0.jnl")).unwrap();
        let (mut at, mut ends) = (0, vec![0]);
        while let Some(batch) = parse(&bytes, at) {
            at = batch.end;
            ends.push(at);
        }
        assert_eq!((at, ends.len() as u64), (bytes.len(), batches + 1), "all of it is understood");
        (bytes, ends)
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_exactly_its_whole_batches() {
        let (bytes, ends) = journal(if is_long() { 60 } else { 8 });
        for cut in 0..=bytes.len() {
            let mended = State::default().look_at(&bytes[..cut]);
            let whole = ends.iter().rev().find(|end| **end <= cut).unwrap();
            assert_eq!((mended.end, mended.torn), (*whole, cut - whole), "cut at {cut}");
            assert!(mended.lost.is_empty() && mended.starts.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn a_bit_flipped_anywhere_costs_the_batch_it_is_in_and_no_other() {
        let (bytes, ends) = journal(8);
        for bit in (0..bytes.len() * 8).step_by(if is_long() { 1 } else { 13 }) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mended = State::default().look_at(&flipped);
            let kept: usize = mended.kept.iter().map(Range::len).sum();
            let batch = ends.windows(2).find(|ends| bit / 8 < ends[1]).map(|ends| ends[1] - ends[0]).unwrap();
            assert!(kept == bytes.len() || kept + batch == bytes.len(), "bit {bit}: {kept} bytes are kept");
        }
    }
}
