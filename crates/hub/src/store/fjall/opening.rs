//! What comes before the storage engine opens a folder, and what it means when it doesn't.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use fjall::LsmError;

use super::tables::How;
use super::{failed, files, is_damage, mend, notes, tables};
use crate::store::{Lost, StoreError};

/// Why the engine doesn't open a folder.
pub(super) fn refused(error: fjall::Error) -> StoreError {
    // A file that is too short is asked for a place before its beginning.
    let is_missing = |error: &std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput);
    match error {
        fjall::Error::Locked => StoreError::Locked,
        fjall::Error::InvalidVersion(Some(found)) => {
            StoreError::Format { found: format!("{found} of its storage engine"), known: "format 3 of it" }
        }
        fjall::Error::InvalidVersion(None) => StoreError::unreadable("its file `version` is damaged"),
        fjall::Error::Storage(LsmError::InvalidVersion(found)) => {
            StoreError::Format { found: format!("{found} of its storage engine's tables"), known: "format 3 of them" }
        }
        fjall::Error::Storage(LsmError::Io(ref io)) | fjall::Error::Io(ref io)
            if !is_damage(&error) && !is_missing(io) =>
        {
            failed(error)
        }
        fjall::Error::Poisoned => failed(error),
        error => StoreError::Unreadable {
            what: "a file in its folder `keyspaces` is damaged or missing".into(),
            source: Some(Box::new(error)),
        },
    }
}

/// What was found about a folder before the engine opened it.
pub(super) struct Found {
    /// What damaged journals took of the log.
    pub(super) lost: Vec<Lost>,
    /// What keeps the engine from opening it.
    pub(super) wrong: Option<String>,
}

/// Looks at a folder before the engine does, which would drop what it can't read. Nobody else may have it open meanwhile.
/// Tables are mended only if that is wanted.
pub(super) fn look_at(folder: &Path, is_mending: bool) -> Result<Found, StoreError> {
    let Some(_lock) = lock(folder)? else { return Ok(Found { lost: Vec::new(), wrong: None }) };
    let mut wrong = files::look_at(folder)?;
    if is_mending && (wrong.is_some() || notes::is_suspect(folder)) {
        let how = if notes::is_suspect(folder) { How::All } else { How::Opening };
        tables::mend(folder, how).map_err(failed)?;
        notes::clear(folder).map_err(failed)?;
        wrong = None;
    }
    let lost = if wrong.is_none() { mend::mend(folder).map_err(failed)? } else { Vec::new() };
    Ok(Found { lost, wrong })
}

/// Mends the tables of a folder that the engine refused.
pub(super) fn mend_tables(folder: &Path, how: How) -> Result<(), StoreError> {
    let Some(_lock) = lock(folder)? else { return Ok(()) };
    tables::mend(folder, how).map_err(failed)
}

/// What is wrong with the tables of a folder, in words. Nothing is changed.
pub(super) fn say(folder: &Path) -> Result<Vec<String>, StoreError> {
    let Some(_lock) = lock(folder)? else { return Ok(Vec::new()) };
    tables::look(folder, How::All).map_err(failed)
}

/// Keeps others out of a folder; there are none where it is new.
fn lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let lock = match File::options().read(true).write(true).open(folder.join("lock")) {
        Ok(lock) => lock,
        // The engine never opened it, or an archive left the file out.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if !folder.join("keyspaces").exists() {
                return Ok(None);
            }
            File::create(folder.join("lock")).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
