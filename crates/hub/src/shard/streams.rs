//! The streams of a shard, each in a small struct, all in one slab: what is handed around is a number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use super::gather::Gathered;
use super::pass::{NO_RUN, RunKey};
use super::slow::{Slow, Waits};
use super::{Job, Work};
use crate::change::remembered::Opener;
use crate::hub::subscribe::OpenPlace;
use crate::index::StreamKey;
use crate::outlet::{Outlet, Written};
use crate::shard::portion::Portion;
use crate::stats::Counters;
use crate::subscription::Subscription;

/// A stream with what surrounds it.
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) subscription: Subscription,
    pub(super) outlet: Outlet,
    /// The rest of what the outlet had no room for: at most one frame, or the hub's own words.
    rest: Option<Box<Bytes>>,
    /// Whether the outlet had no room the last time; it will tell.
    pub(super) full: bool,
    /// Whether it waits for its turn.
    pub(super) queued: bool,
    /// Whether it was counted as behind.
    is_behind: bool,
    /// What it gets from the pass under way.
    pub(super) run: RunKey,
    /// What it has gathered, if it gathers.
    pub(super) gathered: Option<Arc<Gathered>>,
    /// The slot behind the first of the last group that it was offered, so that an event of several channels comes once.
    pub(super) offered: u64,
    /// When something was sent last, in quarters of a second.
    sent_at: u32,
    /// How fast its reader takes what waits.
    slow: Slow,
    /// When it must end, in quarters of a second; 0 for never.
    ends_at: u32,
    /// Given back with the stream.
    place: Option<Arc<OpenPlace>>,
}

impl Stream {
    pub(super) fn new(
        subscription: Subscription,
        outlet: Outlet,
        place: Option<Arc<OpenPlace>>,
        now: Duration,
    ) -> Self {
        Self {
            key: 0,
            subscription,
            outlet,
            rest: None,
            full: false,
            queued: false,
            is_behind: false,
            run: NO_RUN,
            gathered: None,
            offered: 0,
            sent_at: quarters(now),
            slow: Slow::default(),
            ends_at: 0,
            place,
        }
    }

    /// Who opened it, as [`Reservation::owned_by`](crate::Reservation::owned_by) has it.
    pub(super) fn owner(&self) -> u64 {
        self.place.as_ref().map_or(0, |place| place.owner)
    }

