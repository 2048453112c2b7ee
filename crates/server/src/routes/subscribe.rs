//! `POST /subscribe`: the same stream as `GET /events`, asked for in JSON: for long lists, for a `since` of its own per
//! channel, and for networks that buffer the answers to GET.

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use fanfare_hub::{Follows, Subscribe};

use super::audience::user;
use super::events::{MAIN, last_event_id, open};
use super::inbox::follow_inbox;
use super::names::{ChannelSince, NameOr, PatternSince, since};
use super::style::{ErrorStyle, StreamStyle};
use crate::admission::address::Client;
use crate::connection::handover::Handover;
use crate::door::Door;
use crate::error::ApiError;
use crate::limits::SUBSCRIBE_BODY_BYTES_MAX;
use crate::request::body;
use crate::request::channel_arg::{channel, channel_at, pattern_at};
use crate::request::json;
use crate::request::query::Query;

/// The request's body.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object with `channels` or `patterns`")]
struct Arguments {
    /// Exact names, each alone or with a `since` of its own.
    channels: Vec<NameOr<ChannelSince>>,
    /// Patterns, in the same way.
    patterns: Vec<NameOr<PatternSince>>,
    /// For those that have none of their own.
    since: Option<String>,
    /// The id that the listener saw last; the header wins over it.
    last_event_id: Option<String>,
    /// An id that the listener gives the stream.
    stream: Option<String>,
    r#as: Option<String>,
    heartbeat: Option<String>,
    hello: Option<String>,
    errors: Option<String>,
    everyone: Option<bool>,
    user: Option<String>,
    inbox: bool,
    device: Option<String>,
    ack: Option<String>,
}

/// The endpoint.
pub(crate) async fn subscribe(
    State(door): State<Door>,
    handover: Option<Extension<Handover>>,
    client: Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    let body = body::read_json(&door, &headers, body, SUBSCRIBE_BODY_BYTES_MAX).await?;
    let (subscribe, errors) = asked(&body, &headers)?;
    open(&door, subscribe, errors, client, handover).await
}

