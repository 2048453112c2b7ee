//! Streams whose channels have all ended: they are told so, and that they need not come back. Nothing is read here; where a
//! look into the store is needed, reader threads do it.

use std::sync::{Arc, PoisonError};

use super::{Shard, Work};
use crate::ending::witness::{Look, Verdict};
use crate::index::StreamKey;
use crate::index::followers::Followers;
use crate::stats::CloseReason;
use crate::window::entry::Entry;
use crate::window::notice::ByeReason;

impl Shard {
    /// A stream is level with the log. Where it isn't known whether its channels have ended, somebody looks.
    pub(super) fn ask_for_end(&mut self, key: StreamKey) {
        if !self.endings.any() {
            return;
        }
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.subscription.is_live()) else { return };
        if let Some(from) = stream.subscription.witness.ask() {
            let follows = stream.subscription.follows().clone();
            self.jobs.push(stream.job(Work::Look(follows, from)));
        }
    }

    /// Live streams were sent these entries. Those of one channel are at their end if that ended; of others somebody looks,
    /// or once more, if somebody looks already.
    pub(super) fn hear_ends(&mut self, entries: &[Arc<Entry>]) {
        let mut heard = Vec::new();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_deed()) {
            let later = entries.get(at + 1..).unwrap_or_default();
            let is_last = entry.is_end() && !later.iter().any(|later| later.record.channels == entry.record.channels);
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            for name in &entry.record.channels {
                heard.extend(index.followers(name).flat_map(Followers::iter).map(|key| (key, entry, is_last)));
            }
        }
        for (key, entry, is_last) in heard {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let subscription = &mut stream.subscription;
            let follows = subscription.follows().clone();
            if is_last && subscription.is_live() && !subscription.witness.is_endless() && follows.channels().len() == 1
            {
                self.end(key, ByeReason::Ended, CloseReason::Ended);
                continue;
            }
            // Also of one that has just fallen behind: the rest of the very frame may be all that waits.
            subscription.witness.hears(&follows, &entry.record);
            self.ask_for_end(key);
        }
    }

    /// Takes what somebody saw who looked at a stream's channels.
    pub(super) fn looked(&mut self, key: StreamKey, look: Option<Look>) {
        let view = self.log.view();
        let Some(stream) = self.streams.get_mut(key) else { return };
        let subscription = &mut stream.subscription;
        let cursor = subscription.cursor(&view).position;
        // Behind, it looks again when it is level.
        let look = look.filter(|look| subscription.is_live() || matches!(look, Look::Open(_)));
        match subscription.witness.learn(look, cursor) {
            Verdict::Wait => {}
            Verdict::Ask => self.ask_for_end(key),
            Verdict::Over => self.end(key, ByeReason::Ended, CloseReason::Ended),
        }
    }
}
