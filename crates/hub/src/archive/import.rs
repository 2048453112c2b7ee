//! Events into a data folder, with the times that they had.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;
use crate::hub::config::OpenError;
use crate::limits::{COMMIT_BYTES_MAX, COMMIT_DRAFTS_MAX, CURSOR_AGE_MAX};
use crate::log::append_error::AppendError;
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::rule::{HistoryLimits, Rule, Rules, WhenFull};
use crate::space::Space;
use crate::store::fjall::FjallStore;
use crate::store::{Store, StoreError};
use crate::writer::{Group, Writer, WriterParts};

/// Memory for what was imported last, which nobody will ask for.
const WINDOW_BYTES: usize = 64 * 1024;

/// A data folder into which events are written. No hub may run on it.
pub struct Import {
    writer: Writer,
    clock: Arc<ManualClock>,
    /// What is to be committed together: events of one time.
    drafts: Vec<Draft>,
    bytes: usize,
    time_ms: u64,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}

/// Why events can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The event isn't one that could have been published.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The folder can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Import {
    /// Opens the folder, which is made if need be.
    ///
    /// # Errors
    ///
    /// When a hub runs on it, or it can't be used.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let store: Arc<dyn Store> = Arc::new(FjallStore::open(folder)?);
        let space = Arc::new(Space::open(store.clone(), None, None)?);
        let clock = Arc::new(ManualClock::at(0));
        let mut writer = Writer::open(WriterParts {
            store,
            rules: Arc::new(Rules::new(keep_all())),
            clock: clock.clone(),
            random: Box::new(rand::random),
            window_bytes: WINDOW_BYTES,
            channels_max: crate::limits::ACTIVE_CHANNELS_MAX,
            cursor_age_max: CURSOR_AGE_MAX,
            space,
        })?;
        let time_ms = writer.now_ms();
        writer.time_ms = time_ms;
        writer.is_import = true;
        Ok(Self { writer, clock, drafts: Vec::new(), bytes: 0, time_ms })
    }

    /// Adds an event after all that are there. Its time is kept unless the folder holds younger events: times never go back.
    /// Fields of newer hubs are left out.
    ///
    /// # Errors
    ///
    /// When it is no event that could have been published, or the folder can't be written to.
    pub fn add(&mut self, record: Record) -> Result<(), ImportError> {
        let Record { channels, name, data, content_type, time_ms, publisher, expires_ms, retry, .. } = record;
        let Record { key, is_deleted, except_user, .. } = record;
        // How long a deletion is remembered is the hub's to say.
        let ttl = expires_ms.filter(|_| !is_deleted).map(|at| Duration::from_millis(at.saturating_sub(time_ms)));
        let event = Event { name, data, content_type, retry, ttl, idempotency_key: None, key, is_deleted };
        let publisher = match publisher {
            Some(name) => Publisher::Named(name),
            None if channels.iter().any(|name| name.as_str().starts_with('@')) => Publisher::Hub,
            None => Publisher::Anyone,
        };
        let draft = Draft { except_user, ..Draft::imported(channels, event, publisher)? };
        if time_ms != self.time_ms || self.drafts.len() >= COMMIT_DRAFTS_MAX || self.bytes >= COMMIT_BYTES_MAX {
            self.flush()?;
        }
        self.time_ms = time_ms;
        self.bytes += draft.weight();
        self.drafts.push(draft);
        Ok(())
    }

    /// Commits what was added.
    fn flush(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        if self.drafts.is_empty() {
            return Ok(());
        }
        self.clock.set_unix_ms(self.time_ms);
        let group = Group { drafts: std::mem::take(&mut self.drafts), atomic: false };
        for outcome in self.writer.append(vec![group]).into_iter().flatten() {
            outcome?;
        }
        Ok(())
    }

    /// Commits the rest and closes the folder.
    ///
    /// # Errors
    ///
    /// When the folder can't be written to.
    pub fn finish(mut self) -> Result<(), ImportError> {
        self.flush()?;
        Ok(self.writer.close()?)
    }
}

/// Rules that keep everything, on disk. With an age of nothing, so that channels are looked at by the next hub, with its own.
fn keep_all() -> Vec<Rule> {
    let history = HistoryLimits { count_max: u64::MAX, bytes_max: u64::MAX, age_max: Duration::ZERO };
    let patterns = ["*", "@*"].into_iter().filter_map(|text| Pattern::new(text).ok());
    let rule = |pattern| Rule { history, ..Rule::new(pattern) }.keys(u64::MAX, WhenFull::Refuse);
    patterns.map(rule).collect()
}
