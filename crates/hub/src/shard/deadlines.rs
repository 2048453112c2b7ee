//! What is due at a time and not because something happened: heartbeats, cuts for readers that take nothing or too little,
//! the end of streams that are old or whose hub stops. Outside the write path, so it comes for a reader that stopped
//! reading, too.

use std::time::Duration;

use super::streams::Gone;
use super::{Shard, ShardSettings};
use crate::index::StreamKey;
use crate::shard::portion::Mark;
use crate::shard::wheel::TICK;
use crate::stats::{CloseReason, bump};
use crate::window::notice::ByeReason;

impl Shard {
    /// Looks at streams whose deadline has come.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.drain.1 = self.drain.0.saturating_sub(now);
        self.log.recent.forget_before(self.log.window.first());
        for key in self.wheel.due(now) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if let Some(lines) = &mut self.lines {
                // Heartbeats alone are no reason to ask the system something.
                let is_busy = now.saturating_sub(stream.sent_at()) < TICK + stream.subscription.heartbeat() / 4;
                stream.outlet.look(lines, stream.full, is_busy, now);
            }
            if stream.outlet.is_stalled(now, self.settings.stall_max) {
                let is_silent = stream.outlet.is_silent();
                self.close(key, if is_silent { CloseReason::TimedOut } else { CloseReason::Stalled });
                continue;
            }
            if stream.must_end(now) {
                if self.drained {
                    self.end(key, ByeReason::Shutdown, CloseReason::Shutdown);
                } else {
                    self.end(key, ByeReason::Age, CloseReason::Aged);
                }
                continue;
            }
            if stream.is_slow(now, self.settings.slow_max, self.settings.rate_min) {
                self.close(key, CloseReason::Slow);
                continue;
            }
            let heartbeat = stream.subscription.heartbeat();
            let sent_at = stream.sent_at();
            // Nothing was sent for about an interval.
            let quiet = now.saturating_sub(sent_at) + heartbeat / 8 >= heartbeat;
            if quiet && self.beat(key, now).is_err() {
                self.close(key, CloseReason::Left);
                continue;
            }
            let Some(stream) = self.streams.get_mut(key) else { continue };
            // After the last thing that was sent, and in time to cut a reader that takes nothing or too little.
            let jitter = 0.95 + 0.05 * (self.random)();
            let beat = if quiet { now } else { sent_at } + heartbeat.mul_f64(jitter);
            let ShardSettings { stall_max, slow_max, .. } = self.settings;
            let stall = now + stream.outlet.stalled_in(now, stall_max).unwrap_or(stall_max / 2);
            // Who gets behind after this is not judged before.
            let judged = stream.judged_at(now, slow_max).unwrap_or(now + slow_max);
            let end = stream.ends_at().unwrap_or(beat);
            self.wheel.insert(beat.min(stall).min(judged).min(end), key);
        }
    }

    /// Sends a stream a heartbeat, or instead what it has gathered: its interval may be longer than that between
    /// heartbeats. One that is behind is sent something anyway.
    fn beat(&mut self, key: StreamKey, now: Duration) -> Result<(), Gone> {
        let view = self.log.view();
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.gathered.is_some() {
            return self.flush_one(key, &mut None, now);
        }
        if !stream.subscription.is_live() || !stream.is_clear() {
            return Ok(());
        }
        self.portion.clear();
        self.portion.push_words(&stream.subscription.ping(&view));
        if !stream.send(&self.portion, now)? {
            stream.subscription.fall_behind(Mark { next: self.log.slot, sent: self.log.position });
            bump(&self.counters.fell_behind);
            stream.count_behind(&self.counters, true);
        }
        Ok(())
    }
}
