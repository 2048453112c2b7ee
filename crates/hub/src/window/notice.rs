//! What the hub itself says on a stream: hello, gap, ping, bye, and the silent frame that moves a cursor. Their names are
//! reserved; each carries the stream's current cursor as its id.

use std::time::Duration;

use bytes::Bytes;
use fanfare_wire::Block;
use serde::Serialize;

use crate::cursor::Cursor;
use crate::follows::Follows;
use crate::history::beginning::LastEventId;
use crate::window::frame::Frame;

/// Why a stream can't have some events any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// Retention removed them before the listener came back.
    Trimmed,
    /// The cursor is older than cursors may be.
    Expired,
    /// They were kept in memory only, and the hub was restarted.
    Restart,
    /// The cursor is not of this log.
    Unknown,
    /// The stream was so slow that retention overtook it.
    Overflow,
    /// They can't be read any more: their place on disk is damaged.
    Damaged,
}

impl GapReason {
    /// All reasons, for counters.
    pub const ALL: [Self; 6] =
        [Self::Trimmed, Self::Expired, Self::Restart, Self::Unknown, Self::Overflow, Self::Damaged];

    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Expired => "expired",
            Self::Restart => "restart",
            Self::Unknown => "unknown",
            Self::Overflow => "overflow",
            Self::Damaged => "damaged",
        }
    }
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The hub is stopping; it or another one will be back.
    Shutdown,
    /// The hub is full.
    Full,
    /// The stream was too slow for a channel whose rule is to close such streams.
    Overflow,
    /// The store could not be read.
    StoreFailed,
    /// A pattern matches too many channels for `since=last:N`.
    PatternTooWide,
    /// The stream was as old as streams may be.
    Age,
    /// The client's address has as many streams, or has opened them as often, as it may.
    Limit,
    /// All that the stream follows has ended, and it was sent all of it.
    Ended,
    /// Its listener opened it anew.
    Replaced,
    /// It was ended for good.
    Deleted,
}

impl ByeReason {
    /// Whether the listener should come back by itself.
    pub fn reconnect(self) -> bool {
        !matches!(self, Self::PatternTooWide | Self::Ended | Self::Replaced | Self::Deleted)
    }
}

/// What the hub says on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice<'a> {
    /// The stream is open.
    Hello { stream: &'a str, epoch: &'a str, resumed: bool, revision: u32, heartbeat: Duration, style: HelloStyle },
    /// What the stream follows since it was changed.
    Subscription { revision: u32, follows: &'a Follows },
    /// Events that can't be had any more.
    Gap { scope: Scope<'a>, reason: GapReason, from: Option<&'a str>, to: &'a str },
    /// A sign of life, for pages that watch for one.
    Ping { time_ms: u64 },
    /// Nothing but the id.
    Cursor,
    /// The stream ends.
    Bye { reason: ByeReason, retry: Option<Duration> },
}

/// How a stream is greeted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HelloStyle {
    /// As event `fanfare.hello`.
    #[default]
    Event,
    /// As a plain message, for pages that only have `onmessage`.
    Message,
    /// Silently: only the id is told.
    None,
}

/// What a gap is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// One channel.
    Channel(&'a str),
    /// Channels of a pattern that can't be named one by one.
    Pattern(&'a str),
}

#[derive(Serialize)]
struct HelloData<'a> {
    stream: &'a str,
    epoch: &'a str,
    resumed: bool,
    revision: u32,
    /// Seconds.
    heartbeat: f64,
}

#[derive(Serialize)]
struct GapData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    reason: GapReason,
    from: Option<&'a str>,
    to: &'a str,
}

#[derive(Serialize)]
struct SubscriptionData<'a> {
    revision: u32,
    channels: Vec<&'a str>,
    patterns: Vec<&'a str>,
}

#[derive(Serialize)]
struct PingData {
    time: u64,
}

#[derive(Serialize)]
struct ByeData {
    reason: ByeReason,
    reconnect: bool,
}

