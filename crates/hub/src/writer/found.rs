//! The channels that a pattern met, once the writer knows more of them: which of them an event goes to, and which an earlier
//! one went to.

use std::sync::Arc;

use super::deeds::answer;
use super::keyed::Trial;
use super::{Commit, Placed, Writer};
use crate::channel::ChannelName;
use crate::draft::Draft;
use crate::log::directory::Kind;
use crate::log::idempotency::Published;
use crate::log::record::Record;
use crate::position::Position;
use crate::rule::Durability;
use crate::store::tier::Tier;
use crate::store::{StoreError, Table};
use crate::window::entry::Entry;

impl Placed {
    /// What becomes of a draft whose pattern met no channel that takes it.
    pub(super) fn nowhere() -> Self {
        Self { position: None, durability: Durability::Transient, duplicate: false, fence: 0, found: Some(Vec::new()) }
    }
}

impl Writer {
    /// Leaves out the channels that don't take a draft, where its publisher named only a pattern: one that has ended, has a
    /// producer of its own, holds values of keys or is damaged must not keep the others from getting it. `trial` is what
    /// drafts before it in its group would make of them.
    pub(super) fn leave_out(&mut self, draft: &mut Draft, trial: &Trial) -> Result<(), StoreError> {
        if draft.pattern.is_none() {
            return Ok(());
        }
        for name in std::mem::take(&mut draft.channels) {
            let channel = match self.directory.channel(&name, &self.rules, &self.tiers) {
                Err(error) if error.is_damage() => {
                    self.tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                    continue;
                }
                channel => channel?,
            };
            if answer(&channel.row, draft).is_ok() && trial.kind(channel) != Some(Kind::Keys) {
                draft.channels.push(name);
            }
        }
        Ok(())
    }

    /// What is said of a draft that was published before.
    pub(super) fn placed_before(
        &mut self,
        mut draft: Draft,
        published: Published,
        commit: &Commit,
    ) -> Result<Placed, StoreError> {
        let Published { position, durability, .. } = published;
        let mut placed = Placed { position, durability, duplicate: true, fence: 0, found: None };
        if draft.pattern.is_some() {
            let found = match position {
                Some(position) => self.channels_at(position, Tier::of(durability), commit)?,
                None => None,
            };
            placed.found = Some(if let Some(channels) = found {
                channels
            } else {
                // Nothing says any more where it went. What it would go to now is closest to it.
                self.leave_out(&mut draft, &Trial::default())?;
                draft.channels
            });
        }
        Ok(placed)
    }

    /// The channels of the event at a position, if it is still there: in the commit in the making or in the log.
    fn channels_at(
        &self,
        position: Position,
        tier: Option<Tier>,
        commit: &Commit,
    ) -> Result<Option<Vec<ChannelName>>, StoreError> {
        let Some(tier) = tier else { return Ok(None) };
        let at = commit.entries.partition_point(|entry| entry.position < position);
        // Transient events bear the position of the one before them, which may be of an earlier commit.
        let is_it = |entry: &&Arc<Entry>| entry.position == position && entry.durability != Durability::Transient;
        if let Some(entry) = commit.entries.get(at).filter(is_it) {
            return Ok(Some(entry.record.channels.clone()));
        }
        let value = match self.tiers.store(tier).get(Table::Log, &position.to_key()) {
            Err(error) if error.is_damage() => return Ok(None),
            value => value?,
        };
        Ok(value.and_then(|value| Record::decode(&value, position).ok()).map(|record| record.channels))
    }
}

#[cfg(test)]
mod tests;
