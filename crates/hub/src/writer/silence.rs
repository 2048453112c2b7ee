//! Channels whose producer fell silent: where their rule says so, they are ended once their last event is too old. A channel
//! waits in the table `due` at most once for what is known here; when it is looked at and was heard since, it waits anew.

use super::{Commit, Writer};
use crate::channel::ChannelName;
use crate::channel_row::EndReason;
use crate::directory::{Channel, IndexEntry};
use crate::draft::{Draft, Publisher};
use crate::due::Due;
use crate::store::{Order, StoreError, Table, keys_with_prefix};
use crate::tier::{Tier, Tiers};

/// When to try again to end a channel for which there was no room.
const AGAIN_AFTER_MS: u64 = 10_000;

impl Channel {
    /// The channel was heard of. Tells when to look whether it has been since, unless somebody will.
    pub(crate) fn is_heard(&mut self, time_ms: u64) -> Option<u64> {
        let silence_max = self.rule.silence_max?;
        self.heard_ms = time_ms;
        let is_new = self.row.end.is_none() && !std::mem::replace(&mut self.silence_due, true);
        is_new.then(|| time_ms.saturating_add(silence_max.as_millis() as u64))
    }

    /// Whether somebody must look at it though nothing was heard, as its rule is new or nobody knows when it was.
    pub(crate) fn is_unwatched(&mut self) -> bool {
        let is_concerned = self.rule.silence_max.is_some() && self.row.end.is_none();
        is_concerned && !std::mem::replace(&mut self.silence_due, true)
    }

    /// When it was heard of last: in this run, or by its newest event; otherwise from now on.
    fn heard_ms(&mut self, tiers: &Tiers, now_ms: u64) -> Result<u64, StoreError> {
        if self.heard_ms == 0 {
            for tier in Tier::ALL {
                let range = keys_with_prefix(&self.row.id.to_be_bytes());
                let newest = tiers.scan(tier, Table::ByChannel, range, Order::Descending).next().transpose()?;
                let newest = newest.and_then(|(_, value)| IndexEntry::decode(&value));
                self.heard_ms = self.heard_ms.max(newest.map_or(0, |entry| entry.time_ms));
            }
        }
        if self.heard_ms == 0 {
            self.heard_ms = now_ms;
        }
        Ok(self.heard_ms)
    }
}

impl Writer {
    /// Ends a channel that was not heard of for too long.
    pub(crate) fn look_for_silence(
        &mut self,
        name: &ChannelName,
        tier: Tier,
        now_ms: u64,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        channel.silence_due = false;
        let has_row = channel.tallies.iter().any(|tally| tally.has_row);
        let Some(silence_max) = channel.rule.silence_max.filter(|_| has_row && channel.row.end.is_none()) else {
            return Ok(());
        };
        let over_ms = channel.heard_ms(&self.tiers, now_ms)?.saturating_add(silence_max.as_millis() as u64);
        let mut again_ms = (over_ms > now_ms).then_some(over_ms);
        if again_ms.is_none()
            && let Ok(draft) = Draft::ending(name, EndReason::Aborted, None, Publisher::Hub)
            && self.place(draft, commit)?.is_err()
        {
            again_ms = Some(now_ms + AGAIN_AFTER_MS);
        }
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        channel.silence_due = again_ms.is_some();
        if let Some(again_ms) = again_ms {
            Due::Silence(name.clone()).put(again_ms, commit.batch(tier));
        }
        Ok(())
    }
}
