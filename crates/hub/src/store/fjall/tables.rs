//! Tables whose files the storage engine can't open or read: mended before it opens the folder.
//!
//! A file of a table is written anew, under its number, from those of its blocks that can be read. A manifest that can't be
//! read is written anew from the files that are there. What is replaced is kept in the folder `damaged`. What is lost with
//! it is noted (`notes.rs`) before anything is replaced, so that it is told even if a crash comes in between.
//!
//! It is assumed of a file without a manifest that the engine wrote it whole, and of files that share keys that the one
//! with the higher sequence number is the newer one. Files that the engine had already replaced may be among them: then
//! removed rows come back. Whoever reads rows must not mind that; floors hide what they removed.
//!
//! *Absent:* any knowledge of what the rows mean. What is done about those that are lost is decided by `restore.rs`.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use self::manifest::{Found, Listed, Manifest};
pub(super) use self::salvage::Hole;
use super::notes;
use crate::store::Table;

mod blocks;
mod manifest;
mod names;
mod salvage;
#[cfg(test)]
mod tests;

/// What the file `version` holds: what the engine calls format 3.
pub(super) const VERSION: &[u8] = b"FJL\x03";

/// Where replaced files are kept, in the data folder.
const ASIDE: &str = "damaged";

/// How closely tables are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// At all that the engine needs to open them.
    Opening,
    /// At every byte.
    All,
}

/// A look at the tables of a folder.
struct Look<'a> {
    folder: &'a Path,
    how: How,
    /// Whether anything is changed.
    is_mending: bool,
    /// What is wrong, in words.
    said: Vec<String>,
}

/// Says what is wrong with the tables of a folder. Changes nothing.
pub(super) fn look(folder: &Path, how: How) -> io::Result<Vec<String>> {
    Look { folder, how, is_mending: false, said: Vec::new() }.run()
}

/// Mends the tables of a folder. Nobody may have it open.
pub(super) fn mend(folder: &Path, how: How) -> io::Result<()> {
    Look { folder, how, is_mending: true, said: Vec::new() }.run().map(drop)
}

