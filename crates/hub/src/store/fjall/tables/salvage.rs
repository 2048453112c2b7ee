//! One table's file: whether it can be read, and a new one from what can be.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use fjall::SeqNo;
use lsm_tree::table::{Scanner, Writer};
use lsm_tree::{Cache, Checksum, Table};

use super::blocks::{Blocks, Place, are_sound, read};
use super::{How, quietly};

/// Bytes of a block that is written anew.
const BLOCK_BYTES: u32 = 16 * 1024;

/// Keys around what was lost, as far as they are known.
pub(in crate::store::fjall) type Hole = (Option<Vec<u8>>, Option<Vec<u8>>);

/// What of a table is sound.
pub(super) struct Salvaged {
    /// The new file's checksum; none if there is nothing to write.
    pub(super) checksum: Option<u128>,
    /// What isn't there any more.
    pub(super) holes: Vec<Hole>,
    /// Rows that were saved.
    pub(super) rows: u64,
}

/// A table as the engine would open it, if it can.
pub(super) fn open(path: &Path) -> Option<Table> {
    let cache = Arc::new(Cache::with_capacity_bytes(0));
    let path = path.to_owned();
    // Which also reads its index and filter.
    quietly(|| Table::recover(path, Checksum::from_raw(0), 0, 0, cache, None, true, true).ok()).flatten()
}

/// Whether a table can be read: all that the engine needs to open it, and where wanted every byte.
pub(super) fn is_sound(path: &Path, id: u64, how: How) -> io::Result<bool> {
    if open(path).is_none_or(|table| table.id() != id) {
        return Ok(false);
    }
    Ok(how == How::Opening || are_sound(&read(path)?))
}

/// Writes a table anew, to another place, from those of its blocks that can be read.
pub(super) fn salvage(path: &Path, id: u64, to: &Path) -> io::Result<Salvaged> {
    let bytes = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes?,
    };
    let blocks = Blocks::of(&bytes);
    let part = to.with_extension("part");
    let _ = fs::remove_file(to);
    let written = quietly(|| write(&bytes, &blocks, id, to, &part));
    let _ = fs::remove_file(&part);
    written.unwrap_or_else(|| {
        // What has the right checksum and yet can't be understood was never written by the engine.
        let _ = fs::remove_file(to);
        Ok(Salvaged { checksum: None, holes: vec![(None, None)], rows: 0 })
    })
}

fn write(bytes: &[u8], blocks: &Blocks, id: u64, to: &Path, part: &Path) -> io::Result<Salvaged> {
    let failed = |error: lsm_tree::Error| match error {
        lsm_tree::Error::Io(error) => error,
        error => io::Error::other(error),
    };
    let mut writer = Writer::new(to.to_owned(), id, 0).map_err(failed)?;
    writer = writer.use_data_block_size(BLOCK_BYTES).use_data_block_compression(blocks.compression);
    let mut salvaged = Salvaged { checksum: None, holes: Vec::new(), rows: 0 };
    let (mut last, mut is_open): (Option<Vec<u8>>, bool) = (None, blocks.places.is_empty());
    for run in blocks.places.chunk_by(|a, b| matches!((a, b), (Place::Sound(_), Place::Sound(_)))) {
        let mut file = File::create(part)?;
        for place in run {
            match place {
                Place::Sound(at) => file.write_all(bytes.get(at.clone()).unwrap_or_default())?,
                Place::Damaged => is_open = true,
            }
        }
        drop(file);
        if matches!(run, [Place::Damaged]) {
            continue;
        }
        let scanner = Scanner::new(part, run.len(), blocks.compression, SeqNo::MIN).map_err(failed)?;
        for item in scanner {
            let item = item.map_err(failed)?;
            if is_open {
                salvaged.holes.push((last.take(), Some(item.key.user_key.to_vec())));
                is_open = false;
            }
            last = Some(item.key.user_key.to_vec());
            salvaged.rows += 1;
            writer.write(item).map_err(failed)?;
        }
    }
    if is_open {
        salvaged.holes.push((last, None));
    }
    salvaged.checksum = writer.finish().map_err(failed)?.map(|(_, checksum)| checksum.into_u128());
    Ok(salvaged)
}
