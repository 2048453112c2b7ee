//! What events do to their channels, and what channels say to events: ends, reopenings, fences. Rows change here in the order
//! of the log, and with the commit of what changed them.

use super::{AppendError, Commit, Placed, Writer};
use crate::channel::ChannelName;
use crate::draft::{Draft, Publisher};
use crate::ending::Deed;
use crate::log::channel_row::ChannelRow;
use crate::position::Position;
use crate::retention::due::Due;
use crate::rule::Durability;
use crate::store::StoreError;
use crate::store::tier::Tier;

/// What the channels of a draft say to it.
pub(super) enum Consent {
    /// It may be placed, and is kept so.
    Given(Durability),
    /// What it is to do has been done before.
    Done(Placed),
    /// It is refused.
    Refused(AppendError),
}

/// What one channel says to a draft, by its row.
pub(super) fn answer(row: &ChannelRow, draft: &Draft) -> Result<(), AppendError> {
    // What the hub itself does needs no fence.
    if row.fence > 0 && draft.deed != Deed::Fence && draft.publisher != Publisher::Hub {
        match draft.fence {
            Some(fence) if fence == row.fence => {}
            Some(fence) if fence > row.fence => return Err(AppendError::UnknownFence),
            Some(_) => return Err(AppendError::Fenced),
            None => return Err(AppendError::NoFence),
        }
    }
    match (draft.deed, row.end) {
        (Deed::None, Some(_)) => Err(AppendError::Ended),
        (Deed::End(reason), Some((_, before))) if before != reason => Err(AppendError::Ended),
        _ => Ok(()),
    }
}

