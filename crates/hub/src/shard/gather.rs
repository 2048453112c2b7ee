//! Gathering: what live streams get of channels whose rule has a flush interval leaves when that is over, in one write.
//!
//! A stream that gathers has its place in the window, before what it gathers, as one that is behind; only that its shard
//! keeps in order what it is to get, so that nobody has to look for it. Whoever needs the stream meanwhile may let go of
//! that: the stream then goes on from its place, and loses nothing. It counts neither as behind nor as slow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::pass::{Framed, NO_RUN, Passed, RunKey};
use super::streams::{Gone, Stream, Streams};
use crate::index::StreamKey;
use crate::limits::GATHERED_BYTES_MAX;
use crate::shard::portion::{Mark, Portion};
use crate::stats::{CloseReason, bump};

/// How exact ends of intervals are. They are rounded up, so that streams which began to gather at about the same time are
/// written to together.
const TICK: Duration = Duration::from_millis(10);

/// What some streams have gathered: of one pass, behind what they had gathered before. Streams that gather the same share
/// it.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Tells it from all others of its shard.
    number: u64,
    before: Option<Arc<Gathered>>,
    frames: Box<[Framed]>,
    /// About how much all of it weighs.
    bytes: usize,
    /// When it leaves.
    due: Duration,
}

impl Gathered {
    /// Puts all of it together, oldest first.
    pub(super) fn put_together(&self, portion: &mut Portion, time_ms: u64) {
        let mut chain = Vec::new();
        let mut next = Some(self);
        while let Some(gathered) = next {
            chain.push(gathered);
            next = gathered.before.as_deref();
        }
        chain.iter().rev().flat_map(|gathered| &gathered.frames).for_each(|frame| frame.push(portion, time_ms));
    }

    /// Tells it from all others of its shard.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// When it leaves.
    pub(super) fn due(&self) -> Duration {
        self.due
    }
}

impl Drop for Gathered {
    /// One after the other: a chain may be long, and a stack is not.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(gathered) = next {
            next = Arc::into_inner(gathered).and_then(|mut gathered| gathered.before.take());
        }
    }
}

/// What a shard knows of its streams that gather.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Who is written to when, if it still gathers then. Whoever was sent earlier what it had gathered is here in vain.
    due: BTreeMap<Duration, Vec<StreamKey>>,
    /// How many these are.
    entries: usize,
    /// Counts what was gathered.
    count: u64,
    /// What was gathered last in the pass under way, and of what: the run, and the number of what was there before.
    last: Option<(RunKey, u64, Arc<Gathered>)>,
}

impl Gathering {
    /// When the next ones are written to.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first_key_value().map(|(due, _)| *due)
    }

    /// Has a stream written to when its interval is over.
    fn insert(&mut self, due: Duration, key: StreamKey, streams: &mut Streams) {
        if self.entries >= 2 * streams.len() + 64 {
            self.forget(streams);
        }
        self.entries += 1;
        self.due.entry(due).or_default().push(key);
    }

    /// Takes those out who are here in vain. What is left is one entry for each stream that gathers, so that between two
    /// such walks there are as many new entries as streams, and there are never more than two for each.
    fn forget(&mut self, streams: &mut Streams) {
        self.due.retain(|due, keys| {
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|key| streams.get_mut(*key).is_some_and(|stream| stream.gathers_until() == Some(*due)));
            keys.shrink_to_fit();
            !keys.is_empty()
        });
        self.entries = self.due.values().map(Vec::len).sum();
    }

    /// Takes out some of those whose interval is over; nothing where there is nobody left.
    fn take_due(&mut self, now: Duration) -> Option<Vec<StreamKey>> {
        let first = self.due.first_entry().filter(|entry| *entry.key() <= now)?;
        let keys = first.remove();
        self.entries -= keys.len();
        Some(keys)
    }

    /// A pass is over: its runs mean nothing any more.
    pub(super) fn end_pass(&mut self) {
        self.last = None;
    }

    /// What streams have that had `before` and get this run, whose interval is `flush`.
    fn link(
        &mut self,
        before: Option<Arc<Gathered>>,
        run: RunKey,
        frames: impl FnOnce() -> Box<[Framed]>,
        (now, flush): (Duration, Duration),
    ) -> Arc<Gathered> {
        let number = before.as_ref().map_or(0, |before| before.number);
        if let Some((of_run, of, gathered)) = &self.last
            && (*of_run, *of) == (run, number)
        {
            return gathered.clone();
        }
        self.count += 1;
        let frames = frames();
        let (bytes, due) = before.as_ref().map_or((0, Duration::MAX), |before| (before.bytes, before.due));
        let bytes = bytes + frames.iter().map(Framed::weight).sum::<usize>();
        let end = if bytes > GATHERED_BYTES_MAX { now } else { rounded_up(now + flush) };
        let gathered = Arc::new(Gathered { number: self.count, before, frames, bytes, due: due.min(end) });
        self.last = Some((run, number, gathered.clone()));
        gathered
    }
}

