//! An event on its way to the log: checked once, here, whatever door it came by. Behind this room everything is valid.
//!
//! Who may publish to which channel is not asked here; only that clients leave the hub's own channels alone.

use std::time::Duration;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::ending::Deed;
use crate::event::{Event, is_json};
use crate::limits::{
    EVENT_BYTES_MAX, EVENT_CHANNELS_MAX, EVENT_NAME_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX, RETRY_MAX,
    RETRY_MIN,
};
use crate::pattern::Pattern;
use crate::stream_id::StreamId;
use crate::user::UserName;

/// Event names that would reach a page's own `onopen` and `onerror` (HTML, section 9.2.2).
const NAMES_OF_EVENT_SOURCE: [&str; 2] = ["error", "open"];

/// What the hub's own events begin with.
pub const HUB_PREFIX: &str = "fanfare.";

/// Who publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publisher {
    /// Somebody who didn't say who they are.
    #[default]
    Anyone,
    /// An authenticated client; idempotency keys are its own.
    Named(String),
    /// The hub itself, the only one that publishes to channels beginning with `@`.
    Hub,
}

/// A valid event with its channels and its publisher.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Each once; the first is the canonical one. None only where a pattern met none.
    pub(crate) channels: Vec<ChannelName>,
    /// The pattern that the channels were found by, where the publisher named none.
    pub(crate) pattern: Option<Pattern>,
    /// Checked; `retry` is clamped.
    pub(crate) event: Event,
    /// Who it came from.
    pub(crate) publisher: Publisher,
    /// The user it isn't for, now and on replay.
    pub(crate) except_user: Option<UserName>,
    /// The stream it isn't for, as long as that is open: most likely the publisher's own.
    pub(crate) except_stream: Option<StreamId>,
    /// Whether it is a message to a user: its key is its id, which the log gives.
    pub(crate) is_message: bool,
    /// Which of a channel's producers publishes, see the channel's fence.
    pub(crate) fence: Option<u64>,
    /// What it does to its channel.
    pub(crate) deed: Deed,
}

/// Why an event can't be published. Each names the field that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// No channel was named.
    #[error("`channels` is empty; an event needs at least one channel")]
    NoChannel,
    /// Too many channels were named.
    #[error("`channels` has {0} entries; at most {1} are allowed")]
    TooManyChannels(usize, usize),
    /// The channel is one of the hub's own.
    #[error("`channel` {0:?} begins with `@`; those channels are the hub's own and can't be published to")]
    ReservedChannel(ChannelName),
    /// The event's name can't be carried.
    #[error("`event` {0}")]
    Name(EventNameError),
    /// The data is too large.
    #[error("`data` has {0} bytes; at most {EVENT_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The data isn't UTF-8, which an event stream must be.
    #[error("`data` is not valid UTF-8 (byte {0}); event streams carry text only")]
    NotUtf8(usize),
    /// The data says that it is JSON and isn't.
    #[error("`data` is not valid JSON: {0}")]
    NotJson(String),
    /// The time to live is nought.
    #[error("`ttl` is 0; an event must live for a while, or leave `ttl` out")]
    NoTtl,
    /// The idempotency key can't be kept.
    #[error("`idempotency_key` must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes; it has {0}")]
    IdempotencyKey(usize),
    /// The key can't be kept.
    #[error("`key` must have 1 to {KEY_BYTES_MAX} bytes; it has {0}")]
    Key(usize),
    /// The key can't be carried.
    #[error("`key` has a control character (U+{0:04X}); a key is one line of text")]
    KeyControl(u32),
    /// Keys are a channel's own.
    #[error("`key` is given with {0} channels; an event with a key has one channel")]
    KeyOfMany(usize),
    /// Keys are a channel's own, and the publisher named none.
    #[error("`key` is given with `to`; an event with a key has a channel of its own")]
    KeyOfTo,
    /// The key of a message is the hub's to give.
    #[error("`key` is given for a message to a user; its key is its id, which the hub gives")]
    KeyOfMessage,
    /// Values are for all who follow their channel.
    #[error(
        "`key` is given with `except.user`; that user would keep the key's older value, so a value is for all users"
    )]
    KeyExceptUser,
}

