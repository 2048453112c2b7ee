//! Events whose time to live runs out. They leave the log without a gap. The value of a key is deleted, as somebody might do
//! it: who has it is told, and so is who was away and still has the value before it.

use super::{AppendError, Commit, Writer};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::keys::KeyRow;
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::due::Due;
use crate::rule::WhenFull;
use crate::store::tier::Tier;
use crate::store::{StoreError, Table};

/// When to try again to delete a value for which there was no room.
const AGAIN_AFTER_MS: u64 = 10_000;

impl Writer {
    /// An event's time is over.
    pub(crate) fn expire(&mut self, position: Position, tier: Tier, commit: &mut Commit) -> Result<(), StoreError> {
        if commit.keys.gone.contains(&position) {
            // It was too old for its channel, too.
            return Ok(());
        }
        let deletion = match self.deletion_at(position, tier) {
            Err(error) if error.is_damage() => None,
            deletion => deletion?,
        };
        if let Some(deletion) = deletion {
            match self.place(deletion, commit)? {
                Ok(_) => return Ok(()),
                Err(AppendError::DiskFull) => {
                    let again_ms = self.now_ms() + AGAIN_AFTER_MS;
                    Due::Event(position).put(again_ms, commit.batch(tier));
                    return Ok(());
                }
                // Its channel takes nothing any more, not even from the hub.
                Err(_) => {}
            }
        }
        let tiers = self.tiers.clone();
        if let Some(record) = self.retention.expire(position, tier, commit.batch(tier), &tiers)? {
            self.forget_value(&record, position, tier, commit)?;
        }
        Ok(())
    }

    /// What deletes the key whose value is at a position. Messages go without a word, and so do deletions that nobody needs
    /// to know of any more.
    fn deletion_at(&mut self, position: Position, tier: Tier) -> Result<Option<Draft>, StoreError> {
        let value = self.tiers.store(tier).get(Table::Log, &position.to_key())?;
        let Some(record) = value.and_then(|value| Record::decode(&value, position).ok()) else { return Ok(None) };
        let (Some(name), Some(key)) = (record.channels.first(), record.key) else { return Ok(None) };
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        if record.is_deleted || channel.rule.when_full == WhenFull::DropOldest || self.is_import {
            return Ok(None);
        }
        let row = KeyRow::read(self.tiers.store(tier), &self.tiers.damage, channel.row.id, &key)?;
        let is_last = row.is_some_and(|row| row.position == position);
        Ok(is_last.then(|| Draft::new(vec![name.clone()], Event::deletion(key), Publisher::Hub).ok()).flatten())
    }
}
