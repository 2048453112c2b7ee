//! `GET /events`: opens a stream. The query says what to follow and how it is to look; the answer lasts until one of the
//! two sides ends it.
//!
//! The status is the part that browsers act on: anything but 200 closes an `EventSource` for good. So a malformed request,
//! which would fail again, is a 4xx, and a hub that is full or stopping answers 200 with a time to come back, unless
//! `errors=status` asks for the truth in the status.

use std::ops::Range;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use fanfare_hub::ByeReason;
use fanfare_hub::Follows;
use fanfare_hub::Reservation;
use fanfare_hub::Since;
use fanfare_hub::Subscribe;
use fanfare_hub::SubscribeError;
use fanfare_hub::window::notice;

use super::audience::{user, wants_everyone};
use super::inbox::{follow_inbox, returns, wants_inbox};
use super::style::{ErrorStyle, StreamStyle};
use crate::admission::address::Client;
use crate::admission::too_often;
use crate::connection::handover::Handover;
use crate::connection::stream_body::StreamBody;
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::{DRAINING_RETRY, FULL_RETRY, LIMIT_RETRY};
use crate::request::channel_arg::{channel, pattern};
use crate::request::query::Query;

/// What is followed where the request names nothing.
pub(crate) const MAIN: &str = "main";

const PARAMETERS: [&str; 14] = [
    "channel",
    "pattern",
    "since",
    "lastEventId",
    "stream",
    "as",
    "heartbeat",
    "hello",
    "errors",
    "everyone",
    "user",
    "inbox",
    "device",
    "ack",
];

/// The endpoint. HEAD is refused: an answer without a body would still open a stream, for nobody.
pub(crate) fn route() -> MethodRouter<Door> {
    get(events).head(only_get).fallback(only_get)
}

async fn only_get() -> ApiError {
    let detail = "`/events` is where to listen: `GET /events?channel=…`, or `POST /subscribe` with JSON. To publish, \
                  use `POST /channels/{channel}` or `POST /publish`";
    ApiError::method_not_allowed("GET", detail)
}

async fn events(
    State(door): State<Door>,
    handover: Option<Extension<Handover>>,
    client: Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (subscribe, errors) = asked(query.as_deref(), &headers)?;
    open(&door, subscribe, errors, client, handover).await
}

/// What the request asks for.
fn asked(query: Option<&str>, headers: &HeaderMap) -> Result<(Subscribe, ErrorStyle), ApiError> {
    let query = Query::parse(query, &PARAMETERS)?;
    let since: Since = query.value("since")?.unwrap_or_default();
    let mut channels = query.all("channel").map(|text| Ok((channel(text)?, since))).collect::<Result<Vec<_>, _>>()?;
    let patterns = query.all("pattern").map(|text| Ok((pattern(text)?, since))).collect::<Result<Vec<_>, _>>()?;
    let user = query.one("user")?.map(|name| user("user", name)).transpose()?;
    let wants_inbox = wants_inbox(query.one("inbox")?)?;
    let device = follow_inbox(user.as_ref(), wants_inbox, (query.one("device")?, query.one("ack")?), &mut channels)?;
    if channels.is_empty() && patterns.is_empty() {
        channels.push((channel(MAIN)?, since));
    }
    let last_event_id = match last_event_id(headers) {
        Some(id) => Some(id),
        None => query.one("lastEventId")?.map(str::to_owned),
    };
    let style = StreamStyle::of(|name| query.one(name))?;
    let StreamStyle { form, hello, heartbeat, errors } = style;
    let everyone = wants_everyone(query.one("everyone")?)?;
    let stream = query.value("stream")?;
    let follows = Follows::new(channels, patterns);
    Ok((Subscribe { stream, follows, last_event_id, form, hello, heartbeat, everyone, user, device }, errors))
}

/// The header `Last-Event-ID`. Other sites can set it to any bytes; what is no id of ours, the hub tells as a gap.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<String> {
    headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned())
}

/// The answer for a listener that has everything already: all that it follows has ended. A bare `EventSource` that was told
/// so on its stream comes back all the same; 204 keeps it from doing that again (WHATWG HTML, section 9.2.3: an answer
/// whose status is not 200 fails the connection, and a failed one is not reestablished).
async fn over(door: &Door, subscribe: &Subscribe) -> Result<Option<Response>, ApiError> {
    if !door.hub().may_be_over(subscribe) {
        return Ok(None);
    }
    let subscribe = subscribe.clone();
    let is_over = door.read(move |hub| hub.is_over(&subscribe)).await?;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok(is_over.then(|| (StatusCode::NO_CONTENT, no_store).into_response()))
}