/// What is wrong with an event's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventNameError {
    /// The name has no characters.
    #[error("is empty; leave it out for a plain message")]
    Empty,
    /// The name has too many bytes.
    #[error("is {0} bytes long; at most {EVENT_NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The name has a control character.
    #[error("has a control character (U+{0:04X}); a name is one line of text")]
    Control(u32),
    /// The name would reach a page's `onopen` or `onerror`.
    #[error("is {0:?}, which browsers use for the connection itself; pick another name")]
    OfEventSource(String),
    /// The name is one of the hub's own.
    #[error("begins with {HUB_PREFIX:?}; those names are the hub's own")]
    OfHub,
}

impl Draft {
    /// Checks an event for these channels.
    ///
    /// # Errors
    ///
    /// When a channel, the name, the data or an option is not as it must be; the error names it.
    pub fn new(channels: Vec<ChannelName>, event: Event, publisher: Publisher) -> Result<Self, DraftError> {
        Self::within(EVENT_CHANNELS_MAX, channels, event, publisher)
    }

    /// Checks an event for at most so many channels.
    pub(crate) fn within(
        channels_max: usize,
        channels: Vec<ChannelName>,
        event: Event,
        publisher: Publisher,
    ) -> Result<Self, DraftError> {
        let channels = distinct(channels);
        if channels.is_empty() {
            return Err(DraftError::NoChannel);
        }
        if channels.len() > channels_max {
            return Err(DraftError::TooManyChannels(channels.len(), channels_max));
        }
        if publisher != Publisher::Hub
            && let Some(reserved) = channels.iter().find(|channel| channel.is_reserved())
        {
            return Err(DraftError::ReservedChannel(reserved.clone()));
        }
        Self::of(channels, event, publisher)
    }

    /// Checks an event for channels that are known to be good.
    pub(crate) fn of(channels: Vec<ChannelName>, mut event: Event, publisher: Publisher) -> Result<Self, DraftError> {
        if let Some(name) = &event.name {
            check_event_name(name).map_err(DraftError::Name)?;
        }
        check_data(&event.data, event.content_type.as_deref())?;
        if let Some(key) = &event.key {
            check_key(key, channels.len())?;
        }
        if event.ttl == Some(Duration::ZERO) {
            return Err(DraftError::NoTtl);
        }
        if let Some(key) = &event.idempotency_key
            && (key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX)
        {
            return Err(DraftError::IdempotencyKey(key.len()));
        }
        event.retry = event.retry.map(|retry| retry.clamp(RETRY_MIN, RETRY_MAX));
        Ok(Self {
            channels,
            pattern: None,
            event,
            publisher,
            except_user: None,
            except_stream: None,
            is_message: false,
            fence: None,
            deed: Deed::None,
        })
    }

    /// Keeps the event from a user: live, and on replay.
    ///
    /// # Errors
    ///
    /// When the event has a key: of a value that takes another one's place the user would have neither, or the old one.
    pub fn except_user(mut self, user: UserName) -> Result<Self, DraftError> {
        if self.event.key.is_some() {
            return Err(DraftError::KeyExceptUser);
        }
        self.except_user = Some(user);
        Ok(self)
    }

    /// Keeps the event from a stream that is open. On replay it comes. A value may be kept from the stream of who changed it.
    pub fn except_stream(mut self, stream: StreamId) -> Self {
        self.except_stream = Some(stream);
        self
    }

    /// Says which of its channels' producers publishes it; see [`AppendError`](crate::AppendError).
    pub fn fenced(mut self, fence: u64) -> Self {
        self.fence = Some(fence);
        self
    }

    /// How many channels it is for; of those of a pattern, not all may take it.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// About how much memory the draft holds while it waits, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let names: usize = self.channels.iter().map(|name| name.as_str().len() + 64).sum();
        let Event { name, content_type, key, .. } = &self.event;
        let texts = [name.as_deref(), content_type.as_deref(), key.as_deref()];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        let user = self.except_user.as_ref().map_or(0, |user| user.as_str().len());
        self.event.data.len() + names + texts + user + 256
    }
}

/// The channels, each once, in their order.
fn distinct(channels: Vec<ChannelName>) -> Vec<ChannelName> {
    let mut seen = std::collections::HashSet::with_capacity(channels.len());
    channels.into_iter().filter(|channel| seen.insert(channel.clone())).collect()
}