/// What a closure gives, or nothing where it panics: the engine takes what it reads for good.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Look<'_> {
    fn run(mut self) -> io::Result<Vec<String>> {
        let tables = self.folder.join("keyspaces");
        if fs::read(self.folder.join("version")).ok().as_deref() != Some(VERSION) {
            self.say("the file `version` is damaged or missing");
            if self.is_mending {
                super::files::write(self.folder, "version", VERSION)?;
            }
        }
        let numbers = match names::read(&tables.join("0"))? {
            Some(numbers) if names::usual().values().all(|table| numbers.values().any(|of| of == table)) => numbers,
            _ => {
                self.say("the engine's own table in `keyspaces/0` is damaged or missing");
                if self.is_mending {
                    names::replace(self.folder, &self.aside("keyspaces-0")?)?;
                }
                names::usual()
            }
        };
        for (number, table) in numbers {
            self.look_at(&tables.join(number.to_string()), table)?;
        }
        Ok(self.said)
    }

    fn say(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.is_mending {
            tracing::error!(damage = what, "a table of the store is mended; files as they were are kept in `{ASIDE}`");
        }
        self.said.push(what);
    }

    /// A place for a file that is replaced.
    fn aside(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(ASIDE);
        fs::create_dir_all(&folder)?;
        let mut number = 0u32;
        loop {
            let place = folder.join(format!("{name}.{number}"));
            if !place.try_exists()? {
                return Ok(place);
            }
            number += 1;
        }
    }

    /// Keeps a file that is about to be replaced, if it is there.
    fn keep(&self, path: &Path) -> io::Result<()> {
        let name = path.strip_prefix(self.folder).unwrap_or(path).to_string_lossy().replace(['/', '\\'], "-");
        match fs::hard_link(path, self.aside(&name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Not every file system has links.
            Err(_) => fs::copy(path, self.aside(&name)?).map(drop),
            linked => linked,
        }
    }

    /// Looks at one table.
    fn look_at(&mut self, path: &Path, table: Table) -> io::Result<()> {
        let files = path.join("tables");
        let name = table.as_str();
        let (known, is_lost) = (Manifest::read(path)?, !files.is_dir());
        if is_lost {
            self.say(format!("table `{name}`: its files are missing"));
            self.lose(table, &[(None, None)])?;
        }
        let is_known = known.is_some();
        let mut listed = if let Some(mut known) = known {
            known.files().map(|listed| *listed).collect()
        } else {
            self.say(format!("table `{name}`: its manifest is damaged or missing"));
            unlisted(&files)?
        };
        let before = listed.clone();
        if self.is_mending {
            fs::create_dir_all(&files)?;
        }
        let mut gone = Vec::new();
        for of in &mut listed {
            if !self.is_sound(path, table, of)? {
                gone.push(of.id);
            }
        }
        let is_changed = !gone.is_empty() || listed != before;
        if !self.is_mending || (is_known && !is_changed) {
            return Ok(());
        }
        listed.retain(|of| !gone.contains(&of.id));
        self.write(path, &listed)?;
        for id in gone {
            let _ = fs::remove_file(files.join(id.to_string()));
        }
        Ok(())
    }

    /// Looks at one file of a table, and mends it if need be. Returns whether there is one in the end.
    fn is_sound(&mut self, path: &Path, table: Table, listed: &mut Listed) -> io::Result<bool> {
        let file = path.join("tables").join(listed.id.to_string());
        if file.exists() && salvage::is_sound(&file, listed.id, self.how)? {
            return Ok(true);
        }
        let beside = path.join(format!("mended-{}", listed.id));
        if !self.is_mending {
            let what = if file.exists() { "damaged" } else { "missing" };
            self.say(format!("table `{}`: its file {} is {what}", table.as_str(), listed.id));
            return Ok(true);
        }
        let salvaged = salvage::salvage(&file, listed.id, &beside)?;
        let (name, id, rows, parts) = (table.as_str(), listed.id, salvaged.rows, salvaged.holes.len());
        self.say(format!("table `{name}`: of its file {id} {rows} rows were saved, {parts} parts are lost"));
        self.lose(table, &salvaged.holes)?;
        self.keep(&file)?;
        let Some(checksum) = salvaged.checksum else { return Ok(false) };
        fs::rename(&beside, &file)?;
        fs::File::open(path.join("tables"))?.sync_all()?;
        listed.checksum = checksum;
        Ok(true)
    }

    /// Notes what is lost.
    fn lose(&self, table: Table, holes: &[Hole]) -> io::Result<()> {
        if self.is_mending && !holes.is_empty() { notes::add(self.folder, table, holes) } else { Ok(()) }
    }

    /// Writes a table's manifest anew.
    fn write(&self, path: &Path, listed: &[Listed]) -> io::Result<()> {
        if let Some(mut manifest) = Manifest::read(path)? {
            manifest.retain(|of| listed.iter().any(|kept| kept.id == of.id));
            for of in manifest.files() {
                of.checksum = listed.iter().find(|kept| kept.id == of.id).map_or(of.checksum, |kept| kept.checksum);
            }
            return manifest.write(path);
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name() == "current" || entry.file_name().to_string_lossy().starts_with('v') {
                self.keep(&entry.path())?;
            }
        }
        let mut found = Vec::new();
        for of in listed {
            let file = path.join("tables").join(of.id.to_string());
            let Some(table) = salvage::open(&file) else { continue };
            let keys = (table.metadata.key_range.min().to_vec(), table.metadata.key_range.max().to_vec());
            let listed = Listed { checksum: xxh3_128(&fs::read(&file)?), ..*of };
            found.push(Found { listed, keys, newest: table.get_highest_seqno() });
        }
        Manifest::of(found).write(path)
    }
}

/// The files of a table without a manifest.
fn unlisted(files: &Path) -> io::Result<Vec<Listed>> {
    let Ok(list) = fs::read_dir(files) else { return Ok(Vec::new()) };
    let mut listed = Vec::new();
    for file in list {
        if let Some(id) = file?.file_name().to_str().and_then(|name| name.parse().ok()) {
            listed.push(Listed { id, checksum: 0, sequence: 0 });
        }
    }
    Ok(listed)
}