/// What the request asks for.
fn asked(body: &[u8], headers: &HeaderMap) -> Result<(Subscribe, ErrorStyle), ApiError> {
    let arguments: Arguments = json::read_if_any(body)?;
    let common = arguments.since.as_deref().map(|text| since("since", text)).transpose()?.unwrap_or_default();
    let or_common = |place: &str, own: Option<String>| {
        own.as_deref().map_or(Ok(common), |text| since(&format!("{place}.since"), text))
    };
    let mut channels = Vec::with_capacity(arguments.channels.len());
    for (at, entry) in arguments.channels.into_iter().enumerate() {
        let place = format!("channels[{at}]");
        channels.push(match entry {
            NameOr::Name(name) => (channel_at(&place, &name)?, common),
            NameOr::Object(own) => {
                (channel_at(&format!("{place}.channel"), &own.channel)?, or_common(&place, own.since)?)
            }
        });
    }
    let mut patterns = Vec::with_capacity(arguments.patterns.len());
    for (at, entry) in arguments.patterns.into_iter().enumerate() {
        let place = format!("patterns[{at}]");
        patterns.push(match entry {
            NameOr::Name(text) => (pattern_at(&place, &text)?, common),
            NameOr::Object(own) => {
                (pattern_at(&format!("{place}.pattern"), &own.pattern)?, or_common(&place, own.since)?)
            }
        });
    }
    let user = arguments.user.as_deref().map(|name| user("user", name)).transpose()?;
    let (device, ack) = (arguments.device.as_deref(), arguments.ack.as_deref());
    let device = follow_inbox(user.as_ref(), arguments.inbox, (device, ack), &mut channels)?;
    if channels.is_empty() && patterns.is_empty() {
        channels.push((channel(MAIN)?, common));
    }
    let StreamStyle { form, hello, heartbeat, errors } = StreamStyle::of(|name| {
        Ok(match name {
            "as" => arguments.r#as.as_deref(),
            "heartbeat" => arguments.heartbeat.as_deref(),
            "hello" => arguments.hello.as_deref(),
            _ => arguments.errors.as_deref(),
        })
    })?;
    let last_event_id = last_event_id(headers).or(arguments.last_event_id);
    let bad = |error| ApiError::malformed(format!("`stream` {error}"));
    let stream = arguments.stream.as_deref().map(|id| id.parse().map_err(bad)).transpose()?;
    let everyone = arguments.everyone.unwrap_or(true);
    let follows = Follows::new(channels, patterns);
    Ok((Subscribe { stream, follows, last_event_id, form, hello, heartbeat, everyone, user, device }, errors))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_hub::Since;

    use super::*;
    use crate::error::Code;
    use crate::testing::TestDoor;

    fn ask(body: &str) -> Result<(Subscribe, ErrorStyle), ApiError> {
        asked(body.as_bytes(), &HeaderMap::new())
    }

    #[test]
    fn each_channel_may_have_its_own_beginning() {
        let body = r#"{"channels": ["a", {"channel": "b", "since": "last:10"}, {"channel": "c"}],
                       "patterns": [{"pattern": "d*", "since": "start"}], "since": "5m", "errors": "status"}"#;
        let (subscribe, errors) = ask(body).unwrap();
        let sinces: Vec<Since> = subscribe.follows.channels().iter().map(|(_, since)| *since).collect();
        let five_minutes = Since::Ago(Duration::from_mins(5));
        assert_eq!(sinces, [five_minutes, Since::Last(10), five_minutes]);
        assert_eq!(subscribe.follows.patterns().first().unwrap().1, Since::Start);
        assert_eq!(errors, ErrorStyle::Status);
    }

    #[test]
    fn nothing_named_means_main() {
        for body in ["", "{}", r#"{"channels": []}"#] {
            assert_eq!(ask(body).unwrap().0.follows.channels().first().unwrap().0.as_str(), MAIN, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, code, named) in [
            ("{", Code::BadJson, "in the middle of an object"),
            (r#"{"chanels": []}"#, Code::Malformed, "`chanels`"),
            (
                r#"{"channels": [{"channel": "a", "sinc": "start"}]}"#,
                Code::Malformed,
                "`channels[0].sinc`; did you mean `since`?",
            ),
            (r#"{"channels": [7]}"#, Code::Malformed, "`channels[0]` is the number 7; it takes a name"),
            (r#"{"channels": ["a", ""]}"#, Code::BadChannel, "`channels[1]` is empty"),
            (r#"{"channels": [{"channel": ""}]}"#, Code::BadChannel, "`channels[0].channel` is empty"),
            (r#"{"channels": [{"since": "start"}]}"#, Code::Malformed, "`channels[0].channel` is missing"),
            (r#"{"patterns": ["a", ""]}"#, Code::BadChannel, "`patterns[1]` is empty"),
            (
                r#"{"patterns": [{"pattern": "@*"}]}"#,
                Code::ReservedChannel,
                "`patterns[0].pattern` \"@*\" is of users'",
            ),
            (
                r#"{"channels": [{"channel": "a", "since": "soon"}]}"#,
                Code::Malformed,
                "`channels[0].since` is \"soon\"",
            ),
            (r#"{"since": "soon"}"#, Code::Malformed, "`since` is \"soon\""),
            (r#"{"as": "xml"}"#, Code::Malformed, "`as` is \"xml\""),
        ] {
            let error = ask(body).unwrap_err();
            assert_eq!(error.code(), code, "{body}: {error}");
            assert!(error.detail().contains(named), "{body}: {error}");
        }
        assert_eq!(asked(b"\xff", &HeaderMap::new()).unwrap_err().code(), Code::NotUtf8);
    }

    #[tokio::test]
    async fn the_answer_is_a_stream() {
        let door = TestDoor::open();
        let mut answer = door.post("/subscribe", r#"{"channels": ["news"]}"#).await;
        assert_eq!(answer.header("content-type"), "text/event-stream");
        answer.read_until("fanfare.hello").await;
        assert_eq!(door.get("/subscribe").await.status.as_u16(), 405);
    }
}
