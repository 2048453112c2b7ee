//! `/streams/{stream}`: what an open stream follows is read with GET and changed with PATCH, without opening it anew; DELETE
//! ends it for good. Who knows a stream's id may do so: it is unguessable.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use fanfare_hub::limits::{FOLLOWS_MAX, LAST_CHANNELS_MAX};
use fanfare_hub::{Change, ChangeError, Followed, Follows, Since, StreamId};
use serde::Serialize;

use super::channel::store_failed;
use super::names::{NameOr, since};
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::{CHANGE_RETRY, SUBSCRIBE_BODY_BYTES_MAX};
use crate::request::body::{self, NoBody};
use crate::request::channel_arg::{channel_at, pattern_at};
use crate::request::json;
use crate::request::path;
use crate::request::query::Query;

/// The body of a PATCH.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object with `add` or `remove`")]
struct Arguments {
    /// A channel's name, or a channel or pattern with a `since`.
    add: Vec<NameOr<Item>>,
    /// The same, without `since`.
    remove: Vec<NameOr<Item>>,
}

/// A channel or a pattern.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    channel: Option<String>,
    pattern: Option<String>,
    since: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    stream: String,
    revision: u32,
    /// The stream's cursor; null while it isn't open.
    id: Option<String>,
    channels: Vec<String>,
    patterns: Vec<String>,
}

impl From<Followed> for Answer {
    fn from(followed: Followed) -> Self {
        let Followed { stream, revision, id, follows } = followed;
        let channels = follows.channels().iter().map(|(name, _)| name.to_string()).collect();
        let patterns = follows.patterns().iter().map(|(pattern, _)| pattern.to_string()).collect();
        Self { stream: stream.to_string(), revision, id, channels, patterns }
    }
}

/// The stream that the path names.
#[derive(Debug)]
pub(crate) struct StreamPath(StreamId);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segment = path::segment(parts, state, "stream").await?.unwrap_or_default();
        let bad = |error| ApiError::malformed(format!("the stream in the path {error}"));
        segment.parse().map(Self).map_err(bad)
    }
}

/// Reads what a stream follows.
pub(crate) async fn read(
    State(door): State<Door>,
    StreamPath(stream): StreamPath,
    RawQuery(query): RawQuery,
) -> Result<Json<Answer>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    let followed = door.hub().stream(stream).await.map_err(refused)?;
    Ok(Json(followed.into()))
}

/// Changes it.
pub(crate) async fn change(
    State(door): State<Door>,
    StreamPath(stream): StreamPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    let body = body::read_json(&door, &headers, body, SUBSCRIBE_BODY_BYTES_MAX).await?;
    let change = asked(&body)?;
    if change.may_be_too_wide() {
        is_narrow_enough(&door, stream, change.clone()).await?;
    }
    let followed = door.hub().change_stream(stream, change).await.map_err(refused)?;
    Ok(Json(followed.into()))
}

/// Refuses a change that would end the stream, now and whenever it comes back.
async fn is_narrow_enough(door: &Door, stream: StreamId, change: Change) -> Result<(), ApiError> {
    let follows = door.hub().stream(stream).await.map_err(refused)?.follows;
    let is_too_wide = door.read(move |hub| hub.is_too_wide(&follows, &change)).await?;
    if is_too_wide.map_err(|error| store_failed(&error))? {
        let detail = format!(
            "with `last:N`, the patterns of a stream may match at most {LAST_CHANNELS_MAX} channels; these match more"
        );
        return Err(ApiError::new(Code::TooManyChannels, detail));
    }
    Ok(())
}

/// Ends a stream for good.
pub(crate) async fn end(
    State(door): State<Door>,
    StreamPath(stream): StreamPath,
    RawQuery(query): RawQuery,
    _: NoBody,
) -> Result<StatusCode, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    door.hub().end_stream(stream).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn only_these() -> ApiError {
    let detail = "a stream is read with GET, changed with PATCH and ended with DELETE";
    ApiError::method_not_allowed("GET, HEAD, PATCH, DELETE", detail)
}

/// What the request asks for.
fn asked(body: &[u8]) -> Result<Change, ApiError> {
    let Arguments { add, remove } = json::read(body)?;
    let longest = add.len().max(remove.len());
    if longest > FOLLOWS_MAX {
        return Err(refused(ChangeError::TooMany(longest)));
    }
    if remove.iter().any(|item| matches!(item, NameOr::Object(Item { since: Some(_), .. }))) {
        return Err(ApiError::malformed("`since` says nothing in `remove`"));
    }
    Ok(Change { add: follows("add", add)?, remove: follows("remove", remove)? })
}

