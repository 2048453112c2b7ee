//! A table's file as bytes: a row of data blocks, an index that says where they are, and a few blocks more. Each block has
//! a header with a checksum of its own and one of what follows. See the engine's `table/block/`.
//!
//! Where blocks begin is believed of the index, and without one of the blocks in their row. Nothing is searched for: what
//! is written in an event may look like a block.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use fjall::CompressionType;
use lsm_tree::table::{Block, IndexBlock};
use xxhash_rust::xxh3::xxh3_128;

/// What every header begins with.
const MAGIC: &[u8] = b"LSM\x03";

/// Bytes of a header: magic, kind, checksum of the content, its bytes, its bytes unpacked, checksum of these.
const HEADER: usize = 4 + 1 + 16 + 4 + 4 + 4;

/// The kind of blocks that hold keys and values.
const DATA: u8 = 0;

/// The sections of a table's file that are made of blocks.
const SECTIONS: [&[u8]; 6] = [b"data", b"index", b"tli", b"filter", b"filter_tli", b"meta"];

/// As much of a file is left out where the disk can't read it.
const SECTOR: usize = 4096;

/// A data block, or a place where one or several were.
pub(super) enum Place {
    /// It can be read.
    Sound(Range<usize>),
    /// They can't.
    Damaged,
}

/// The data blocks of a table, in their order.
pub(super) struct Blocks {
    pub(super) places: Vec<Place>,
    /// How they are packed.
    pub(super) compression: CompressionType,
}

/// A block's header.
struct Header {
    kind: u8,
    checksum: u128,
    length: usize,
    unpacked: usize,
}

/// Reads a file, with zeros where the disk can't give it back.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).is_ok() {
        return Ok(bytes);
    }
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    for (number, part) in bytes.chunks_mut(SECTOR).enumerate() {
        file.seek(SeekFrom::Start((number * SECTOR) as u64))?;
        if file.read_exact(part).is_err() {
            part.fill(0);
        }
    }
    Ok(bytes)
}

impl Blocks {
    /// Finds the data blocks of a table.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut blocks = Self { places: Vec::new(), compression: CompressionType::None };
        match super::quietly(|| indexed(bytes)).flatten() {
            Some(all) => {
                for at in all {
                    blocks.add(
                        bytes,
                        at.start,
                        header(bytes, at.start).filter(|header| header.end(at.start) == at.end),
                    );
                }
            }
            None => blocks.follow(bytes),
        }
        blocks
    }

    /// Goes from one header to the next until something else than data follows.
    fn follow(&mut self, bytes: &[u8]) {
        let data = || section(&sfa::Reader::from_reader(&mut Cursor::new(bytes)).ok()?, b"data");
        let end = super::quietly(data).flatten().map(|data| data.end);
        let mut at = 0;
        while Some(at) != end {
            match header(bytes, at) {
                Some(Header { kind, .. }) if kind != DATA => return,
                Some(header) => {
                    let end = header.end(at);
                    self.add(bytes, at, Some(header));
                    at = end;
                }
                None => return self.places.push(Place::Damaged),
            }
        }
    }

    fn add(&mut self, bytes: &[u8], at: usize, header: Option<Header>) {
        let place = header.and_then(|header| {
            let content = at + HEADER..header.end(at);
            let is_sound = header.kind == DATA && xxh3_128(bytes.get(content)?) == header.checksum;
            if is_sound && header.length != header.unpacked {
                self.compression = CompressionType::Lz4;
            }
            is_sound.then_some(Place::Sound(at..header.end(at)))
        });
        self.places.push(place.unwrap_or(Place::Damaged));
    }
}

impl Header {
    /// Where its block ends.
    fn end(&self, at: usize) -> usize {
        at.saturating_add(HEADER).saturating_add(self.length)
    }
}

/// The header at a place, if it is one.
fn header(bytes: &[u8], at: usize) -> Option<Header> {
    let bytes = bytes.get(at..at.checked_add(HEADER)?)?;
    let (covered, checksum) = bytes.split_last_chunk::<4>()?;
    // Its lower half.
    let sum = xxh3_128(covered).to_le_bytes();
    let rest = covered.strip_prefix(MAGIC).filter(|_| sum.starts_with(checksum))?;
    let (&kind, rest) = rest.split_first()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let unpacked = rest.first_chunk()?;
    Some(Header {
        kind,
        checksum: u128::from_le_bytes(*checksum),
        length: u32::from_le_bytes(*length) as usize,
        unpacked: u32::from_le_bytes(*unpacked) as usize,
    })
}

/// Whether every block of a table can be read, of whatever kind.
pub(super) fn are_sound(bytes: &[u8]) -> bool {
    let is_sound = |part: Range<usize>| {
        let mut at = part.start;
        while at < part.end {
            let Some(header) = header(bytes, at) else { return false };
            if bytes.get(at + HEADER..header.end(at)).is_none_or(|content| xxh3_128(content) != header.checksum) {
                return false;
            }
            at = header.end(at);
        }
        at == part.end
    };
    let sections = || {
        let reader = sfa::Reader::from_reader(&mut Cursor::new(bytes)).ok()?;
        let sections = SECTIONS.iter().filter_map(|name| section(&reader, name));
        Some(sections.collect::<Vec<_>>())
    };
    super::quietly(sections).flatten().is_some_and(|parts| parts.into_iter().all(is_sound))
}

/// Where a section of a table's file is.
fn section(reader: &sfa::Reader, name: &[u8]) -> Option<Range<usize>> {
    let entry = reader.toc().section(name)?;
    let at = usize::try_from(entry.pos()).ok()?;
    Some(at..at.checked_add(usize::try_from(entry.len()).ok()?)?)
}

/// Where the data blocks are, as the table's index says; nothing if all of that can't be read.
fn indexed(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let reader = sfa::Reader::from_reader(&mut Cursor::new(bytes)).ok()?;
    let top = entries(bytes, section(&reader, b"tli")?)?;
    if section(&reader, b"index").is_none() {
        return Some(top);
    }
    let mut all = Vec::new();
    for part in top {
        all.extend(entries(bytes, part)?);
    }
    Some(all)
}

/// What an index block points at.
fn entries(bytes: &[u8], at: Range<usize>) -> Option<Vec<Range<usize>>> {
    let Header { length, unpacked, .. } = header(bytes, at.start)?;
    let compression = if length == unpacked { CompressionType::None } else { CompressionType::Lz4 };
    let block = Block::from_reader(&mut bytes.get(at)?, compression).ok()?;
    let places = IndexBlock::new(block);
    let places = places.iter().map(|item| {
        let at = usize::try_from(*item.offset).ok()?;
        Some(at..at.checked_add(item.size as usize)?)
    });
    places.collect()
}
