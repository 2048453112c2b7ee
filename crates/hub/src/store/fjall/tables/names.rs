//! The engine's own table, number 0: what the others are called, and their settings. It says the same in every folder, since
//! the hub makes its tables in one order. So where it is damaged, that of a fresh folder takes its place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use fjall::Database;

use super::manifest::Manifest;
use super::{How, salvage};
use crate::store::Table;
use crate::store::fjall::options;

/// The numbers of tables, by which their folders are called.
pub(super) type Numbers = BTreeMap<u64, Table>;

/// The folder of a fresh store, while it is made.
const FRESH: &str = "fresh";

/// As the tables are numbered in a folder where nothing went wrong at the beginning.
pub(super) fn usual() -> Numbers {
    (1..).zip(Table::ALL).collect()
}

/// What the table 0 says, if it can be read whole.
pub(super) fn read(path: &Path) -> io::Result<Option<Numbers>> {
    let Some(mut manifest) = Manifest::read(path)? else { return Ok(None) };
    let mut numbers = Numbers::new();
    for listed in manifest.files() {
        let path = path.join("tables").join(listed.id.to_string());
        if !path.exists() || !salvage::is_sound(&path, listed.id, How::All)? {
            return Ok(None);
        }
        let rows = || -> Option<Vec<_>> { salvage::open(&path)?.scan().ok()?.map(Result::ok).collect() };
        let Some(rows) = super::quietly(rows).flatten() else { return Ok(None) };
        for row in rows.iter().filter(|row| !row.is_tombstone()) {
            // The other rows are settings, which were written together with the name.
            let number = row.key.user_key.strip_prefix(b"n").and_then(|number| number.try_into().ok());
            let table = Table::ALL.into_iter().find(|table| row.value[..] == *table.as_str().as_bytes());
            numbers.extend(number.map(u64::from_be_bytes).zip(table));
        }
    }
    Ok(Some(numbers))
}

/// Puts a fresh one in its place.
pub(super) fn replace(folder: &Path, aside: &Path) -> io::Result<()> {
    let fresh = folder.join(FRESH);
    let _ = fs::remove_dir_all(&fresh);
    let make = || -> Result<(), fjall::Error> {
        let db = Database::builder(&fresh).worker_threads(1).open()?;
        Table::ALL.into_iter().try_for_each(|table| db.keyspace(table.as_str(), || options(table)).map(drop))
    };
    make().map_err(io::Error::other)?;
    let place = folder.join("keyspaces").join("0");
    if place.exists() {
        fs::rename(&place, aside)?;
    }
    fs::rename(fresh.join("keyspaces").join("0"), &place)?;
    File::open(folder.join("keyspaces"))?.sync_all()?;
    fs::remove_dir_all(&fresh)
}