fn follows(field: &str, items: Vec<NameOr<Item>>) -> Result<Follows, ApiError> {
    let (mut channels, mut patterns) = (Vec::new(), Vec::new());
    for (at, item) in items.into_iter().enumerate() {
        let place = format!("{field}[{at}]");
        let item = match item {
            NameOr::Name(name) => {
                channels.push((channel_at(&place, &name)?, Since::default()));
                continue;
            }
            NameOr::Object(item) => item,
        };
        let since = item.since.map(|text| since(&format!("{place}.since"), &text)).transpose()?.unwrap_or_default();
        match (item.channel, item.pattern) {
            (Some(name), None) => channels.push((channel_at(&format!("{place}.channel"), &name)?, since)),
            (None, Some(text)) => patterns.push((pattern_at(&format!("{place}.pattern"), &text)?, since)),
            (None, None) => return Err(ApiError::malformed(format!("`{place}` needs `channel` or `pattern`"))),
            (Some(_), Some(_)) => {
                let detail = format!("`{place}` has both `channel` and `pattern`; make two entries of them");
                return Err(ApiError::malformed(detail));
            }
        }
    }
    Ok(Follows::new(channels, patterns))
}

fn refused(error: ChangeError) -> ApiError {
    let detail = error.to_string();
    match error {
        ChangeError::Unknown => ApiError::new(Code::UnknownStream, detail),
        ChangeError::TooMany(_) | ChangeError::TooManyPatterns(_) => ApiError::malformed(detail),
        ChangeError::UnknownId => ApiError::new(Code::UnknownId, detail),
        ChangeError::Busy => ApiError::new(Code::Busy, detail).retry_after(CHANGE_RETRY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDoor;

    #[test]
    fn what_is_wrong_is_named() {
        for (body, code, named) in [
            ("", Code::BadJson, "the body is empty"),
            (r#"{"ad": []}"#, Code::Malformed, "`ad`"),
            (r#"{"add": ["a", {}]}"#, Code::Malformed, "`add[1]` needs `channel` or `pattern`"),
            (r#"{"remove": [{"channel": "a", "pattern": "b"}]}"#, Code::Malformed, "`remove[0]` has both"),
            (r#"{"remove": [{"channel": "a", "since": "start"}]}"#, Code::Malformed, "`since` says nothing"),
            (r#"{"add": [{"channel": "a", "since": "soon"}]}"#, Code::Malformed, "`add[0].since` is \"soon\""),
            (r#"{"add": ["a", ""]}"#, Code::BadChannel, "`add[1]` is empty"),
            (r#"{"remove": [{"pattern": ""}]}"#, Code::BadChannel, "`remove[0].pattern` is empty"),
        ] {
            let error = asked(body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{body}: {error}");
            assert!(error.detail().contains(named), "{body}: {error}");
        }
    }

    #[test]
    fn more_than_a_stream_may_follow_is_refused_before_anybody_looks_at_it() {
        for field in ["add", "remove"] {
            let names = |count: usize| {
                let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
                serde_json::json!({ field: names }).to_string()
            };
            assert!(asked(names(FOLLOWS_MAX).as_bytes()).is_ok());
            let error = asked(names(FOLLOWS_MAX + 1).as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::Malformed);
            assert!(error.detail().contains("1001"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_open_stream_follows_something_else_from_one_frame_on() {
        let door = TestDoor::open();
        let stream = "0123456789abcdef0123456789abcdef";
        let mut listener = door.get(&format!("/events?channel=a&stream={stream}")).await;
        listener.read_until("fanfare.hello").await;
        let path = format!("/streams/{stream}");
        assert_eq!(door.get(&path).await.json().await["channels"], serde_json::json!(["a"]));
        let body = r#"{"add": ["b", {"pattern": "c*"}], "remove": ["a", {"channel": "never"}]}"#;
        let answer = door.request("PATCH", &path, &[], body).await.json().await;
        assert_eq!((&answer["revision"], &answer["stream"]), (&1.into(), &stream.into()));
        assert_eq!(answer["channels"], serde_json::json!(["b"]));
        assert_eq!(answer["patterns"], serde_json::json!(["c*"]));
        door.post("/channels/a", "gone").await;
        door.post("/channels/b", "there").await;
        door.request("DELETE", &path, &[], "").await;
        let text = listener.text().await;
        assert!(text.contains("data: there\n\n"), "{text}");
        assert!(!text.contains("gone") && text.contains(r#"data: {"revision":1,"channels":["b"],"patterns":["c*"]}"#));
    }

    #[tokio::test]
    async fn a_stream_that_nobody_knows_is_404_and_one_that_was_ended_is_204() {
        let door = TestDoor::open();
        let path = "/streams/0123456789abcdef0123456789abcdef";
        for (method, body) in [("GET", ""), ("PATCH", "{}"), ("DELETE", "")] {
            let answer = door.request(method, path, &[], body).await;
            assert_eq!(answer.status.as_u16(), 404, "{method}");
            assert_eq!(answer.problem().await["code"], "unknown_stream", "{method}");
        }
        assert_eq!(door.get("/streams/guess").await.status.as_u16(), 400);
        let query = "/events?stream=01234567-89ab-cdef-0123-456789abcdef";
        let mut listener = door.get(query).await;
        listener.read_until("fanfare.hello").await;
        assert_eq!(door.request("DELETE", path, &[], "").await.status.as_u16(), 204);
        let text = listener.text().await;
        assert!(text.contains(r#"{"reason":"deleted","reconnect":false}"#), "{text}");
        assert_eq!(door.get(query).await.status.as_u16(), 204);
        assert_eq!(door.request("PATCH", path, &[], "{}").await.status.as_u16(), 404);
    }
}