impl Notice<'_> {
    /// The notice on the wire, with the stream's cursor; without one only where the client has none either.
    pub(crate) fn encode(&self, cursor: Option<Cursor>) -> Bytes {
        let id = cursor.map(|cursor| cursor.to_text());
        let (event, data) = match self {
            Self::Hello { style: HelloStyle::None, .. } => (Some("fanfare.hello"), String::new()),
            Self::Hello { stream, epoch, resumed, revision, heartbeat, style } => {
                let name = (*style == HelloStyle::Event).then_some("fanfare.hello");
                let (stream, epoch, resumed, revision) = (*stream, *epoch, *resumed, *revision);
                (name, json(&HelloData { stream, epoch, resumed, revision, heartbeat: heartbeat.as_secs_f64() }))
            }
            Self::Subscription { revision, follows } => {
                let channels = follows.channels().iter().map(|(name, _)| name.as_str()).collect();
                let patterns = follows.patterns().iter().map(|(pattern, _)| pattern.as_str()).collect();
                (Some("fanfare.subscription"), json(&SubscriptionData { revision: *revision, channels, patterns }))
            }
            Self::Gap { scope, reason, from, to } => {
                let (channel, pattern) = match scope {
                    Scope::Channel(name) => (Some(*name), None),
                    Scope::Pattern(pattern) => (None, Some(*pattern)),
                };
                (Some("fanfare.gap"), json(&GapData { channel, pattern, reason: *reason, from: *from, to }))
            }
            Self::Ping { time_ms } => (Some("fanfare.ping"), json(&PingData { time: *time_ms })),
            Self::Cursor => (Some("fanfare.cursor"), String::new()),
            Self::Bye { reason, .. } => {
                (Some("fanfare.bye"), json(&ByeData { reason: *reason, reconnect: reason.reconnect() }))
            }
        };
        let retry = match self {
            Self::Bye { retry, .. } => *retry,
            _ => None,
        };
        Frame::encode(&Block { id: id.as_deref(), event, retry, data: Some(&data), ..Block::default() }).bytes
    }
}

/// A frame that ends a response before there is a stream: tells a bare `EventSource` when to come back, and why. A client
/// that came with an id keeps it.
pub fn refusal(reason: ByeReason, retry: Duration, last_event_id: Option<&str>) -> Bytes {
    Notice::Bye { reason, retry: Some(retry) }.encode(LastEventId::of(last_event_id).kept())
}

fn json(data: &impl Serialize) -> String {
    // Structs of strings and numbers always serialise.
    serde_json::to_string(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    fn text(notice: &Notice<'_>) -> String {
        let cursor = Cursor::at(Position::new(1, 2), 3);
        String::from_utf8(notice.encode(Some(cursor)).to_vec()).unwrap()
    }

    #[test]
    fn notices_have_reserved_names_and_carry_the_cursor() {
        let heartbeat = Duration::from_secs(15);
        let hello = |style| Notice::Hello { stream: "s", epoch: "e", resumed: true, revision: 2, heartbeat, style };
        assert_eq!(
            text(&hello(HelloStyle::Event)),
            "id: 000001-00000003-0000000002\nevent: fanfare.hello\n\
             data: {\"stream\":\"s\",\"epoch\":\"e\",\"resumed\":true,\"revision\":2,\"heartbeat\":15.0}\n\n"
        );
        assert!(!text(&hello(HelloStyle::Message)).contains("event:"));
        assert!(text(&hello(HelloStyle::None)).ends_with("event: fanfare.hello\ndata:\n\n"));
        let gap = Notice::Gap { scope: Scope::Channel("c"), reason: GapReason::Trimmed, from: None, to: "t" };
        assert!(text(&gap).contains("data: {\"channel\":\"c\",\"reason\":\"trimmed\",\"from\":null,\"to\":\"t\"}"));
        let bye = Notice::Bye { reason: ByeReason::Shutdown, retry: Some(Duration::from_secs(4)) };
        assert!(text(&bye).contains("retry: 4000\ndata: {\"reason\":\"shutdown\",\"reconnect\":true}"));
        assert!(text(&Notice::Cursor).ends_with("event: fanfare.cursor\ndata:\n\n"));
    }
}
