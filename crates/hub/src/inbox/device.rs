//! Devices of users that acknowledge by coming back: a bare `EventSource` can say nothing but the id that it saw last.
//!
//! That id says how far a stream had come, and by its mark whose it was: another page's stream may not have had the
//! inbox. But it doesn't say from where on. So the hub remembers of each device above which position it was given all
//! of the inbox, and since when. It is a value in a channel of keys, `@devices/` and the user's name, with the device
//! as its key; nothing about it changes while the device comes and goes, so there is one write for a device, and one a
//! day to keep it.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::cursor::Cursor;
use crate::draft::{Draft, Publisher};
use crate::event::{Event, JSON};
use crate::history::History;
use crate::hub::Hub;
use crate::limits::{DEVICE_AGE_MAX, DEVICE_BYTES_MAX, DEVICE_REFRESH};
use crate::position::Position;
use crate::stats::bump;
use crate::store::StoreError;
use crate::user::UserName;

/// A device's name. Compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName(Box<str>);

/// What is wrong with a device's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceNameError {
    /// It has no characters, or too many.
    #[error("must have 1 to {DEVICE_BYTES_MAX} bytes; it has {0}")]
    Length(usize),
    /// It has a control character.
    #[error("has a control character (U+{0:04X})")]
    Control(u32),
}

impl DeviceName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 64 bytes, or has a control character.
    pub fn new(text: &str) -> Result<Self, DeviceNameError> {
        if text.is_empty() || text.len() > DEVICE_BYTES_MAX {
            return Err(DeviceNameError::Length(text.len()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(DeviceNameError::Control(u32::from(c))),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the ids end with that a user's device is given, to tell them from those of other streams.
    pub(crate) fn mark(&self, user: &UserName) -> NonZeroU32 {
        // Neither name has a line end.
        let hash = xxh3_64(format!("{}\n{}", user.as_str(), self.0).as_bytes());
        NonZeroU32::new(hash as u32).unwrap_or(NonZeroU32::MIN)
    }
}

/// What is remembered of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// It was given all of the inbox above this, as far as an id of its own says.
    above: Position,
    /// Ids below this are not its own.
    since: Position,
}

/// The same as its channel has it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// An id; none where it was given all of the inbox.
    above: Option<String>,
    /// An id.
    since: String,
}

impl History {
    /// What it comes to that a device comes back with an id, or begins without one: what that acknowledges, and what is to be
    /// remembered of the device.
    pub(crate) fn returns(
        &self,
        user: &UserName,
        device: &DeviceName,
        last: Option<&str>,
    ) -> Result<Vec<Draft>, StoreError> {
        let (head, _) = self.window.head();
        let cursor: Option<Cursor> = last.and_then(|id| id.parse().ok());
        let cursor = cursor.filter(|cursor| self.epochs.place(cursor, head).is_ok());
        let (known, is_stale) = self.memory_of(user, device, head)?.unzip();
        let is_own = |cursor: &Cursor| cursor.device == Some(device.mark(user));
        let mut drafts = Vec::new();
        let memory = match (cursor, known) {
            (Some(cursor), Some(known)) if is_own(&cursor) && cursor.position >= known.since => {
                let inbox = self.row(user.inbox())?;
                self.acknowledge_between(user, inbox, (known.above, cursor.event()), &mut drafts)?;
                known
            }
            // It goes on from where it never was, and what lies between may never come to it.
            (Some(cursor), Some(_)) => Memory { above: cursor.event(), since: head },
            // What it was given before, nobody knows; what comes from now on, it is given.
            (Some(cursor), None) => Memory { above: cursor.event(), since: cursor.position },
            (None, Some(known)) if known.above == Position::ORIGIN => known,
            // It begins with all that there is.
            (None, _) => Memory { above: Position::ORIGIN, since: head },
        };
        if known != Some(memory) || is_stale == Some(true) {
            drafts.extend(self.remembering(user, device, memory));
        }
        Ok(drafts)
    }

    /// What is remembered of a device, and whether it is time to remember it anew.
    fn memory_of(
        &self,
        user: &UserName,
        device: &DeviceName,
        head: Position,
    ) -> Result<Option<(Memory, bool)>, StoreError> {
        let Some(entry) = self.value(self.row(&user.devices())?, device.as_str())? else { return Ok(None) };
        let Ok(Stored { above, since }) = serde_json::from_slice(&entry.record.data) else { return Ok(None) };
        // Ids of another log are none: what was imported says nothing of this one.
        let place = |id: &str| {
            let cursor: Cursor = id.parse().ok()?;
            self.epochs.place(&cursor, head).is_ok().then_some(cursor.position)
        };
        let above = above.as_deref().map_or(Some(Position::ORIGIN), place);
        let memory = above.zip(place(&since)).map(|(above, since)| Memory { above, since });
        let age_ms = self.clock.unix_ms().saturating_sub(entry.record.time_ms);
        Ok(memory.map(|memory| (memory, age_ms >= DEVICE_REFRESH.as_millis() as u64)))
    }

    /// The event that remembers a device.
    fn remembering(&self, user: &UserName, device: &DeviceName, memory: Memory) -> Option<Draft> {
        let id = |position| self.epochs.cursor(position, None).to_text();
        let above = (memory.above > Position::ORIGIN).then(|| id(memory.above));
        let data = serde_json::to_vec(&Stored { above, since: id(memory.since) }).unwrap_or_default();
        let event = Event::text(data).typed(JSON).keyed(device.as_str()).ttl(DEVICE_AGE_MAX);
        Draft::of(vec![user.devices()], event, Publisher::Hub).ok()
    }
}

impl Hub {
    /// Finds out what it comes to that a device comes back with the id that it saw last, or begins without one. To be asked before
    /// its stream is opened; what comes of it goes to [`Hub::acknowledge`]. Where that fails with more than
    /// [acknowledgements](Draft::is_acknowledgement), nobody knows above which position the device is given everything: then
    /// its stream is to be opened without a device, so that what it comes back with acknowledges nothing.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn device_returns(
        &self,
        user: &UserName,
        device: &DeviceName,
        last_event_id: Option<&str>,
    ) -> Result<Vec<Draft>, StoreError> {
        let returns = self.patiently(|| self.history().returns(user, device, last_event_id));
        returns.inspect_err(|_| bump(&self.0.counters.acknowledgements_failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused() {
        assert_eq!(DeviceName::new(""), Err(DeviceNameError::Length(0)));
        assert_eq!(DeviceName::new(&"x".repeat(65)), Err(DeviceNameError::Length(65)));
        assert_eq!(DeviceName::new("a\n"), Err(DeviceNameError::Control(10)));
        assert_eq!(DeviceName::new("Ada's phone").unwrap().as_str(), "Ada's phone");
    }
}
