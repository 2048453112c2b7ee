//! What comes before the storage engine opens a folder, and what it means when it doesn't.

use std::io::ErrorKind;
use std::path::Path;

use fjall::LsmError;

use super::{failed, files, is_damage, mend};
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

/// Looks at a folder before the engine does, which would drop what it can't read. Nobody else may have it open meanwhile.
pub(super) fn look_at(folder: &Path) -> Result<Vec<Lost>, StoreError> {
    let lock = match std::fs::File::options().read(true).write(true).open(folder.join("lock")) {
        Ok(lock) => lock,
        // The engine never opened it, or an archive left the file out.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if !folder.join("keyspaces").exists() {
                return Ok(Vec::new());
            }
            std::fs::File::create(folder.join("lock")).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    files::look_at(folder)?;
    mend::mend(folder).map_err(failed)
}
