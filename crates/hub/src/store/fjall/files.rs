//! The files of a folder that everything hangs on, looked at before the storage engine opens it.
//!
//! Where such a file is missing, the engine takes what belongs to it for something half made, and removes it. Here the tables
//! are mended first (`tables.rs`). Versions of a table (its manifest, which says what its files are) have a checksum that the
//! engine doesn't look at; a single flipped bit of one is put right by it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::{mark, tables};
use crate::store::{StoreError, Table};

/// The longest version that is tried to be put right; a longer one takes seconds.
const MENDED_BYTES_MAX: usize = 64 * 1024;

/// Looks at the files of a folder, if the engine has ever opened it. Says what of them has to be mended before the engine may
/// open it, if anything has.
///
/// # Errors
///
/// When the folder is of a newer format, or a file can't be written.
pub(crate) fn look_at(folder: &Path) -> Result<Option<String>, StoreError> {
    let tables = folder.join("keyspaces");
    let Ok(list) = fs::read_dir(&tables) else { return Ok(None) };
    let mut paths: Vec<_> = list.filter_map(|file| Some(file.ok()?.path())).filter(|path| path.is_dir()).collect();
    paths.sort();
    if paths.is_empty() && mark::read(folder).is_none() {
        return Ok(None);
    }
    if let Some(what) = version(folder)? {
        return Ok(Some(what));
    }
    // A folder that was never finished has no mark. One of an older hub has the first tables, and no `keys`.
    let has_first = (1..Table::ALL.len()).all(|number| tables.join(number.to_string()).is_dir());
    let is_missing = paths.len() < Table::ALL.len() || (paths.len() == Table::ALL.len() && !has_first);
    if (is_missing && mark::read(folder).is_some()) || !tables.join("0").is_dir() {
        return Ok(Some("a folder in `keyspaces` is missing".into()));
    }
    for path in paths {
        if let Some(what) = look_at_table(&path).map_err(|error| StoreError::Failed(Box::new(error)))? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Looks at the file that says which format all of it is of.
fn version(folder: &Path) -> Result<Option<String>, StoreError> {
    let found = match fs::read(folder.join("version")) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("its file `version` is missing".into()));
        }
        Err(error) => return Err(StoreError::Failed(Box::new(error))),
    };
    match (found.split_last(), tables::VERSION.split_last()) {
        (found, known) if found == known => Ok(None),
        // A flipped bit, if it is just one.
        (Some((found, b"FJL")), Some((known, _))) if *found > *known && (found ^ known).count_ones() > 1 => {
            Err(StoreError::Format { found: format!("{found} of its storage engine"), known: "format 3 of it" })
        }
        _ => Ok(Some("its file `version` is damaged".into())),
    }
}

/// Looks at the files of one table.
fn look_at_table(path: &Path) -> io::Result<Option<String>> {
    let table = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = |file: &str| format!("`keyspaces/{table}/{file}`");
    let has_data = fs::read_dir(path.join("tables")).is_ok_and(|mut files| files.next().is_some());
    let has_versions = || numbers(path).next().is_some();
    let read = |file: &str| fs::read(path.join(file)).ok();
    let missing = |file: &str| Ok(Some(format!("its file {} is missing", name(file))));
    let damaged = |file: &str| Ok(Some(format!("its file {} is damaged", name(file))));
    let Some(current) = read("current") else {
        // Without data it was never finished, and the engine makes it anew.
        return if has_data || has_versions() { missing("current") } else { Ok(None) };
    };
    let Some((version, checksum)) = parse(&current) else { return damaged("current") };
    let file = format!("v{version}");
    let Some(bytes) = read(&file) else {
        // Its number may be what is damaged.
        let found =
            numbers(path).find(|number| read(&format!("v{number}")).is_some_and(|it| xxh3_128(&it) == checksum));
        let Some(number) = found else { return missing(&file) };
        tracing::error!(file = name("current"), "the number of a table's version is put right");
        return write(path, "current", &current_of(number, checksum)).map(|()| None);
    };
    if xxh3_128(&bytes) == checksum {
        return Ok(None);
    }
    let Some(mended) = mend(bytes, checksum) else { return damaged(&file) };
    tracing::error!(file = name(&file), "a flipped bit in a version of a table is put right");
    match mended {
        Mended::Version(bytes) => write(path, &file, &bytes)?,
        Mended::Checksum(checksum) => write(path, "current", &current_of(version, checksum))?,
    }
    Ok(None)
}

/// The numbers of the versions in a table's folder.
pub(super) fn numbers(path: &Path) -> impl Iterator<Item = u64> {
    let of = |file: fs::DirEntry| file.file_name().to_str()?.strip_prefix('v')?.parse::<u64>().ok();
    fs::read_dir(path).into_iter().flatten().filter_map(move |file| of(file.ok()?))
}

/// Writes a file of a table whole, or not at all.
pub(super) fn write(path: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = path.join("mended");
    fs::write(&beside, bytes)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, path.join(file))?;
    File::open(path)?.sync_all()
}

/// The bytes of `current`.
pub(super) fn current_of(version: u64, checksum: u128) -> Vec<u8> {
    [&version.to_le_bytes()[..], &checksum.to_le_bytes(), &[0]].concat()
}

/// A version's number and checksum, as `current` has them.
pub(super) fn parse(current: &[u8]) -> Option<(u64, u128)> {
    let (version, rest) = current.split_first_chunk()?;
    let (checksum, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
}

/// What was put right.
enum Mended {
    Version(Vec<u8>),
    Checksum(u128),
}

/// Looks for the one bit that makes a version and its checksum fit.
fn mend(mut bytes: Vec<u8>, checksum: u128) -> Option<Mended> {
    if bytes.len() > MENDED_BYTES_MAX {
        return None;
    }
    let found = xxh3_128(&bytes);
    if (found ^ checksum).is_power_of_two() {
        return Some(Mended::Checksum(found));
    }
    for at in 0..bytes.len() * 8 {
        let flip = |bytes: &mut Vec<u8>| bytes.get_mut(at / 8).into_iter().for_each(|byte| *byte ^= 1 << (at % 8));
        flip(&mut bytes);
        if xxh3_128(&bytes) == checksum {
            return Some(Mended::Version(bytes));
        }
        flip(&mut bytes);
    }
    None
}
