//! How streams end, from either side.

use std::sync::PoisonError;
use std::time::Duration;

use super::Shard;
use super::progress::Progress;
use crate::index::StreamKey;
use crate::limits::RETRY_MAX;
use crate::stats::CloseReason;
use crate::window::notice::ByeReason;

impl Shard {
    /// The reader of a stream went away, or takes nothing.
    pub(crate) fn close(&mut self, key: StreamKey, reason: CloseReason) {
        let Some(mut stream) = self.streams.remove(key) else { return };
        self.forget(key, &stream);
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(key, stream.subscription.follows());
        // Whoever notices first that nobody is there, be it a write or the socket's own word, it's the socket that knows why.
        let is_lost = reason == CloseReason::Left && stream.outlet.has_timed_out();
        let reason = if is_lost { CloseReason::TimedOut } else { reason };
        stream.outlet.end();
        stream.count_behind(&self.counters, false);
        if self.streams.is_empty() {
            self.progress.stands(Progress::NOWHERE);
        }
        self.counters.has(false, stream.subscription.opened_s);
        self.counters.closed(reason);
    }

    /// Ends a stream from the hub's side: it is told why and when to come back.
    pub(super) fn end(&mut self, key: StreamKey, bye: ByeReason, reason: CloseReason) {
        let (shortest, longest) = match bye {
            ByeReason::Age => self.settings.retry,
            // Where its listener comes back all the same, it takes the stream away from whoever has it now.
            ByeReason::Replaced => (RETRY_MAX, RETRY_MAX),
            _ => self.settings.bye_retry,
        };
        // Who leaves early has the longer to wait until there is a hub again.
        let retry = shortest + longest.saturating_sub(shortest).mul_f64((self.random)()) + self.drain.1;
        self.flush_last(key);
        let view = self.log.view();
        // A stream whose outlet is full ends without a bye: it must not be sent out of turn.
        if let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.is_clear()) {
            let bye = stream.subscription.bye(bye, retry, &view);
            stream.outlet.write(&bye, Duration::ZERO);
        }
        self.close(key, reason);
    }

    /// Ends all streams because the hub stops, spread over `window`.
    pub(crate) fn drain(&mut self, now: Duration, window: Duration) {
        self.drained = true;
        self.drain = (now + window, window);
        for key in self.streams.keys() {
            if window.is_zero() {
                self.end(key, ByeReason::Shutdown, CloseReason::Shutdown);
            } else if let Some(stream) = self.streams.get_mut(key) {
                let at = now + window.mul_f64((self.random)());
                stream.end_by(Some(at));
                self.wheel.insert(at, key);
            }
        }
    }
}