/// Checks a name that a publisher gave an event.
///
/// # Errors
///
/// When an event stream can't carry the name, or pages would mistake it for something else.
pub fn check_event_name(name: &str) -> Result<(), EventNameError> {
    if name.is_empty() {
        return Err(EventNameError::Empty);
    }
    if name.len() > EVENT_NAME_BYTES_MAX {
        return Err(EventNameError::TooLong(name.len()));
    }
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        return Err(EventNameError::Control(u32::from(c)));
    }
    if NAMES_OF_EVENT_SOURCE.contains(&name) {
        return Err(EventNameError::OfEventSource(name.to_owned()));
    }
    if name.starts_with(HUB_PREFIX) {
        return Err(EventNameError::OfHub);
    }
    Ok(())
}

/// Checks a key of an event of so many channels.
fn check_key(key: &str, channels: usize) -> Result<(), DraftError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(DraftError::Key(key.len()));
    }
    if let Some(c) = key.chars().find(|c| c.is_control()) {
        return Err(DraftError::KeyControl(u32::from(c)));
    }
    if channels > 1 {
        return Err(DraftError::KeyOfMany(channels));
    }
    Ok(())
}

/// Checks that the data is text, and JSON where it says so.
fn check_data(data: &Bytes, content_type: Option<&str>) -> Result<(), DraftError> {
    if data.len() > EVENT_BYTES_MAX {
        return Err(DraftError::TooLarge(data.len()));
    }
    std::str::from_utf8(data).map_err(|e| DraftError::NotUtf8(e.valid_up_to()))?;
    if content_type.is_some_and(is_json) {
        crate::json::check(data).map_err(|e| DraftError::NotJson(e.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(event: Event) -> Result<Draft, DraftError> {
        Draft::new(vec![ChannelName::new("news").unwrap()], event, Publisher::Anyone)
    }

    #[test]
    fn bad_fields_are_refused_by_name() {
        let refusal = |event: Event| draft(event).unwrap_err().to_string();
        assert!(refusal(Event::text("x").named("")).starts_with("`event` is empty"));
        assert!(refusal(Event::text("x").named("a\nb")).contains("U+000A"));
        assert!(refusal(Event::text("x").named("error")).contains("browsers use"));
        assert!(refusal(Event::text("x").named("fanfare.gap")).contains("hub's own"));
        assert!(refusal(Event::text(vec![b'a', 0xff])).contains("byte 1"));
        assert!(refusal(Event::text(vec![b'a'; EVENT_BYTES_MAX + 1])).contains("`data` has 1048577 bytes"));
        assert!(refusal(Event::text("{").typed("application/json")).contains("not valid JSON"));
        assert!(refusal(Event::text("x").ttl(Duration::ZERO)).contains("`ttl`"));
        assert!(refusal(Event::text("x").idempotency_key("")).contains("`idempotency_key`"));
        assert!(refusal(Event::text("x").keyed("")).starts_with("`key` must have"));
        assert!(refusal(Event::text("x").keyed("a\0")).contains("U+0000"));
        assert!(draft(Event::text("{").typed("text/plain")).is_ok());
    }

    #[test]
    fn values_are_kept_from_streams_and_from_no_user() {
        let ada = || UserName::new("ada").unwrap();
        assert!(draft(Event::text("x")).unwrap().except_user(ada()).is_ok());
        for event in [Event::text("x").keyed("k"), Event::deletion("k")] {
            let draft = draft(event).unwrap().except_stream(StreamId(1));
            let refusal = draft.except_user(ada()).unwrap_err().to_string();
            assert!(refusal.starts_with("`key` is given with `except.user`"), "{refusal}");
        }
    }

    #[test]
    fn deep_json_is_refused_not_followed() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(matches!(draft(Event::text(deep).typed("application/json")), Err(DraftError::NotJson(_))));
    }

    #[test]
    fn the_hubs_channels_are_the_hubs_alone() {
        let channel = || vec![ChannelName::new("@system/metrics").unwrap()];
        assert!(matches!(
            Draft::new(channel(), Event::text("x"), Publisher::Anyone),
            Err(DraftError::ReservedChannel(_))
        ));
        assert!(Draft::new(channel(), Event::text("x"), Publisher::Hub).is_ok());
    }

    #[test]
    fn retry_is_clamped_and_channels_are_counted_once() {
        let name = |n: &str| ChannelName::new(n).unwrap();
        let event = Event::text("x").retry(Duration::from_millis(1));
        let draft = Draft::new(vec![name("a"), name("b"), name("a")], event, Publisher::Anyone).unwrap();
        assert_eq!(draft.event.retry, Some(RETRY_MIN));
        assert_eq!(draft.channels, [name("a"), name("b")]);
    }
}
