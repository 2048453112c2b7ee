//! What the door says when it says no: one [`ApiError`], in the form of RFC 9457 (`application/problem+json`).
//!
//! Each refusal has a stable [`Code`], which clients may rely on, and a detail for people, which they may not. The
//! conversions from the engine's errors live in the route files that meet them; nothing here knows the engine.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::admission::rates::Standing;

/// Lists the codes: doc, variant, code, status and title of each.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident: $code:literal, $status:ident, $title:literal;)*) => {
        /// Why a request was refused. Stable: a code never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All codes, for counters and reference pages.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it stands in the answer.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// A few words that are the same for every answer with this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// A parameter, header or field is missing, unknown or not as it must be; the detail names it.
    Malformed: "malformed", BAD_REQUEST, "The request is malformed";
    /// A channel's name or a pattern is not one.
    BadChannel: "bad_channel", BAD_REQUEST, "That is no channel name";
    /// An event's name can't be carried by an event stream, or means something else to browsers.
    BadEventName: "bad_event_name", BAD_REQUEST, "That is no event name";
    /// The body, or data that says it is JSON, is not.
    BadJson: "bad_json", BAD_REQUEST, "That is not JSON";
    /// Text that must be UTF-8 is not.
    NotUtf8: "not_utf8", BAD_REQUEST, "That is not UTF-8";
    /// An id that this hub's log never gave.
    UnknownId: "unknown_id", BAD_REQUEST, "That id is not of this hub";
    /// A pattern that was published to matches more channels than one event may have.
    TooManyChannels: "too_many_channels", CONFLICT, "The pattern matches too many channels";
    /// The channel is one of the hub's own (`@…`).
    ReservedChannel: "reserved_channel", FORBIDDEN, "That channel is the hub's own";
    /// The request comes from a web page of another site.
    ForeignOrigin: "foreign_origin", FORBIDDEN, "Pages of other sites may not do this";
    /// There is nothing at this path.
    NotFound: "not_found", NOT_FOUND, "There is nothing here";
    /// No stream with this id is open or remembered.
    UnknownStream: "unknown_stream", NOT_FOUND, "There is no such stream";
    /// The path exists, but not for this method; `Allow` names those that it has.
    MethodNotAllowed: "method_not_allowed", METHOD_NOT_ALLOWED, "Not with this method";
    /// The client took too long to send its request.
    Timeout: "timeout", REQUEST_TIMEOUT, "The request took too long";
    /// The idempotency key was used for another event.
    Conflict: "conflict", CONFLICT, "The idempotency key is taken";
    /// The channel has ended; it takes no events until it is reopened.
    Ended: "ended", CONFLICT, "The channel has ended";
    /// Another producer has taken the channel over, or it has one and the request names none.
    Fenced: "fenced", CONFLICT, "Another producer has the channel";
    /// The channel holds values of keys and the event has no key, or the other way round, or the channel is transient and
    /// the event has a key.
    ChannelKind: "channel_kind", CONFLICT, "The channel holds something else";
    /// The channel has as many keys, or bytes of values, as its rule allows.
    TooManyKeys: "too_many_keys", CONFLICT, "The channel has too many keys";
    /// The channel has no value of this key.
    UnknownKey: "unknown_key", NOT_FOUND, "There is no such key";
    /// A body, an event or a batch is over its limit.
    TooLarge: "too_large", PAYLOAD_TOO_LARGE, "Too large";
    /// Path and query are over their limit.
    UrlTooLong: "url_too_long", URI_TOO_LONG, "The URL is too long";
    /// The headers together are over their limit.
    HeadersTooLarge: "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large";
    /// The body is of a type, charset or encoding that can't be taken.
    UnsupportedMedia: "unsupported_media", UNSUPPORTED_MEDIA_TYPE, "The body's type or encoding is not supported";
    /// The `Host` is not one of this server's names, as when a foreign name was pointed at this machine.
    WrongHost: "wrong_host", MISDIRECTED_REQUEST, "This server does not answer to that name";
    /// Something broke that should not have.
    Internal: "internal", INTERNAL_SERVER_ERROR, "Something went wrong";
    /// The hub has as many streams as it may have.
    Full: "full", SERVICE_UNAVAILABLE, "The hub is full";
    /// So many bodies are being read, or changes of the stream wait, that there is no room for this one.
    Busy: "busy", SERVICE_UNAVAILABLE, "The hub has too much to read";
    /// The hub is stopping; it or another one will be back.
    Draining: "draining", SERVICE_UNAVAILABLE, "The hub is stopping";
    /// The client's address asks more often than it may; `RateLimit-Policy` says how often that is.
    RateLimited: "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The client's address has as many streams as it may have.
    TooManyStreams: "too_many_streams", TOO_MANY_REQUESTS, "Too many streams";
    /// The log takes no events: it is closing.
    Closed: "closed", SERVICE_UNAVAILABLE, "The log takes no events";
    /// The store failed while the event was written; it may or may not be kept. Repeat it with an idempotency key.
    OutcomeUnknown: "outcome_unknown", SERVICE_UNAVAILABLE, "It is unknown whether the event was kept";
    /// The store could not be read.
    StoreFailed: "store_failed", SERVICE_UNAVAILABLE, "The store failed";
    /// The disk is full. Durable events are taken again when there is room.
    DiskFull: "disk_full", INSUFFICIENT_STORAGE, "The disk is full";
    /// The store failed before and is being reopened; nothing was published, and nothing can be read for a moment.
    StoreReopening: "store_reopening", SERVICE_UNAVAILABLE, "The store is being reopened";
    /// The hub does not take events and streams.
    NotReady: "not_ready", SERVICE_UNAVAILABLE, "The hub is not ready";
}

