//! The journals of a folder, looked at before the storage engine opens it.
//!
//! The engine ends a journal at the first entry that it can't parse, and drops what lies behind; and where an entry can be
//! parsed but its checksum doesn't hold, it refuses to open the folder at all. Neither will do: a write that a power failure
//! tore may look like either, and a flipped bit must not cost what was written after it. So damaged batches are taken out
//! here, each alone, and it is told which part of the log they were.
//!
//! A journal is a row of batches: a start (count, sequence number), items, an end (checksum of the items). See the engine's
//! `journal/entry.rs`. What begins where a whole batch ends is believed. Behind damage nobody knows where the next batch
//! begins, and an event's data may hold the bytes of one: there only what bears the folder's seal is believed (`seal.rs`).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::seal::{self, Seal};
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
    /// Whether it begins with the byte that batches begin with. The checksum doesn't cover it.
    has_tag: bool,
    /// What it is sealed with.
    seal: Option<Seal>,
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
    /// Whether something was lost before its end.
    is_damaged: bool,
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
    if journals.is_empty() && folder.join("version").exists() {
        // Without any the engine would begin to count its sequence numbers anew: what is written then would lie below what is
        // in the tables, and be dropped by the next start.
        tracing::warn!("there is no journal; what was only in it is lost");
        File::create(folder.join("0.jnl"))?.sync_all()?;
    }
    journals.sort();
    let mut state = State { seals: Seal::read(folder).into_iter().collect(), ..State::default() };
    let newest = journals.len().saturating_sub(1);
    for (number, (_, path)) in journals.into_iter().enumerate() {
        let bytes = read(&path)?;
        let mended = state.look_at(&bytes, number == newest);
        // Without a seal nothing is found behind damage, so the end may be more than torn: it is kept.
        let is_doubtful = mended.torn > 0 && state.seals.is_empty();
        if mended.is_damaged || is_doubtful || !mended.starts.is_empty() {
            tracing::error!(
                journal = %path.display(),
                bytes = bytes.len() - mended.kept.iter().map(Range::len).sum::<usize>(),
                "the journal is damaged; what is sound in it is kept, and a copy of it as it was",
            );
            write(&path, &bytes, &mended)?;
        } else if mended.torn > 0 {
            tracing::warn!(
                journal = %path.display(),
                bytes = mended.torn,
                "the journal's end is torn, as after a power failure, and is cut off",
            );
            let file = File::options().write(true).open(&path)?;
            file.set_len(mended.end as u64)?;
            file.sync_all()?;
        }
    }
    let mut lost = state.all_lost();
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
    // At once, as growing would copy all of it again and again. What isn't written to takes no memory.
    let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
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
    /// What batches of the folder are sealed with. More than one where the file that says it was lost.
    seals: Vec<Seal>,
    /// What was lost.
    lost: Vec<Lost>,
    /// What was lost since the last batch that puts something into the log.
    open: Option<Lost>,
}

impl State {
    /// Looks at one journal. Only the last one may have a torn end: the engine syncs a journal before it begins the next.
    fn look_at(&mut self, bytes: &[u8], is_last: bool) -> Mended {
        let mut mended = Mended::default();
        let mut at = 0;
        while let Some((start, batch)) = self.find(bytes, at) {
            if start > at {
                self.lose(&mut mended);
            }
            if let Some(seal) = batch.seal.filter(|seal| !self.seals.contains(seal)) {
                self.seals.push(seal);
            }
            let next = parse(bytes, batch.end).filter(|next| next.has_tag).map(|next| next.sequence);
            let sequence = self.sequence_of(batch.sequence, next);
            if sequence != batch.sequence || batch.count != batch.items || !batch.has_tag {
                mended.starts.push((start, batch.items, sequence));
            }
            self.sequence = Some(sequence);
            if let Some((least, greatest)) = batch.keys {
                self.lost.extend(self.open.take().map(|lost| Lost { before: Some(least), ..lost }));
                self.last_key = self.last_key.max(Some(greatest));
            }
            match mended.kept.last_mut() {
                Some(kept) if kept.end == start => kept.end = batch.end,
                _ => mended.kept.push(start..batch.end),
            }
            at = batch.end;
        }
        mended.torn = bytes.len() - at;
        mended.end = at;
        if mended.torn > 0 && !is_last {
            self.lose(&mut mended);
        }
        mended
    }

    /// Takes note that something is lost at this place.
    fn lose(&mut self, mended: &mut Mended) {
        mended.is_damaged = true;
        self.open.get_or_insert(Lost { after: self.last_key, before: None });
    }

    /// All that was lost, once all journals were looked at.
    fn all_lost(self) -> Vec<Lost> {
        self.lost.into_iter().chain(self.open).collect()
    }

    /// The first whole batch at or after a place. After it only those are believed that bear the seal.
    fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, Batch)> {
        let is_sealed = |seal: Option<Seal>| seal.is_some_and(|seal| self.seals.contains(&seal));
        if let Some(batch) = parse(bytes, from).filter(|batch| batch.has_tag || is_sealed(batch.seal)) {
            return Some((from, batch));
        }
        let places = bytes.get(from + 1 + START..)?.windows(seal::ITEM).enumerate();
        let mut sealed = places.filter(|(_, item)| is_sealed(Seal::of_item(item))).map(|(place, _)| from + 1 + place);
        sealed.find_map(|at| Some((at, parse(bytes, at)?)))
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

/// The batch that begins at a place, if it is whole.
fn parse(bytes: &[u8], at: usize) -> Option<Batch> {
    let mut rest = bytes.get(at..)?;
    let has_tag = take::<1>(&mut rest)? == [1];
    let count = u32::from_le_bytes(take(&mut rest)?);
    let sequence = u64::from_le_bytes(take(&mut rest)?);
    let seal = rest.get(..seal::ITEM).and_then(Seal::of_item);
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
                let end = bytes.len() - rest.len();
                return is_whole.then_some(Batch { end, has_tag, seal, count, items, sequence, keys });
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
mod tests;
