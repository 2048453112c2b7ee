//! How far the log went, in a file of its own: a key of the table `log`, and a checksum. It is not synced: after a power
//! failure it may be an older one, or none, and then nothing is noticed; what it says is true whenever it can be read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// The file's name in the data folder.
const FILE: &str = "mark";

/// Writes the mark, over the one before it.
pub(super) fn write(folder: &Path, key: [u8; 8]) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(folder.join(FILE))?;
    file.write_all(&bytes_of(key))
}

/// Reads the mark; none where there is none that can be read.
pub(super) fn read(folder: &Path) -> Option<[u8; 8]> {
    let mut bytes = [0; 16];
    File::open(folder.join(FILE)).ok()?.read_exact(&mut bytes).ok()?;
    let (key, _) = bytes.split_first_chunk::<8>()?;
    (bytes_of(*key) == bytes).then_some(*key)
}

fn bytes_of(key: [u8; 8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (place, checksum) = bytes.split_at_mut(8);
    place.copy_from_slice(&key);
    checksum.copy_from_slice(&xxh3_64(&key).to_le_bytes());
    bytes
}
