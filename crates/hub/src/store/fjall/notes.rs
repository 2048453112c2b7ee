//! What mending took out of the tables, in a file of its own until the engine's tables say so themselves: a mending that is
//! cut short by a crash, or whose losses nobody took note of yet, is told at the next opening.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use super::tables::Hole;
use crate::store::{LostRows, Table};

/// The file's name in the data folder. A line is a loss: table, key before it, key behind it.
const FILE: &str = "lost";

/// The name of the file that has the next opening look at every byte: damage was met.
const SUSPECT: &str = "suspect";

/// Adds losses of a table, durably.
pub(super) fn add(folder: &Path, table: Table, holes: &[Hole]) -> io::Result<()> {
    let mut text = String::new();
    for (after, before) in holes {
        let _ = writeln!(text, "{} {} {}", table.as_str(), hex(after.as_deref()), hex(before.as_deref()));
    }
    let mut file = File::options().create(true).append(true).open(folder.join(FILE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// All losses that were added and not forgotten. What can't be read may be any.
pub(super) fn read(folder: &Path) -> Vec<LostRows> {
    let text = match fs::read(folder.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        text => text.unwrap_or_else(|_| b"?".to_vec()),
    };
    let mut lost = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        match parse(line) {
            Some(of) => lost.push(of),
            None => lost.extend(Table::ALL.map(|table| LostRows { table, after: None, before: None })),
        }
    }
    lost
}

/// Forgets all losses.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    remove(&folder.join(FILE))
}

/// Has the next opening look at every byte.
pub(super) fn suspect(folder: &Path) {
    if let Err(error) = File::create(folder.join(SUSPECT)) {
        tracing::warn!(%error, "that damage was met could not be written down; the next start won't look for more");
    }
}

/// Whether this opening is to look at every byte.
pub(super) fn is_suspect(folder: &Path) -> bool {
    folder.join(SUSPECT).exists()
}

/// Every byte was looked at.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    remove(&folder.join(SUSPECT))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn hex(key: Option<&[u8]>) -> String {
    let Some(key) = key else { return "-".into() };
    key.iter().fold(String::from("x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse(line: &str) -> Option<LostRows> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let table = Table::ALL.into_iter().find(|table| table.as_str() == name)?;
    let mut key = || match words.next()? {
        "-" => Some(None),
        digits => {
            let digits = digits.strip_prefix('x')?.as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(Some)
        }
    };
    let (after, before) = (key()?, key()?);
    words.next().is_none().then_some(LostRows { table, after, before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_until_they_are_forgotten_and_a_damaged_line_stands_for_any() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), []);
        add(folder.path(), Table::Channels, &[(Some(b"a b".to_vec()), None), (None, Some(Vec::new()))]).unwrap();
        let of = |after, before| LostRows { table: Table::Channels, after, before };
        assert_eq!(read(folder.path()), [of(Some(b"a b".to_vec()), None), of(None, Some(Vec::new()))]);
        fs::write(folder.path().join(FILE), "chanels - -\n").unwrap();
        assert_eq!(read(folder.path()).len(), Table::ALL.len());
        forget(folder.path()).unwrap();
        forget(folder.path()).unwrap();
        assert_eq!(read(folder.path()), []);
    }
}