/// A refusal on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What clients go by.
    code: Code,
    /// What people read: what is wrong here, naming the field.
    detail: String,
    /// The methods that the path has, for 405.
    allow: Option<&'static str>,
    /// When it is worth trying again.
    retry_after: Option<Duration>,
    /// Which item of a batch is meant, from 0.
    item: Option<usize>,
    /// How the client stands with its rate.
    standing: Option<Box<Standing>>,
}

/// Left on a response so that the guard can count it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused(pub(crate) Code);

impl ApiError {
    /// A refusal with its reason: a sentence that names the field, parameter or header that is wrong.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), allow: None, retry_after: None, item: None, standing: None }
    }

    /// A malformed request.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// A method that the path doesn't have. `allow` lists those that it has, as in the header.
    pub(crate) fn method_not_allowed(allow: &'static str, detail: impl Into<String>) -> Self {
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// Says when it is worth trying again.
    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says how the client stands with its rate.
    pub(crate) fn standing(mut self, standing: Standing) -> Self {
        self.standing = Some(Box::new(standing));
        self
    }

    /// Says which item of a batch is meant, from 0.
    pub(crate) fn of_item(mut self, item: usize) -> Self {
        self.item = Some(item);
        self
    }

    /// Why.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ApiError {}

/// The problem object (RFC 9457 section 3), also where it is one item of a batch's results.
impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut problem = serializer.serialize_struct("Problem", 6)?;
        problem.serialize_field("type", &format_args!("urn:fanfare:problem:{}", self.code.as_str()))?;
        problem.serialize_field("title", self.code.title())?;
        problem.serialize_field("status", &self.code.status().as_u16())?;
        problem.serialize_field("detail", &self.detail)?;
        problem.serialize_field("code", self.code.as_str())?;
        match self.item {
            Some(item) => problem.serialize_field("item", &item)?,
            None => problem.skip_field("item")?,
        }
        problem.end()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // A struct of strings and numbers always serialises.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000) as u64));
        }
        if let Some(standing) = self.standing {
            standing.write(headers);
        }
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_a_code() {
        let problem = ApiError::new(Code::TooLarge, "`data` is long").of_item(3);
        let json: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&problem).unwrap()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:fanfare:problem:too_large",
            "title": "Too large",
            "status": 413,
            "detail": "`data` is long",
            "code": "too_large",
            "item": 3,
        });
        assert_eq!(json, expected);
        assert!(!serde_json::to_string(&ApiError::malformed("x")).unwrap().contains("item"));
    }

    #[test]
    fn headers_say_what_the_problem_can_not() {
        let response = ApiError::method_not_allowed("GET", "no").into_response();
        assert_eq!(response.headers()["allow"], "GET");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let response = ApiError::new(Code::Full, "no").retry_after(Duration::from_millis(2_100)).into_response();
        assert_eq!(response.headers()["retry-after"], "3");
    }

    #[test]
    fn every_code_is_a_refusal_and_stands_for_itself() {
        let codes: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }
}
