//! Channels whose producer fell silent: where their rule says so, they are ended once they were not heard of for too long.
//!
//! How long that is, the steady clock says: neither a wall clock that is set ahead nor the time for which the hub was down may
//! end what its producer had no chance to go on with. A channel has one row in the table `due` that counts; when it is looked
//! at and was heard since, it waits anew.

use std::time::Duration;

use super::{Commit, Writer};
use crate::channel::ChannelName;
use crate::clock::Clock;
use crate::draft::{Draft, Publisher};
use crate::log::channel_row::EndReason;
use crate::log::directory::{Channel, IndexEntry};
use crate::log::record::Record;
use crate::retention::due::Due;
use crate::rule::Durability;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, StoreError, Table, keys_with_prefix};

/// When to try again to end a channel for which there was no room.
const AGAIN_AFTER_MS: u64 = 10_000;

/// By how much the wall clock must gain on the steady one between two looks to have been set ahead: far more than it gains
/// while it is corrected bit by bit.
const STEP_MS: i64 = 1_000;

/// Since when the wall clock goes as the steady one does: since the hub began, or since it was set ahead, or the machine slept.
/// Times in the log that are older tell nothing of how long a producer could have been heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evenness {
    /// By the steady clock.
    since: Duration,
    /// By how much the wall clock was ahead of the steady one.
    lead_ms: i64,
}

impl Evenness {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { since: clock.elapsed(), lead_ms: lead_ms(clock) }
    }

    /// Compares the clocks. To be called at each sweep.
    pub(crate) fn look(&mut self, clock: &dyn Clock) {
        let lead_ms = lead_ms(clock);
        if lead_ms.saturating_sub(self.lead_ms) > STEP_MS {
            self.since = clock.elapsed();
        }
        self.lead_ms = lead_ms;
    }
}

fn lead_ms(clock: &dyn Clock) -> i64 {
    clock.unix_ms().cast_signed().saturating_sub((clock.elapsed().as_millis() as u64).cast_signed())
}

impl Channel {
    /// How long its producer may be silent. Of `transient` channels nobody knows when they were heard of, and the hub's own
    /// never end.
    fn silence_max(&self, name: &ChannelName) -> Option<Duration> {
        let can_end = !name.is_reserved() && self.rule.durability != Durability::Transient;
        self.rule.silence_max.filter(|_| can_end)
    }

    /// The channel was heard of. Tells when to look whether it has been since, unless somebody will.
    pub(super) fn is_heard(&mut self, name: &ChannelName, now_ms: u64, elapsed: Duration) -> Option<u64> {
        let silence_max = self.silence_max(name)?;
        self.heard = Some(elapsed);
        self.watch(now_ms.saturating_add(silence_max.as_millis() as u64))
    }

    /// When somebody must look at it though nothing was heard, as its rule is new or nobody knows when it was.
    pub(crate) fn is_unwatched(&mut self, name: &ChannelName, now_ms: u64) -> Option<u64> {
        let over_ms = now_ms.saturating_add(self.silence_max(name)?.as_millis() as u64);
        let is_late = self.silence_at.is_none_or(|at_ms| at_ms > over_ms);
        is_late.then(|| self.watch(now_ms + 1)).flatten()
    }

    /// Has it looked at at a time, unless it has ended or is looked at before.
    fn watch(&mut self, at_ms: u64) -> Option<u64> {
        let is_new = self.row.end.is_none() && self.silence_at.is_none_or(|known_ms| known_ms > at_ms);
        is_new.then(|| *self.silence_at.insert(at_ms))
    }

    /// When it was heard of last: in this run; or by its newest event or fence; otherwise now.
    fn heard(&mut self, tiers: &Tiers, now: (u64, Duration), evenness: Evenness) -> Result<Duration, StoreError> {
        if let Some(heard) = self.heard {
            return Ok(heard);
        }
        let mut heard_ms = self.row.fenced_ms;
        for tier in Tier::ALL {
            let range = keys_with_prefix(&self.row.id.to_be_bytes());
            let newest = tiers.scan(tier, Table::ByChannel, range, Order::Descending).next().transpose()?;
            let newest = newest.and_then(|(_, value)| IndexEntry::decode(&value));
            heard_ms = heard_ms.max(newest.map_or(0, |entry| entry.time_ms));
        }
        let (now_ms, elapsed) = now;
        let ago = if heard_ms == 0 { 0 } else { now_ms.saturating_sub(heard_ms) };
        let heard = elapsed.saturating_sub(Duration::from_millis(ago)).max(evenness.since);
        Ok(*self.heard.insert(heard))
    }
}

impl Writer {
    /// Takes note that the channels of a record were heard of. To be called after what the record does to them is done: one
    /// that is opened again must be watched.
    pub(super) fn hear_of(&mut self, record: &Record, batch: &mut Batch) -> Result<(), StoreError> {
        let elapsed = self.clock.elapsed();
        for name in &record.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            if let Some(at_ms) = channel.is_heard(name, record.time_ms, elapsed) {
                Due::Silence(name.clone()).put(at_ms, batch);
            }
        }
        Ok(())
    }

    /// Ends a channel that was not heard of for too long, where the row of this time is the one that counts.
    pub(crate) fn look_for_silence(
        &mut self,
        name: &ChannelName,
        tier: Tier,
        at_ms: u64,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let (now_ms, elapsed) = (self.now_ms(), self.clock.elapsed());
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        if channel.silence_at.is_some_and(|known_ms| known_ms != at_ms) {
            return Ok(());
        }
        channel.silence_at = None;
        let has_row = channel.tallies.iter().any(|tally| tally.has_row);
        let Some(silence_max) = channel.silence_max(name).filter(|_| has_row && channel.row.end.is_none()) else {
            return Ok(());
        };
        let heard = channel.heard(&self.tiers, (now_ms, elapsed), self.evenness)?;
        let left = silence_max.saturating_sub(elapsed.saturating_sub(heard));
        let mut again_ms = (!left.is_zero()).then(|| now_ms.saturating_add((left.as_millis() as u64).max(1)));
        if again_ms.is_none()
            && let Ok(draft) = Draft::ending(name, EndReason::Aborted, None, Publisher::Hub)
            && self.place(draft, commit)?.is_err()
        {
            again_ms = Some(now_ms + AGAIN_AFTER_MS);
        }
        self.directory.channel(name, &self.rules, &self.tiers)?.silence_at = again_ms;
        if let Some(again_ms) = again_ms {
            Due::Silence(name.clone()).put(again_ms, commit.batch(tier));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