    /// The same, with the number of its shard.
    pub(super) fn opener(&self, shard: usize) -> Opener<'_> {
        let device = self.place.as_ref().and_then(|place| place.device.as_deref());
        Opener { shard, owner: self.owner(), device }
    }

    /// Something to be read for it.
    pub(super) fn job(&self, work: Work) -> Job {
        Job { key: self.key, work, place: self.place.clone() }
    }

    /// Has it wait for its turn, unless it does already.
    pub(super) fn queue_up(&mut self, queue: &mut VecDeque<StreamKey>) {
        if !std::mem::replace(&mut self.queued, true) {
            queue.push_back(self.key);
        }
    }

    /// Counts it as behind, or as behind no longer.
    pub(super) fn count_behind(&mut self, counters: &Counters, is_behind: bool) {
        if std::mem::replace(&mut self.is_behind, is_behind) != is_behind {
            counters.behind(is_behind);
        }
    }

    /// Whether it waits for nothing before it can be sent more.
    pub(super) fn is_clear(&self) -> bool {
        !self.full && self.rest.is_none()
    }

    /// Has it end at a time, unless it ends earlier anyway.
    pub(super) fn end_by(&mut self, at: Option<Duration>) {
        let at = at.map(|at| quarters(at).max(1));
        self.ends_at = [at.unwrap_or(0), self.ends_at].into_iter().filter(|at| *at != 0).min().unwrap_or(0);
    }

    /// When it must end.
    pub(super) fn ends_at(&self) -> Option<Duration> {
        (self.ends_at != 0).then(|| Duration::from_millis(250 * u64::from(self.ends_at)))
    }

    /// Whether it must end now.
    pub(super) fn must_end(&self, now: Duration) -> bool {
        self.ends_at().is_some_and(|at| now >= at)
    }

    /// Whether its reader has been behind for so long, and took less than `rate_min` bytes a second meanwhile.
    pub(super) fn is_slow(&mut self, now: Duration, slow_max: Duration, rate_min: u64) -> bool {
        let waits = match (self.full, self.subscription.is_live()) {
            (true, _) => Waits::ForReader,
            (false, false) => Waits::ForHub,
            (false, true) => Waits::HasAll,
        };
        self.slow.is_slow(waits, now, slow_max, rate_min)
    }

    /// When that is to be asked, if its reader is waited for.
    pub(super) fn judged_at(&self, now: Duration, slow_max: Duration) -> Option<Duration> {
        self.slow.judged_at(now, slow_max).filter(|_| self.full)
    }

    /// Until when it gathers, if it does.
    pub(super) fn gathers_until(&self) -> Option<Duration> {
        self.gathered.as_ref().map(|gathered| gathered.due())
    }

    /// When something was sent last.
    pub(super) fn sent_at(&self) -> Duration {
        Duration::from_millis(250 * u64::from(self.sent_at))
    }

    /// Bytes that wait for room.
    #[cfg(test)]
    pub(super) fn rest_len(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Writes what was left of the last write. `Err` if nobody is there any more.
    pub(super) fn flush(&mut self, now: Duration) -> Result<(), Gone> {
        if self.full {
            return Ok(());
        }
        let Some(mut rest) = self.rest.take() else { return Ok(()) };
        match self.outlet.write(&rest, now) {
            Written::All => self.slow.took(rest.len()),
            Written::Part(count) => {
                self.full = true;
                self.slow.took(count);
                self.slow.is_full(now);
                *rest = rest.slice(count..);
                self.rest = Some(rest);
            }
            Written::Gone => return Err(Gone),
        }
        self.sent_at = quarters(now);
        Ok(())
    }

    /// Writes a portion. Where there is no room for all of it, the stream stands where its reader stopped taking. Returns
    /// whether all was taken; `Err` if nobody is there any more.
    pub(super) fn send(&mut self, portion: &Portion, now: Duration) -> Result<bool, Gone> {
        debug_assert!(self.is_clear(), "nothing may overtake what waits");
        if portion.is_empty() {
            return Ok(true);
        }
        let marked = self.subscription.device().map(|device| portion.marked(device));
        let portion = marked.as_ref().unwrap_or(portion);
        match self.outlet.write(portion.bytes(), now) {
            Written::All => {
                self.slow.took(portion.len());
                self.sent_at = quarters(now);
                Ok(true)
            }
            Written::Part(count) => {
                if count > 0 {
                    self.sent_at = quarters(now);
                }
                let cut = portion.cut(count);
                self.full = true;
                self.slow.took(count);
                self.slow.is_full(now);
                self.rest = (!cut.rest.is_empty()).then(|| Box::new(cut.rest));
                if let Some(mark) = cut.mark {
                    self.subscription.go_back(mark);
                }
                Ok(false)
            }
            Written::Gone => Err(Gone),
        }
    }
}

/// A time as exact as deadlines are, in few bytes; enough for 34 years.
fn quarters(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / 250).unwrap_or(u32::MAX)
}

/// Nobody is there any more.
#[derive(Debug)]
pub(super) struct Gone;

/// The streams of a shard.
#[derive(Default)]
pub(super) struct Streams {
    slab: Slab<Stream>,
    /// How many there have been, which tells a stream from the one that had its place before.
    opened: u32,
}

impl Streams {
    pub(super) fn insert(&mut self, stream: Stream) -> StreamKey {
        self.opened = self.opened.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let key = u64::from(self.opened) << 32 | entry.key() as u64;
        entry.insert(Stream { key, ..stream });
        key
    }

    pub(super) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slab.get_mut(place(key)).filter(|stream| stream.key == key)
    }

    pub(super) fn remove(&mut self, key: StreamKey) -> Option<Stream> {
        self.get_mut(key)?;
        let stream = self.slab.try_remove(place(key));
        // After a crowd has left, its memory is given back.
        if self.slab.capacity() > 1024 && self.slab.len() < self.slab.capacity() / 8 {
            self.slab.shrink_to_fit();
        }
        stream
    }

    /// The stream at a place.
    pub(super) fn key_at(&self, place: usize) -> Option<StreamKey> {
        self.slab.get(place).map(|stream| stream.key)
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slab.iter_mut().map(|(_, stream)| stream)
    }

    /// Those that get what is for everyone.
    pub(super) fn hearing_everyone(&self) -> Vec<StreamKey> {
        let hearing = self.slab.iter().filter(|(_, stream)| stream.subscription.follows().hears_everyone());
        hearing.map(|(_, stream)| stream.key).collect()
    }

    pub(super) fn keys(&self) -> Vec<StreamKey> {
        self.slab.iter().map(|(_, stream)| stream.key).collect()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slab.iter().map(|(_, stream)| stream)
    }
}

/// A stream's place in the slab, by which its socket's events name it.
pub(super) fn place(key: StreamKey) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_small() {
        // Most of what an idle stream costs; see docs/benchmarks.md. Of this, 16 bytes are `mio`'s own checks, which a release
        // has not.
        assert!(size_of::<Stream>() <= 224, "{} bytes", size_of::<Stream>());
    }
}
