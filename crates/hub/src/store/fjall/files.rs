//! The files of a folder that everything hangs on, looked at before the storage engine opens it.
//!
//! Where such a file is missing, the engine takes what belongs to it for something half made, and removes it. Here that is
//! an error with a name. Versions of a table (its manifest, which says what its files are) have a checksum that the engine
//! doesn't look at; a single flipped bit of one is put right by it.

use std::fs::{self, File};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::store::StoreError;

/// The longest version that is tried to be put right; a longer one takes seconds.
const MENDED_BYTES_MAX: usize = 64 * 1024;

/// Looks at the files of a folder, if the engine has ever opened it.
///
/// # Errors
///
/// Which file is damaged or missing.
pub(crate) fn look_at(folder: &Path) -> Result<(), StoreError> {
    let tables = folder.join("keyspaces");
    let Ok(list) = fs::read_dir(&tables) else { return Ok(()) };
    let mut paths: Vec<_> = list.filter_map(|file| Some(file.ok()?.path())).filter(|path| path.is_dir()).collect();
    paths.sort();
    if !paths.is_empty() && !folder.join("version").exists() {
        return Err(missing("`version`"));
    }
    for path in paths {
        look_at_table(&path)?;
    }
    Ok(())
}

fn missing(what: &str) -> StoreError {
    StoreError::unreadable(format!("its file {what} is missing"))
}

/// Looks at the files of one table.
fn look_at_table(path: &Path) -> Result<(), StoreError> {
    let table = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = |file: &str| format!("`keyspaces/{table}/{file}`");
    let has_data = fs::read_dir(path.join("tables")).is_ok_and(|mut files| files.next().is_some());
    let read = |file: &str| fs::read(path.join(file)).ok();
    let Some(current) = read("current") else {
        // Without data it was never finished, and the engine makes it anew.
        return if has_data { Err(missing(&name("current"))) } else { Ok(()) };
    };
    let damaged = |file: &str| StoreError::unreadable(format!("its file {} is damaged", name(file)));
    let Some((version, checksum)) = parse(&current) else { return Err(damaged("current")) };
    let file = format!("v{version}");
    let Some(bytes) = read(&file) else {
        // Its number may be what is damaged.
        let of = |file: fs::DirEntry| file.file_name().to_str()?.strip_prefix('v')?.parse::<u64>().ok();
        let others = fs::read_dir(path).into_iter().flatten().filter_map(|file| of(file.ok()?));
        let found =
            others.into_iter().find(|number| read(&format!("v{number}")).is_some_and(|it| xxh3_128(&it) == checksum));
        let Some(number) = found else { return Err(missing(&name(&file))) };
        tracing::error!(file = name("current"), "the number of a table's version is put right");
        return write(path, "current", &current_of(number, checksum));
    };
    if xxh3_128(&bytes) == checksum {
        return Ok(());
    }
    let Some(mended) = mend(bytes, checksum) else { return Err(damaged(&file)) };
    tracing::error!(file = name(&file), "a flipped bit in a version of a table is put right");
    match mended {
        Mended::Version(bytes) => write(path, &file, &bytes),
        Mended::Checksum(checksum) => write(path, "current", &current_of(version, checksum)),
    }
}

/// Writes a file of a table whole, or not at all.
fn write(path: &Path, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = path.join("mended");
    let write = || -> std::io::Result<()> {
        fs::write(&beside, bytes)?;
        File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path.join(file))?;
        File::open(path)?.sync_all()
    };
    write().map_err(|error| StoreError::Failed(Box::new(error)))
}

/// The bytes of `current`.
fn current_of(version: u64, checksum: u128) -> Vec<u8> {
    [&version.to_le_bytes()[..], &checksum.to_le_bytes(), &[0]].concat()
}

/// A version's number and checksum, as `current` has them.
fn parse(current: &[u8]) -> Option<(u64, u128)> {
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
