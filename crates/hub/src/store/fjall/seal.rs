//! The seal that every batch bears in the engine's journal: a secret of the folder, which nobody outside of it knows.
//!
//! Where a journal is damaged, the batches behind the damage have to be searched for among bytes that publishers chose. One
//! of them may have written what looks like a batch. What bears the seal is none of these.
//!
//! In the journal it is a batch's first item: the removal of a key that never was. So no table ever shows it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// The file's name in the data folder: the secret, and a checksum.
const FILE: &str = "seal";

/// What comes before the secret in the key that is removed.
const PREFIX: &[u8; 5] = b"seal/";

/// Bytes of the key.
const KEY: usize = PREFIX.len() + 16;

/// Bytes of the item in the journal.
pub(super) const ITEM: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4 + KEY;

/// A folder's secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal([u8; 16]);

impl Seal {
    /// The folder's seal, which is made if there is none that can be read. Where it can't be kept, it still seals: those who
    /// mend the journal know it from the batches before the damage.
    pub(super) fn of(folder: &Path) -> Self {
        if let Some(seal) = Self::read(folder) {
            return seal;
        }
        let seal = Self(rand::random());
        if let Err(error) = seal.write(folder) {
            tracing::warn!(%error, "the folder's seal could not be written; it only helps to mend damaged journals");
        }
        seal
    }

    /// The folder's seal, if there is one that can be read.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let mut bytes = [0; 24];
        File::open(folder.join(FILE)).ok()?.read_exact(&mut bytes).ok()?;
        let (secret, checksum) = bytes.split_first_chunk::<16>()?;
        (xxh3_64(secret).to_le_bytes() == checksum).then_some(Self(*secret))
    }

    fn write(self, folder: &Path) -> io::Result<()> {
        let mut file = File::create(folder.join(FILE))?;
        file.write_all(&[&self.0[..], &xxh3_64(&self.0).to_le_bytes()].concat())?;
        file.sync_all()
    }

    /// The key of the table `meta` that every batch removes.
    pub(super) fn key(self) -> Vec<u8> {
        [&PREFIX[..], &self.0].concat()
    }

    /// The seal that an item of a journal is, if it is one.
    pub(super) fn of_item(item: &[u8]) -> Option<Self> {
        let rest = item.strip_prefix(&[2, 1, 0])?;
        // Whichever table: that is covered by the batch's checksum.
        let rest = rest.get(8..)?.strip_prefix(&[KEY as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        Some(Self(rest.strip_prefix(PREFIX)?.try_into().ok()?))
    }
}