/// Opens a stream, or says why there is none. Where the connection's socket can be had, the stream gets it, and the answer
/// is its head alone. Every answer counts against how often the client may ask, also that there is nothing to come.
pub(crate) async fn open(
    door: &Door,
    subscribe: Subscribe,
    errors: ErrorStyle,
    client: Client,
    handover: Option<Extension<Handover>>,
) -> Result<Response, ApiError> {
    if let Err(standing) = door.admission().connect(client) {
        let retry = standing.wait + jittered(LIMIT_RETRY);
        return refuse(
            door,
            (too_often(&standing), ByeReason::Limit, retry),
            errors,
            subscribe.last_event_id.as_deref(),
        );
    }
    if let Some(answer) = over(door, &subscribe).await? {
        return Ok(answer);
    }
    if subscribe.stream.is_some_and(|id| door.hub().has_ended(id)) {
        // The one status that tells an `EventSource` not to come back (WHATWG HTML, section 9.2.3).
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let last_event_id = subscribe.last_event_id.clone();
    match reserve(door, subscribe, client).await? {
        Ok(reservation) => Ok(event_stream(match handover {
            None => Body::new(StreamBody(reservation.into_stream())),
            Some(Extension(handover)) => {
                handover.reserve(reservation);
                Body::empty()
            }
        })),
        Err(refusal) => refuse(door, refusal, errors, last_event_id.as_deref()),
    }
}

/// Says why there is no stream for now, to a client that saw this id last.
fn refuse(
    door: &Door,
    (refusal, reason, retry): Refusal,
    errors: ErrorStyle,
    last_event_id: Option<&str>,
) -> Result<Response, ApiError> {
    match errors {
        ErrorStyle::Stream => {
            // Not an error to the client, but it counts as a refusal.
            door.figures().refused(refusal.code());
            Ok(event_stream(notice::refusal(reason, retry, last_event_id).into()))
        }
        ErrorStyle::Status => Err(refusal.retry_after(retry)),
    }
}

/// Why there is no stream for now, in both forms, and when to ask again.
type Refusal = (ApiError, ByeReason, Duration);

/// A place for a stream, if the client and the hub have room; an error where asking again doesn't help.
async fn reserve(
    door: &Door,
    mut subscribe: Subscribe,
    client: Client,
) -> Result<Result<Reservation, Refusal>, ApiError> {
    let slot = match door.admission().slot(client) {
        Ok(slot) => slot,
        Err(most) => {
            let detail = format!("this address has {most} streams, as many as it may have");
            return Ok(Err((ApiError::new(Code::TooManyStreams, detail), ByeReason::Limit, jittered(FULL_RETRY))));
        }
    };
    // Before it is decided where the stream begins, so that what it sends is the device's.
    returns(door, &mut subscribe).await;
    match door.hub().reserve(subscribe) {
        Ok(reservation) => {
            let reservation = reservation.owned_by(client.number());
            Ok(Ok(match slot {
                Some(slot) => reservation.hold(slot),
                None => reservation,
            }))
        }
        Err(error) => {
            let (code, reason, retry) = refused(error)?;
            Ok(Err((ApiError::new(code, code.title()), reason, retry)))
        }
    }
}

/// Why there is no stream, and when to ask again; an error where asking again doesn't help.
fn refused(error: SubscribeError) -> Result<(Code, ByeReason, Duration), ApiError> {
    match error {
        SubscribeError::Nothing | SubscribeError::TooMany(_) | SubscribeError::TooManyPatterns(_) => {
            Err(ApiError::malformed(error.to_string()))
        }
        SubscribeError::Full => Ok((Code::Full, ByeReason::Full, jittered(FULL_RETRY))),
        SubscribeError::Stopping => Ok((Code::Draining, ByeReason::Shutdown, jittered(DRAINING_RETRY))),
    }
}

fn jittered(range: Range<Duration>) -> Duration {
    rand::random_range(range)
}

/// A response that caches, proxies and browsers take for an event stream, and pass on as it comes.
fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // nginx, and those that learned it from nginx, buffer without this.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use fanfare_hub::{Form, HeartbeatStyle, HelloStyle, HubConfig};

    use super::*;
    use crate::testing::{Answer, TestDoor};

    fn ask(query: &str) -> Result<(Subscribe, ErrorStyle), ApiError> {
        asked(Some(query), &HeaderMap::new())
    }

    #[test]
    fn a_query_says_what_to_follow_and_how_it_is_to_look() {
        let query = "channel=a%2F1&channel=b&pattern=c*&since=last:3&as=json&heartbeat=event&hello=none&errors=status";
        let (subscribe, errors) = ask(query).unwrap();
        let names: Vec<_> = subscribe.follows.channels().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a/1", "b"]);
        assert_eq!(subscribe.follows.patterns().len(), 1);
        assert!(subscribe.follows.channels().iter().all(|(_, since)| *since == Since::Last(3)));
        assert_eq!((subscribe.form, subscribe.heartbeat), (Form::Json, HeartbeatStyle::Event));
        assert_eq!((subscribe.hello, errors), (HelloStyle::None, ErrorStyle::Status));
    }

    #[test]
    fn nothing_named_means_main() {
        let (subscribe, errors) = asked(None, &HeaderMap::new()).unwrap();
        assert_eq!(subscribe.follows.channels().first().unwrap().0.as_str(), MAIN);
        assert_eq!(errors, ErrorStyle::Stream);
        assert!(ask("pattern=x*").unwrap().0.follows.channels().is_empty());
    }

    #[test]
    fn the_header_wins_over_the_query_whatever_bytes_it_has() {
        let mut headers = HeaderMap::new();
        assert_eq!(asked(Some("lastEventId=7"), &headers).unwrap().0.last_event_id.as_deref(), Some("7"));
        headers.insert("last-event-id", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        let asked = asked(Some("lastEventId=7"), &headers).unwrap();
        assert_eq!(asked.0.last_event_id.as_deref(), Some("\u{fffd}\u{fffd}"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, code, named) in [
            ("channel=", Code::BadChannel, "`channel` is empty"),
            ("pattern=%0a", Code::BadChannel, "`pattern` has a control character"),
            ("since=yesterday", Code::Malformed, "`since` is \"yesterday\""),
            ("as=xml", Code::Malformed, "`as` is \"xml\""),
            ("chanel=x", Code::Malformed, "did you mean `channel`?"),
            ("since=start&since=start", Code::Malformed, "given twice"),
        ] {
            let error = ask(query).unwrap_err();
            assert_eq!(error.code(), code, "{query}");
            assert!(error.detail().contains(named), "{query}: {error}");
        }
    }

    #[tokio::test]
    async fn a_stream_begins_at_once_and_carries_what_is_published() {
        let door = TestDoor::open();
        let mut answer = door.get("/events?channel=news").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(answer.header("cache-control"), "no-store, no-transform");
        assert_eq!(answer.header("x-accel-buffering"), "no");
        answer.read_until("event: fanfare.hello").await;
        door.post("/channels/news", "hello").await;
        answer.read_until("channel: news\ndata: hello\n\n").await;
    }

    #[tokio::test]
    async fn a_full_hub_tells_browsers_when_to_come_back_and_fetch_clients_the_truth() {
        let door = TestDoor::with(HubConfig { streams_max: 0, ..HubConfig::default() });
        let answer = door.get("/events").await;
        assert_eq!(answer.status, StatusCode::OK);
        let text = answer.text().await;
        assert!(
            text.contains("event: fanfare.bye") && text.contains("retry: 1") && text.contains("\"full\""),
            "{text}"
        );
        let answer: Answer = door.get("/events?errors=status").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 10);
        assert_eq!(answer.problem().await["code"], "full");
    }

    #[tokio::test]
    async fn other_methods_are_told_where_to_go() {
        let door = TestDoor::open();
        for method in ["POST", "PUT", "DELETE"] {
            let answer = door.request(method, "/events", &[], "").await;
            assert_eq!((answer.status.as_u16(), answer.header("allow").as_str()), (405, "GET"));
            let problem = answer.problem().await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(["POST /channels/{channel}", "GET /events", "POST /subscribe"].iter().all(|w| detail.contains(w)));
        }
        let answer = door.request("HEAD", "/events", &[], "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(door.hub.stats().streams_opened, 0);
    }
}
