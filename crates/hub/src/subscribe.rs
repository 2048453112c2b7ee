//! Subscribing: from what a listener asks for to an open stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::catchup::LastEventId;
use crate::follows::Follows;
use crate::frame::Form;
use crate::hub::Hub;
use crate::limits::{FOLLOWS_MAX, PATTERNS_MAX};
use crate::notice::HelloStyle;
use crate::outlet::mailbox;
use crate::rule::HEARTBEAT;
use crate::shard_thread::{Command, Inbox};
use crate::stats::bump;
use crate::stream::Stream;
use crate::subscription::{HeartbeatStyle, Style, Subscription};

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Nothing is followed.
    #[error("a stream must follow at least one channel or pattern")]
    Nothing,
    /// Too much is followed.
    #[error("a stream may follow at most {FOLLOWS_MAX} channels and patterns; these are {0}")]
    TooMany(usize),
    /// Too many patterns are followed.
    #[error("a stream may follow at most {PATTERNS_MAX} patterns; these are {0}")]
    TooManyPatterns(usize),
    /// The hub has as many streams as it may have.
    #[error("the hub has as many streams as it may have")]
    Full,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
}

/// What a listener asks for.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    /// What to follow, and from when on.
    pub follows: Follows,
    /// The id that the listener saw last, as it said it.
    pub last_event_id: Option<String>,
    /// How events look.
    pub form: Form,
    /// How the stream is greeted.
    pub hello: HelloStyle,
    /// How heartbeats look.
    pub heartbeat: HeartbeatStyle,
}

impl Hub {
    /// Opens a stream. Its first bytes are there at once.
    ///
    /// # Errors
    ///
    /// When nothing or too much is followed, or the hub is full or stopping.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Stream, SubscribeError> {
        let Subscribe { follows, last_event_id, form, hello, heartbeat } = subscribe;
        if follows.is_empty() {
            return Err(SubscribeError::Nothing);
        }
        if follows.len() > FOLLOWS_MAX {
            return Err(SubscribeError::TooMany(follows.len()));
        }
        if follows.patterns().len() > PATTERNS_MAX {
            return Err(SubscribeError::TooManyPatterns(follows.patterns().len()));
        }
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(SubscribeError::Stopping);
        }
        if self.0.open.fetch_add(1, Ordering::AcqRel) >= self.0.config.streams_max {
            self.0.open.fetch_sub(1, Ordering::AcqRel);
            bump(&self.0.counters.refused_full);
            return Err(SubscribeError::Full);
        }
        let last = match last_event_id.as_deref() {
            None | Some("") => LastEventId::None,
            Some(id) => id.parse().map_or(LastEventId::Foreign, LastEventId::Cursor),
        };
        let stream = format!("{:032x}", rand::random::<u128>());
        let style =
            Style { stream: stream.clone(), form, hello, beat: heartbeat, heartbeat: self.heartbeat_of(&follows) };
        // "Now" is now, and not when somebody gets round to finding out where the stream begins.
        let (head, slot) = self.0.history.window.head();
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        let (outlet, inlet) = mailbox();
        let shard = self.shard_of(key);
        bump(&self.0.counters.opened);
        bump(&self.0.counters.streams);
        shard.send(Command::Open {
            key,
            subscription: Box::new(Subscription::new(Arc::new(follows), style, slot)),
            outlet: Box::new(outlet),
            last,
            head,
            opening: opening(self.jittered_retry()),
        });
        Ok(Stream::new(stream, key, inlet, shard, self.0.open.clone()))
    }

    /// The shard of a stream. There is always at least one.
    fn shard_of(&self, key: u64) -> Arc<Inbox> {
        let at = key as usize % self.0.shards.len().max(1);
        self.0.shards.get(at).map(|shard| shard.inbox.clone()).unwrap_or_default()
    }

    /// The shortest heartbeat of what is followed.
    fn heartbeat_of(&self, follows: &Follows) -> Duration {
        let of_channels = follows.channels().iter().map(|(name, _)| self.0.rules.of(name).heartbeat);
        let of_patterns =
            follows.patterns().iter().filter_map(|(p, _)| self.0.rules.of_pattern(p).map(|rule| rule.heartbeat).min());
        of_channels.chain(of_patterns).min().unwrap_or(HEARTBEAT)
    }

    /// A reconnection time for one stream.
    pub fn jittered_retry(&self) -> Duration {
        let (shortest, longest) = self.0.config.retry;
        shortest + longest.saturating_sub(shortest).mul_f64(rand::random())
    }
}

/// What a stream is sent before its beginning is known: a first byte, for browsers that take a response for open only
/// then, and its reconnection time. No blank line: a block of its own without an id would move the client's cursor to
/// nowhere.
fn opening(retry: Duration) -> Bytes {
    format!(": fanfare\nretry: {}\n", retry.as_millis()).into()
}
