//! What a publisher says: an event's name, data and the options that travel with it. Not yet checked, not yet placed;
//! [`draft`](crate::draft) does the one, the log the other.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

/// The content type of JSON data.
pub const JSON: &str = "application/json";

/// An event to publish.
///
/// ```
/// use fanfare_hub::Event;
///
/// let plain = Event::text("hello");
/// let order = Event::json(&serde_json::json!({"id": 7})).unwrap().named("created");
/// # let _ = (plain, order);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// SSE's `event:`; `None` reaches a page's `onmessage`.
    pub(crate) name: Option<String>,
    /// The payload, UTF-8.
    pub(crate) data: Bytes,
    /// What the data is. JSON is only what says so here.
    pub(crate) content_type: Option<String>,
    /// A reconnection time for browsers, clamped when it is drafted.
    pub(crate) retry: Option<Duration>,
    /// How long the event is worth delivering.
    pub(crate) ttl: Option<Duration>,
    /// Makes publishing this event again harmless.
    pub(crate) idempotency_key: Option<String>,
    /// What it is the value of, in a channel that has keys.
    pub(crate) key: Option<String>,
    /// Whether the key has no value any more.
    pub(crate) is_deleted: bool,
}

impl Event {
    /// An event whose data is this text, or these bytes if they are UTF-8.
    pub fn text(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// An event whose data is this value as JSON.
    ///
    /// # Errors
    ///
    /// When the value can't be written as JSON, for example a map whose keys aren't strings.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::text(serde_json::to_vec(value)?).typed(JSON))
    }

    /// Names the event: SSE's `event:`, the name that a page listens for.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what the data is, as a media type.
    pub fn typed(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Tells browsers how long to wait before they reconnect. Clamped to 500 ms – 10 min.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// Lets the event expire: once it is older than this it is neither delivered from history nor counted as lost.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Makes publishing the event again within ten minutes harmless: the same key with the same content is answered with
    /// the first receipt, the same key with other content is refused.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Makes the event the value of a key: it takes the place of the key's last one.
    pub fn keyed(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// An event that says that a key has no value any more.
    pub fn deletion(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), is_deleted: true, ..Self::default() }
    }
}

impl From<&str> for Event {
    fn from(data: &str) -> Self {
        Self::text(data.to_owned())
    }
}

impl From<String> for Event {
    fn from(data: String) -> Self {
        Self::text(data)
    }
}

/// Whether a media type says that the data is JSON (`application/json` or a `+json` suffix; RFC 6839 section 3.1).
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(JSON) || essence.to_ascii_lowercase().ends_with("+json")
}
