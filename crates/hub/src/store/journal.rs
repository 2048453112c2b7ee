//! The storage engine's journals, copied before they are read again after a failure.
//!
//! Two things make the old files untrustworthy. When a sync fails, the system may drop the bytes from disk's way and still
//! show them to readers: a later sync then succeeds without having written them, and what is appended behind them is lost
//! with them. And what the engine could not write it tries to write once more when it is dropped, perhaps only after the
//! journal was read again and cut. A copy, synced under another name and then put in the old one's place, has neither.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What the engine's journals end with.
const EXTENSION: &str = "jnl";

/// What copies end with while they are made; the engine doesn't look at such files.
const COPY: &str = "jnl-copy";

/// Bytes copied at a time. Where all of them are zero nothing is written: journals are laid out in advance.
const BLOCK_BYTES: usize = 64 * 1024;

/// Makes copies of all journals in a folder, on disk, and leaves them beside. What can be copied now can be copied again
/// into the same room. Where it fails nothing is left: the room may be needed.
pub(super) fn copy(folder: &Path) -> io::Result<()> {
    for journal in files(folder, EXTENSION)? {
        copy_one(&journal, &journal.with_extension(COPY)).inspect_err(|_| drop(forget(folder)))?;
    }
    Ok(())
}

/// Puts fresh copies in the place of all journals in a folder.
pub(super) fn replace(folder: &Path) -> io::Result<()> {
    for journal in files(folder, EXTENSION)? {
        let copied = journal.with_extension(COPY);
        copy_one(&journal, &copied).inspect_err(|_| drop(forget(folder)))?;
        fs::rename(copied, journal)?;
    }
    forget(folder)?;
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes copies that were left, as after a crash.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    files(folder, COPY)?.into_iter().try_for_each(fs::remove_file)
}

/// The files in a folder with this extension; none where there is no folder.
fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|of| of == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

fn copy_one(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut length = 0;
    loop {
        let count = source.read(&mut block)?;
        let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        length += count as u64;
        if bytes.iter().all(|byte| *byte == 0) {
            copy.seek(SeekFrom::Start(length))?;
        } else {
            copy.write_all(bytes)?;
        }
    }
    copy.set_len(length)?;
    copy.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_every_byte_and_the_length_of_its_journal_and_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("7.jnl");
        let mut bytes = vec![0; 3 * BLOCK_BYTES];
        bytes[5] = 1;
        bytes[2 * BLOCK_BYTES + 1] = 2;
        bytes.truncate(3 * BLOCK_BYTES - 9);
        fs::write(&journal, &bytes).unwrap();
        let mut late = OpenOptions::new().append(true).open(&journal).unwrap();
        copy(folder.path()).unwrap();
        replace(folder.path()).unwrap();
        late.write_all(b"what the engine writes when it is dropped").unwrap();
        assert!(fs::read(&journal).unwrap() == bytes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
        copy(folder.path()).unwrap();
        forget(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        forget(&folder.path().join("none")).unwrap();
        // Of two journals one can't be copied.
        fs::create_dir(folder.path().join("8.jnl")).unwrap();
        copy(folder.path()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }
}
