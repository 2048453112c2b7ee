//! A data folder that no hub runs on: what it holds, whether it is whole, out of it and into it.
//!
//! Nothing begins here: no epoch, no stream. What can't be read is counted and left out, so that this also rescues what is
//! left of a damaged folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::keys::NamedIn;
use crate::log::directory::{ChannelRow, position_of_key};
use crate::log::epoch::{Epoch, read as read_epochs};
use crate::log::record::Record;
use crate::position::Position;
use crate::store::fjall::FjallStore;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Order, Store, StoreError, Table, keys_with_prefix};
use crate::writer::lost_of;

mod check;
mod import;
mod stats;

pub use self::check::Report;
pub use self::import::{Import, ImportError};
pub use self::stats::{ArchiveStats, ChannelStats};

/// A data folder that no hub runs on.
pub struct Archive {
    tiers: Tiers,
    epochs: Vec<Epoch>,
    /// Channels' floors, as far as they were asked for.
    floors: HashMap<ChannelName, Option<Position>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

/// An event of an archive.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Where it is.
    pub id: Cursor,
    /// Those of its channels that keep it; the first is the canonical one, if that keeps it.
    pub channels: Vec<ChannelName>,
    /// What was published.
    pub record: Record,
}

impl Archive {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// When there is no data folder, a hub runs on it, it is of a newer format or can't be read at all.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::is_there(folder)?;
        let store: Arc<dyn Store> = Arc::new(FjallStore::open(folder)?);
        let opened = match Self::on(&store, true) {
            // It is mended when the store is opened again.
            Err(error) if error.is_damage() => {
                store.reopen()?;
                Self::on(&store, true)
            }
            opened => opened,
        };
        opened.map_err(StoreError::at_opening)
    }

    /// Opens the folder without mending its tables, where that can be done.
    ///
    /// # Errors
    ///
    /// As those of [`Archive::open`], and [`StoreError::Unreadable`] where tables would have to be mended.
    pub fn open_as_it_is(folder: &Path) -> Result<Self, StoreError> {
        Self::is_there(folder)?;
        let store: Arc<dyn Store> = Arc::new(FjallStore::open_as_it_is(folder)?);
        Self::on(&store, false).map_err(StoreError::at_opening)
    }

    /// What is wrong with the files of a folder's tables, in words. Every byte of them is read, nothing is changed.
    ///
    /// # Errors
    ///
    /// When there is no data folder, a hub runs on it, or the disk fails.
    pub fn look(folder: &Path) -> Result<Vec<String>, StoreError> {
        Self::is_there(folder)?;
        FjallStore::look(folder)
    }

    fn is_there(folder: &Path) -> Result<(), StoreError> {
        if folder.join("keyspaces").is_dir() || folder.join("mark").is_file() {
            return Ok(());
        }
        Err(StoreError::NoFolder(folder.display().to_string()))
    }

    pub(crate) fn on(store: &Arc<dyn Store>, is_mending: bool) -> Result<Self, StoreError> {
        let tiers = Tiers::new(store.clone());
        if is_mending {
            crate::damage::restore::restore(&tiers, &mut rand::random)?;
        }
        crate::log::format::check(&**store)?;
        let epochs = read_epochs(&**store)?;
        // What opening found lost must be known to the next hub.
        let end = Position::new(epochs.last().map_or(0, |epoch| epoch.ordinal), Position::SEQUENCE_MAX);
        lost_of(&tiers, end)?;
        Ok(Self { tiers, epochs, floors: HashMap::new() })
    }

    /// Gives each event that is kept and not expired at `now_ms`, in order. Returns how many places can't be read.
    ///
    /// # Errors
    ///
    /// When the store failed, or `each` did.
    pub fn events<E: From<StoreError>>(
        &mut self,
        now_ms: u64,
        mut each: impl FnMut(Archived) -> Result<(), E>,
    ) -> Result<u64, E> {
        let tiers = self.tiers.clone();
        let mut scan = tiers.scan(Tier::Durable, Table::Log, keys_with_prefix(b""), Order::Ascending);
        let (mut damaged, mut named) = (0, NamedIn::new(&*tiers.durable));
        for pair in scan.by_ref() {
            let (key, value) = pair?;
            let Some(position) = position_of_key(&key) else { continue };
            let record = match Record::decode(&value, position) {
                Ok(record) => record,
                Err(error) => {
                    tiers.damage.found(Table::Log, &key, &error);
                    damaged += 1;
                    continue;
                }
            };
            match named.has(&record, position) {
                Ok(true) => {}
                // It was removed.
                Ok(false) => continue,
                Err(error) if error.is_damage() => {
                    damaged += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let mut channels = Vec::with_capacity(record.channels.len());
            for name in &record.channels {
                // Values of keys are good as long as they are there.
                if record.key.is_some() || self.floor(name)?.is_none_or(|floor| floor < position) {
                    channels.push(name.clone());
                }
            }
            if !channels.is_empty() && !record.is_expired(now_ms) {
                each(Archived { id: self.cursor(position), channels, record })?;
            }
        }
        Ok(damaged + scan.holes.len() as u64)
    }

    /// The floor of a channel; none where its row can't be read or isn't there.
    fn floor(&mut self, name: &ChannelName) -> Result<Option<Position>, StoreError> {
        if let Some(floor) = self.floors.get(name) {
            return Ok(*floor);
        }
        let row = match ChannelRow::read(&*self.tiers.durable, name) {
            Err(error) if error.is_damage() => None,
            row => row?,
        };
        let floor = row.map(|row| row.floor);
        self.floors.insert(name.clone(), floor);
        Ok(floor)
    }

    fn cursor(&self, position: Position) -> Cursor {
        let epoch = self.epochs.iter().find(|epoch| epoch.ordinal == position.ordinal());
        Cursor::at(position, epoch.map_or(0, |epoch| epoch.random))
    }

    /// Whether the stored bytes of a table can be read, pair by pair. Returns the places that can't.
    fn holes(
        &self,
        table: Table,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<usize, StoreError> {
        let mut scan = self.tiers.scan(Tier::Durable, table, keys_with_prefix(b""), Order::Ascending);
        for pair in scan.by_ref() {
            let (key, value) = pair?;
            each(&key, &value)?;
        }
        Ok(scan.holes.len())
    }
}
