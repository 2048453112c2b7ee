//! The manifest of a table of the store: which files it consists of, in which order newer ones hide older ones. The engine
//! calls it a version; the file `current` names the valid one, with its checksum. See the engine's `version/`.

use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::store::fjall::files;

/// Levels of a table of the store. More files may overlap the higher (the lower their number) they are.
const LEVELS: usize = 7;

/// A file of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its number, and its name.
    pub(super) id: u64,
    pub(super) checksum: u128,
    /// What is added to its sequence numbers.
    pub(super) sequence: u64,
}

/// Which files there are: levels of runs of files. In a run none overlaps another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) number: u64,
    pub(super) levels: Vec<Vec<Vec<Listed>>>,
}

/// A file that no manifest is known of.
pub(super) struct Found {
    pub(super) listed: Listed,
    /// Its least and greatest key.
    pub(super) keys: (Vec<u8>, Vec<u8>),
    /// Its highest sequence number.
    pub(super) newest: u64,
}

impl Manifest {
    /// Reads the valid manifest of a folder. Nothing if it is damaged or missing.
    ///
    /// # Errors
    ///
    /// When it is of a format that isn't known here.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let manifest = || {
            let (number, checksum) = files::parse(&fs::read(folder.join("current")).ok()?)?;
            let bytes = fs::read(folder.join(format!("v{number}"))).ok()?;
            (xxh3_128(&bytes) == checksum).then_some((number, bytes))
        };
        let Some((number, bytes)) = manifest() else { return Ok(None) };
        let reader = super::quietly(|| sfa::Reader::from_reader(&mut Cursor::new(&bytes)).ok()).flatten();
        let Some(reader) = reader else { return Ok(None) };
        let section = |name: &[u8]| {
            let entry = reader.toc().section(name)?;
            let at = usize::try_from(entry.pos()).ok()?;
            bytes.get(at..at.checked_add(usize::try_from(entry.len()).ok()?)?)
        };
        if section(b"format_version").is_some_and(|format| format != [3]) {
            return Err(io::Error::other("a table is of a newer format of the storage engine"));
        }
        Ok(section(b"tables").and_then(levels).map(|levels| Self { number, levels }))
    }

    /// A manifest of files that are there, as it may have been: a file lies above all older ones that it overlaps.
    ///
    /// Of two files that share a key the one with the higher sequence number is the newer one: the engine merges what
    /// overlaps before it moves it down, so whatever is above was written later.
    pub(super) fn of(mut files: Vec<Found>) -> Self {
        files.sort_by_key(|file| (file.newest, file.listed.id));
        let mut placed: Vec<(usize, Found)> = Vec::new();
        let mut levels: Vec<Vec<Vec<Found>>> = (0..LEVELS).map(|_| Vec::new()).collect();
        for file in files {
            let overlaps = |other: &Found| file.keys.0 <= other.keys.1 && other.keys.0 <= file.keys.1;
            let below = placed.iter().filter(|(_, other)| overlaps(other)).map(|(level, _)| *level).min();
            let level = below.map_or(LEVELS - 1, |level| level.saturating_sub(1));
            let copy = Found { listed: file.listed, keys: file.keys.clone(), newest: file.newest };
            placed.push((level, copy));
            let Some(runs) = levels.get_mut(level) else { continue };
            match runs.first_mut() {
                // Below the highest level there is one run.
                Some(run) if level > 0 => run.push(file),
                // The newest run comes first.
                _ => runs.insert(0, vec![file]),
            }
        }
        let sorted = |mut run: Vec<Found>| -> Vec<Listed> {
            run.sort_by(|a, b| a.keys.cmp(&b.keys));
            run.into_iter().map(|file| file.listed).collect()
        };
        Self { number: 0, levels: levels.into_iter().map(|runs| runs.into_iter().map(sorted).collect()).collect() }
    }

    /// All files.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut Listed> {
        self.levels.iter_mut().flatten().flatten()
    }

    /// Leaves files out.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&Listed) -> bool) {
        for level in &mut self.levels {
            for run in level.iter_mut() {
                run.retain(&mut is_kept);
            }
            level.retain(|run| !run.is_empty());
        }
    }

    /// Writes it as the valid manifest of a folder, beside those that are there.
    pub(super) fn write(&mut self, folder: &Path) -> io::Result<()> {
        let highest = files::numbers(folder).max().unwrap_or_default();
        self.number = highest.max(self.number) + 1;
        let bytes = self.encode()?;
        let path = folder.join(format!("v{}", self.number));
        fs::write(&path, &bytes)?;
        File::open(&path)?.sync_all()?;
        files::write(folder, "current", &files::current_of(self.number, xxh3_128(&bytes)))
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut writer = sfa::Writer::from_writer(Cursor::new(Vec::new()));
        let mut section = |name: &str, bytes: &[u8]| {
            writer.start(name)?;
            writer.write_all(bytes)
        };
        section("format_version", &[3])?;
        section("crate_version", b"3.1.10")?;
        // Values lie in the tables themselves.
        section("tree_type", &[0])?;
        section("level_count", &[LEVELS as u8])?;
        section("filter_hash_type", &[0])?;
        section("tables", &self.encode_levels()?)?;
        section("blob_files", &[0; 4])?;
        section("blob_gc_stats", &[0; 4])?;
        Ok(writer.into_inner().map_err(io::Error::other)?.into_inner())
    }

    fn encode_levels(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![LEVELS as u8];
        for level in self.levels.iter().map(Some).chain(std::iter::repeat(None)).take(LEVELS) {
            let runs: &[Vec<Listed>] = level.map_or(&[], |level| level);
            bytes.push(u8::try_from(runs.len()).map_err(io::Error::other)?);
            for run in runs {
                bytes.extend(u32::try_from(run.len()).map_err(io::Error::other)?.to_le_bytes());
                for file in run {
                    bytes.extend(file.id.to_le_bytes());
                    bytes.push(0);
                    bytes.extend(file.checksum.to_le_bytes());
                    bytes.extend(file.sequence.to_le_bytes());
                }
            }
        }
        Ok(bytes)
    }
}

/// Reads the levels of a manifest.
fn levels(mut bytes: &[u8]) -> Option<Vec<Vec<Vec<Listed>>>> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*taken)
    }
    let [count] = take(&mut bytes)?;
    (0..count)
        .map(|_| {
            let [runs] = take(&mut bytes)?;
            let runs = (0..runs).map(|_| {
                let files = u32::from_le_bytes(take(&mut bytes)?);
                let files = (0..files).map(|_| {
                    let id = u64::from_le_bytes(take(&mut bytes)?);
                    let [_kind] = take(&mut bytes)?;
                    let checksum = u128::from_le_bytes(take(&mut bytes)?);
                    Some(Listed { id, checksum, sequence: u64::from_le_bytes(take(&mut bytes)?) })
                });
                files.collect::<Option<Vec<_>>>()
            });
            runs.collect()
        })
        .collect()
}