fn rounded_up(time: Duration) -> Duration {
    let ticks = (time.as_nanos().div_ceil(TICK.as_nanos())) as u64;
    Duration::from_millis(ticks * TICK.as_millis() as u64)
}

impl Shard {
    /// Sends a live stream what it gets from a pass, or has it gather that. The portion holds the run `together`.
    pub(super) fn deliver(
        &mut self,
        key: StreamKey,
        passed: &Passed<'_>,
        together: &mut RunKey,
        now: Duration,
    ) -> Result<(), Gone> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let run = std::mem::replace(&mut stream.run, NO_RUN);
        if let Some(flush) = self.pass.flush_of(run) {
            self.gather(key, run, flush, passed, now);
            return Ok(());
        }
        self.give_way.wrote();
        let gathered = stream.gathered.take();
        if gathered.is_some() || run != *together {
            self.portion.clear();
            if let Some(gathered) = &gathered {
                gathered.put_together(&mut self.portion, self.log.time_ms);
            }
            self.pass.put_together(run, passed, &mut self.portion, self.log.time_ms);
            *together = if gathered.is_some() { NO_RUN } else { run };
        }
        self.write_all(key, now)?;
        if gathered.is_some() {
            self.ask_for_end(key);
        }
        Ok(())
    }

    /// Has a stream gather what it gets from a pass, for `flush` at most.
    pub(super) fn gather(&mut self, key: StreamKey, run: RunKey, flush: Duration, passed: &Passed<'_>, now: Duration) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let before = stream.gathered.take();
        let due_before = before.as_ref().map(|before| before.due);
        if before.is_none() {
            stream.subscription.fall_behind(Mark { next: passed.slot, sent: passed.position });
        }
        let frames = || self.pass.frames(run, passed);
        let gathered = self.gathering.link(before, run, frames, (now, flush));
        if due_before.is_none_or(|before| gathered.due < before) {
            let due = gathered.due;
            stream.gathered = Some(gathered);
            self.gathering.insert(due, key, &mut self.streams);
        } else {
            stream.gathered = Some(gathered);
        }
    }

    /// Writes to the streams whose interval is over.
    pub(crate) fn flush(&mut self, now: Duration) {
        let mut together = None;
        while let Some(keys) = self.gathering.take_due(now) {
            for key in keys {
                let is_due = |stream: &mut Stream| stream.gathers_until().is_some_and(|due| due <= now);
                if self.streams.get_mut(key).is_some_and(is_due) && self.flush_one(key, &mut together, now).is_err() {
                    self.close(key, CloseReason::Left);
                }
            }
        }
    }

    /// Writes what a stream has gathered, if it has. `together` tells what the portion holds.
    pub(super) fn flush_one(&mut self, key: StreamKey, together: &mut Option<u64>, now: Duration) -> Result<(), Gone> {
        let Some(gathered) = self.streams.get_mut(key).and_then(|stream| stream.gathered.take()) else { return Ok(()) };
        self.give_way.wrote();
        bump(&self.counters.flushed);
        if together.replace(gathered.number) != Some(gathered.number) {
            self.portion.clear();
            gathered.put_together(&mut self.portion, self.log.time_ms);
        }
        self.write_all(key, now)?;
        self.ask_for_end(key);
        Ok(())
    }

    /// Writes the portion, which is all that a stream has yet to get: it is where its shard is, if there is room for it.
    pub(super) fn write_all(&mut self, key: StreamKey, now: Duration) -> Result<(), Gone> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.send(&self.portion, now)? {
            stream.subscription.was_sent(&self.portion, self.log.position);
        } else {
            bump(&self.counters.fell_behind);
            stream.count_behind(&self.counters, true);
        }
        Ok(())
    }

    /// Writes what a stream has gathered, which is about to end.
    pub(super) fn flush_last(&mut self, key: StreamKey) {
        let Some(gathered) = self.streams.get_mut(key).and_then(|stream| stream.gathered.take()) else { return };
        self.portion.clear();
        gathered.put_together(&mut self.portion, self.log.time_ms);
        // Whether anybody is there shows when it is closed.
        let _ = self.write_all(key, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests;
