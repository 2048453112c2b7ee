//! When and why a server closes streams of several kinds, as it tells itself: a channel of its own shows how many of a kind
//! are still open, and the server counts what it closed by reason. Clients can't see it: who never reads, reads slowly or
//! has vanished doesn't notice the end.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::load::ask::ask;
use crate::load::pace::Clock;

/// How often the server is asked. Times are as exact as that.
const LOOK: Duration = Duration::from_millis(500);

/// What became of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Streams of the kind.
    pub streams: u64,
    /// Those that the server closed, by its reason; `unclear` where others were closed at the same time for another.
    pub closed: BTreeMap<String, u64>,
    /// When the first was closed, from when they were all there and as bad as they are.
    pub first_s: Option<f64>,
    /// When the last was.
    pub last_s: Option<f64>,
}

/// What the server says of itself.
#[derive(Debug, Default, Deserialize)]
struct Stats {
    streams_closed: BTreeMap<String, u64>,
}

/// What it says of a channel.
#[derive(Debug, Default, Deserialize)]
struct Channel {
    streams: u64,
}

/// Asks a server every so often, on a thread of its own.
#[derive(Debug)]
pub(super) struct Closings {
    /// Dropped to end the thread.
    end: SyncSender<()>,
    thread: JoinHandle<Result<BTreeMap<String, Closed>, MeasureError>>,
}

/// What is known so far.
#[derive(Default)]
struct Ledger {
    kinds: BTreeMap<String, Closed>,
    /// From when on the time of each counts.
    from: BTreeMap<String, Duration>,
    /// Streams of a kind that are gone, and no reason is known yet.
    gone: BTreeMap<String, u64>,
    /// Streams that were closed for a reason, and no kind is known yet.
    reasons: BTreeMap<String, u64>,
}

impl Closings {
    /// Watches kinds, each by a channel of its name that only its streams follow; all are open. With each, how many they are
    /// and from when on their time counts.
    pub(super) fn watch(address: &str, kinds: &[(&str, usize, Duration)]) -> Result<Self, MeasureError> {
        let (address, clock) = (address.to_owned(), Clock::default());
        let mut ledger = Ledger::new(kinds);
        let mut before = stats(&address)?;
        let (end, ended) = sync_channel::<()>(0);
        let watch = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let names: Vec<String> = ledger.kinds.keys().cloned().collect();
                for kind in names {
                    let channel: Channel = ask(&address, &format!("/channels/{kind}"))?.unwrap_or_default();
                    ledger.is_open(&kind, channel.streams, clock.now());
                }
                let now = stats(&address)?;
                for (reason, count) in &now {
                    ledger.closed(reason, count.saturating_sub(before.get(reason).copied().unwrap_or_default()));
                }
                before = now;
                ledger.settle();
            }
            Ok(ledger.finish())
        };
        Ok(Self { end, thread: thread::Builder::new().name("watch closings".into()).spawn(watch)? })
    }

    /// What became of each kind.
    pub(super) fn finish(self) -> Result<BTreeMap<String, Closed>, MeasureError> {
        drop(self.end);
        self.thread.join().map_err(|_| MeasureError::Thread)?
    }
}

fn stats(address: &str) -> Result<BTreeMap<String, u64>, MeasureError> {
    let stats: Stats = ask(address, "/stats")?.unwrap_or_default();
    Ok(stats.streams_closed)
}

impl Ledger {
    fn new(kinds: &[(&str, usize, Duration)]) -> Self {
        let mut ledger = Self::default();
        for (kind, count, from) in kinds {
            let closed = Closed { streams: *count as u64, ..Closed::default() };
            ledger.kinds.insert((*kind).to_owned(), closed);
            ledger.from.insert((*kind).to_owned(), *from);
        }
        ledger
    }

    /// So many of a kind are still open.
    fn is_open(&mut self, kind: &str, open: u64, now: Duration) {
        let Some(closed) = self.kinds.get_mut(kind) else { return };
        let gone = self.gone.entry(kind.to_owned()).or_default();
        let known = closed.closed.values().sum::<u64>() + *gone;
        let new = closed.streams.saturating_sub(open).saturating_sub(known);
        if new > 0 {
            *gone += new;
            let after = now.saturating_sub(self.from.get(kind).copied().unwrap_or_default()).as_secs_f64();
            closed.first_s.get_or_insert(after);
            closed.last_s = Some(after);
        }
    }

    /// So many were closed for a reason.
    fn closed(&mut self, reason: &str, count: u64) {
        if count > 0 {
            *self.reasons.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// Where streams of one kind are gone and there is one reason, it is theirs. Between two looks some may be in one of the
    /// two figures only; they wait for the next.
    fn settle(&mut self) {
        self.gone.retain(|_, count| *count > 0);
        self.reasons.retain(|_, count| *count > 0);
        if self.gone.len() != 1 || self.reasons.len() != 1 {
            return;
        }
        let (Some((kind, gone)), Some((reason, closed))) =
            (self.gone.iter_mut().next(), self.reasons.iter_mut().next())
        else {
            return;
        };
        let both = (*gone).min(*closed);
        (*gone, *closed) = (*gone - both, *closed - both);
        if let Some(of_kind) = self.kinds.get_mut(kind) {
            *of_kind.closed.entry(reason.clone()).or_default() += both;
        }
    }

    fn finish(mut self) -> BTreeMap<String, Closed> {
        self.settle();
        for (kind, gone) in self.gone.into_iter().filter(|(_, gone)| *gone > 0) {
            if let Some(of_kind) = self.kinds.get_mut(&kind) {
                *of_kind.closed.entry("unclear".to_owned()).or_default() += gone;
            }
        }
        self.kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_reason_belongs_to_the_kind_that_is_gone_since() {
        let mut ledger = Ledger::new(&[("slow", 3, at(0)), ("never", 2, at(3))]);
        ledger.is_open("never", 1, at(25));
        ledger.settle();
        // The reason of the first is told a look later, together with that of the second.
        ledger.is_open("never", 0, at(26));
        ledger.closed("stalled", 2);
        ledger.settle();
        ledger.is_open("slow", 0, at(60));
        ledger.closed("slow", 3);
        ledger.settle();
        let kinds = ledger.finish();
        let closed = |reason: &str, count| [(reason.to_owned(), count)].into();
        let never = Closed { streams: 2, closed: closed("stalled", 2), first_s: Some(22.0), last_s: Some(23.0) };
        let slow = Closed { streams: 3, closed: closed("slow", 3), first_s: Some(60.0), last_s: Some(60.0) };
        assert_eq!((&kinds["never"], &kinds["slow"]), (&never, &slow));
    }

    #[test]
    fn what_came_together_is_unclear() {
        let mut ledger = Ledger::new(&[("slow", 1, at(0)), ("never", 1, at(0))]);
        ledger.is_open("never", 0, at(25));
        ledger.is_open("slow", 0, at(25));
        ledger.closed("stalled", 1);
        ledger.closed("slow", 1);
        ledger.settle();
        assert!(ledger.finish().values().all(|kind| kind.closed["unclear"] == 1));
    }
}