impl Writer {
    /// Asks the channels of a draft whether it may be placed.
    pub(super) fn consent(&mut self, draft: &Draft) -> Result<Consent, StoreError> {
        let mut durability = Durability::Transient;
        let mut has_fence = draft.deed == Deed::Fence;
        let mut is_on_disk = false;
        let mut done = None;
        for name in &draft.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            durability = durability.max(channel.rule.durability);
            has_fence |= channel.row.fence > 0;
            is_on_disk |= channel.tally(Tier::Durable).has_row;
            if let Err(refusal) = answer(&channel.row, draft) {
                return Ok(Consent::Refused(refusal));
            }
            done = match (draft.deed, channel.row.end) {
                (Deed::End(_), Some((position, _))) => Some(Some(position)),
                (Deed::Reopen, None) => Some(None),
                _ => done,
            };
        }
        if draft.fence.is_some() && !has_fence && !draft.channels.is_empty() {
            return Ok(Consent::Refused(AppendError::UnknownFence));
        }
        if draft.deed != Deed::None {
            // Where nothing else is kept, what a channel is must be all the same, as long as the hub runs. Where its row is on
            // disk, since it shared an event with a durable one, what changed the row must be there with it or not at all.
            durability = durability.max(if is_on_disk { Durability::Durable } else { Durability::Memory });
        }
        Ok(match done {
            Some(position) => Consent::Done(Placed { position, durability, duplicate: true, fence: 0, found: None }),
            None => Consent::Given(durability),
        })
    }

    /// For how long live streams may gather the event of a draft: as short as its channels say, in milliseconds.
    pub(super) fn flush_ms(&mut self, draft: &Draft) -> Result<u32, StoreError> {
        let mut flush_ms = u32::MAX;
        for name in &draft.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            flush_ms = flush_ms.min(channel.rule.flush_ms());
        }
        Ok(flush_ms)
    }

    /// Why the channels of a draft refuse it, if they do.
    pub(super) fn refusal(&mut self, draft: &Draft) -> Result<Option<AppendError>, StoreError> {
        Ok(match self.consent(draft)? {
            Consent::Refused(refusal) => Some(refusal),
            Consent::Given(_) | Consent::Done(_) => None,
        })
    }

    /// Has the rows of a draft's channels say what it did. To be called after its record is kept.
    pub(super) fn do_deed(
        &mut self,
        deed: Deed,
        channels: &[ChannelName],
        position: Position,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let end = match deed {
            Deed::None | Deed::Fence => return Ok(()),
            Deed::Reopen => None,
            Deed::End(reason) => {
                self.endings.ends(reason, commit.batch(Tier::Durable));
                Some((position, reason))
            }
        };
        for name in channels {
            self.directory.channel(name, &self.rules, &self.tiers)?.row.end = end;
            self.put_rows(name, commit)?;
        }
        Ok(())
    }

    /// Gives a channel its next fence.
    pub(super) fn give_fence(
        &mut self,
        draft: &Draft,
        durability: Durability,
        commit: &mut Commit,
    ) -> Result<Placed, StoreError> {
        let tier = Tier::of(durability).unwrap_or(Tier::Memory);
        commit.synced |= tier == Tier::Durable;
        let mut placed = Placed { position: None, durability, duplicate: false, fence: 0, found: None };
        for name in &draft.channels {
            let now_ms = self.now_ms();
            let until_ms = now_ms.saturating_add(self.horizon.kept_for().as_millis() as u64);
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            channel.row.fence += 1;
            (channel.row.fenced, channel.row.fenced_ms) = (self.last, now_ms);
            placed.fence = channel.row.fence;
            if let Some(at_ms) = channel.is_heard(name, now_ms, self.clock.elapsed()) {
                Due::Silence(name.clone()).put(at_ms, commit.batch(tier));
            }
            if !std::mem::replace(&mut channel.tally(tier).has_row, true) {
                // Nobody may ever publish, and then it is to be forgotten. Who has a row is looked at already.
                Due::Channel(name.clone()).put(until_ms, commit.batch(tier));
                if tier == Tier::Durable {
                    self.directory.store_next_id(commit.batch(tier));
                }
            }
            self.put_rows(name, commit)?;
        }
        Ok(placed)
    }

    /// Writes the row of a channel wherever it has one.
    fn put_rows(&mut self, name: &ChannelName, commit: &mut Commit) -> Result<(), StoreError> {
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        let row = channel.row;
        for tier in Tier::ALL {
            if channel.tally(tier).has_row {
                row.put(name, commit.batch(tier));
                if !row.has_copy() {
                    ChannelRow::remove_copy(name, commit.batch(tier));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::event::Event;
    use crate::limits::CURSOR_AGE_MAX;
    use crate::log::channel_row::EndReason;
    use crate::pattern::Pattern;
    use crate::rule::{Rule, Rules};
    use crate::space::Space;
    use crate::store::faulty::{Fate, Fault, FaultyStore};
    use crate::writer::{Group, WriterParts};

    #[test]
    fn a_memory_channel_whose_row_is_on_disk_ends_there_or_not_at_all() {
        for fate in [Fate::Kept, Fate::Dropped] {
            let store = Arc::new(FaultyStore::default());
            let memory = Rule::new(Pattern::new("m").unwrap()).durability(Durability::Memory);
            let mut writer = Writer::open(WriterParts {
                space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
                store: store.clone(),
                rules: Arc::new(Rules::new(vec![memory])),
                clock: Arc::new(ManualClock::at(1_000_000)),
                random: Box::new(|| 7),
                window_bytes: 10_000,
                channels_max: 3,
                cursor_age_max: CURSOR_AGE_MAX,
            })
            .unwrap();
            let name = |text| ChannelName::new(text).unwrap();
            let append = |writer: &mut Writer, draft| {
                writer.append(vec![Group { drafts: vec![draft], atomic: false }]).remove(0)
            };
            let shared = Draft::new(vec![name("m"), name("d")], Event::text("x"), Publisher::Anyone).unwrap();
            assert!(append(&mut writer, shared)[0].is_ok());
            store.fail(Fault { fate, failed_reopenings: 0, closed_meanwhile: false });
            let end = Draft::ending(&name("m"), EndReason::Done, None, Publisher::Anyone).unwrap();
            assert_eq!(append(&mut writer, end), [Err(AppendError::OutcomeUnknown)]);
            let found = writer.reopen().unwrap();
            let later = Draft::new(vec![name("m")], Event::text("y"), Publisher::Anyone).unwrap();
            let is_ended = append(&mut writer, later)[0] == Err(AppendError::Ended);
            assert_eq!((found, is_ended), if fate == Fate::Kept { (1, true) } else { (0, false) }, "{fate:?}");
        }
    }
}
