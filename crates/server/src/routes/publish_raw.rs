//! `POST /channels/{channel}`: the body is the data, as it is. `curl -d hello localhost:8080/channels/news` needs nothing
//! else.
//!
//! `POST /channels?channel=…` is the same for names that proxies would mangle in a path, and for several channels.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use fanfare_hub::{AppendError, Draft, DraftError, Event, PublishError, Publisher, Receipt};

use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::{CONTENT_TYPE_BYTES_MAX, DISK_FULL_RETRY_AFTER, RAW_BODY_BYTES_MAX, STORE_RETRY};
use crate::request::body;
use crate::request::channel_arg::ChannelArg;
use crate::request::duration;
use crate::request::query::Query;
use crate::traces::Published;

/// A receipt for the client, and what traces tell of it.
pub(super) type Answer = (Published, Json<Receipt>);

/// The endpoint.
pub(crate) async fn publish(
    State(door): State<Door>,
    channels: ChannelArg,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (channels, query) = channels.all(&["key", "event", "retry", "ttl", "fence"])?;
    if channels.is_empty() {
        let detail = "no channel is named; publish with `POST /channels/{channel}` or `POST /channels?channel=…`";
        return Err(ApiError::malformed(detail));
    }
    let event = event(&door, &query, &headers, body).await?;
    let draft = Draft::new(channels, event, Publisher::Anyone).map_err(|error| refused_draft(&error))?;
    append_one(&door, fence(draft, query.whole("fence")?)?).await
}

/// The event that a body is, with the options that its query and its headers say.
pub(super) async fn event(door: &Door, query: &Query, headers: &HeaderMap, body: Body) -> Result<Event, ApiError> {
    let content_type = content_type(headers)?;
    // A copy of its own: what was read is a part of the connection's buffer, which would stay in memory with the event.
    let data = Bytes::copy_from_slice(&body::read(door, headers, body, RAW_BODY_BYTES_MAX).await?);
    let mut event = Event::text(data);
    if let Some(content_type) = content_type {
        event = event.typed(content_type);
    }
    if let Some(key) = query.one("key")? {
        event = event.keyed(key);
    }
    if let Some(name) = query.one("event")? {
        event = event.named(name);
    }
    if let Some(retry) = query.one("retry")? {
        event = event.retry(duration::milliseconds(retry)?);
    }
    if let Some(ttl) = query.one("ttl")? {
        event = event.ttl(duration::ttl(ttl)?);
    }
    if let Some(key) = idempotency_key(headers)? {
        event = event.idempotency_key(key);
    }
    Ok(event)
}

/// Says which of its channels' producers publishes a draft. Fences are counted from 1.
pub(crate) fn fence(draft: Draft, fence: Option<u64>) -> Result<Draft, ApiError> {
    match fence {
        None => Ok(draft),
        Some(0) => Err(ApiError::malformed("`fence` is 0; the hub gives them from 1 on")),
        Some(fence) => Ok(draft.fenced(fence)),
    }
}

/// Publishes one event.
pub(super) async fn append_one(door: &Door, draft: Draft) -> Result<Answer, ApiError> {
    let asked = door.uptime();
    let receipt = door.hub().publish_draft(draft).await.map_err(refused_publish)?;
    Ok((Published::now(door, asked, [&receipt]), Json(receipt)))
}

/// What the data is. `curl -d` calls everything a form; that, like nothing, says nothing.
fn content_type(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| ApiError::malformed("header `Content-Type` is not plain text"))?.trim();
    if text.len() > CONTENT_TYPE_BYTES_MAX {
        let detail = format!("header `Content-Type` may have at most {CONTENT_TYPE_BYTES_MAX} bytes");
        return Err(ApiError::malformed(detail));
    }
    let unsupported = |detail: String| Err(ApiError::new(Code::UnsupportedMedia, detail));
    match body::essence(headers).as_str() {
        "" | "application/x-www-form-urlencoded" => return Ok(None),
        "multipart/form-data" => {
            return unsupported("multipart/form-data is not taken; send the data itself as the body".into());
        }
        _ => {}
    }
    let charset = text.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    match charset {
        Some(other) if !["utf-8", "utf8", "us-ascii"].contains(&other.to_ascii_lowercase().as_str()) => {
            unsupported(format!("charset {other:?} is not taken; event streams are UTF-8"))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

/// The header `Idempotency-Key`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::malformed("header `Idempotency-Key` is given twice"));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => Err(ApiError::new(Code::NotUtf8, "header `Idempotency-Key` is not UTF-8")),
    }
}

/// Why an event can't be published, as the client is told.
pub(crate) fn refused_draft(error: &DraftError) -> ApiError {
    let code = match error {
        DraftError::NoChannel
        | DraftError::TooManyChannels(..)
        | DraftError::NoTtl
        | DraftError::IdempotencyKey(_)
        | DraftError::Key(_)
        | DraftError::KeyControl(_)
        | DraftError::KeyOfMany(_)
        | DraftError::KeyOfTo
        | DraftError::KeyOfMessage
        | DraftError::KeyExceptUser => Code::Malformed,
        DraftError::ReservedChannel(_) => Code::ReservedChannel,
        DraftError::Name(_) => Code::BadEventName,
        DraftError::TooLarge(_) => Code::TooLarge,
        DraftError::NotUtf8(_) => Code::NotUtf8,
        DraftError::NotJson(_) => Code::BadJson,
    };
    ApiError::new(code, error.to_string())
}

/// Why the log did not take an event, as the client is told.
pub(crate) fn refused_append(error: AppendError) -> ApiError {
    let code = match error {
        AppendError::Conflict => Code::Conflict,
        AppendError::Ended => Code::Ended,
        AppendError::Fenced | AppendError::NoFence => Code::Fenced,
        // Of a batch only where it is atomic, and then the item that is meant is told instead.
        AppendError::UnknownFence | AppendError::Batch(_) => Code::Malformed,
        AppendError::DiskFull => Code::DiskFull,
        AppendError::Damaged => Code::StoreFailed,
        AppendError::OutcomeUnknown => Code::OutcomeUnknown,
        AppendError::Reopening => Code::StoreReopening,
        AppendError::NoKey | AppendError::NoState | AppendError::TransientState => Code::ChannelKind,
        AppendError::TooManyKeys => Code::TooManyKeys,
        AppendError::UnknownKey => Code::UnknownKey,
        AppendError::Closed => Code::Closed,
    };
    let refusal = ApiError::new(code, error.to_string());
    match error {
        AppendError::DiskFull => refusal.retry_after(DISK_FULL_RETRY_AFTER),
        AppendError::OutcomeUnknown | AppendError::Reopening => refusal.retry_after(STORE_RETRY),
        _ => refusal,
    }
}

/// Why publishing failed, as the client is told.
pub(crate) fn refused_publish(error: PublishError) -> ApiError {
    match error {
        PublishError::Channel(_) => ApiError::new(Code::BadChannel, error.to_string()),
        PublishError::BatchTooLarge(_) | PublishError::BatchTooWide(_) => {
            ApiError::new(Code::TooLarge, error.to_string())
        }
        PublishError::Draft(error) => refused_draft(&error),
        PublishError::Append(error) => refused_append(error),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_post_is_answered_with_a_receipt() {
        let door = TestDoor::open();
        let receipt = door.post("/channels/news", "hello").await.json().await;
        assert_eq!(receipt["channel"], "news");
        assert_eq!(receipt["durability"], "durable");
        assert_eq!(receipt["streams"], 0);
        assert_eq!(receipt["duplicate"], false);
        assert_eq!(receipt["id"].as_str().unwrap().len(), 26);
    }

    #[tokio::test]
    async fn the_path_is_decoded_and_the_query_names_several() {
        let door = TestDoor::open();
        let channel = async |path| door.post(path, "x").await.json().await["channel"].clone();
        assert_eq!(channel("/channels/a%2Fb%20c").await, "a/b c");
        assert_eq!(channel("/channels?channel=a/b&channel=c").await, "a/b");
        assert_eq!(door.get("/channels/c").await.json().await["events"], 1);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let door = TestDoor::open();
        for (path, body, status, code) in [
            ("/channels", "x", 400, "malformed"),
            ("/channels/%FF", "x", 400, "not_utf8"),
            ("/channels/a%0Ab", "x", 400, "bad_channel"),
            ("/channels/@everyone", "x", 403, "reserved_channel"),
            ("/channels/a?event=error", "x", 400, "bad_event_name"),
            ("/channels/a?event=", "x", 400, "bad_event_name"),
            ("/channels/a?name=x", "x", 400, "malformed"),
            ("/channels/a?retry=5s", "x", 400, "malformed"),
            ("/channels/a?ttl=0", "x", 400, "malformed"),
        ] {
            let answer = door.post(path, body).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.problem().await["code"], code, "{path}");
        }
    }

    #[tokio::test]
    async fn the_type_of_the_data_is_kept_and_json_is_checked() {
        let door = TestDoor::open();
        let post = async |content_type, body| {
            door.request("POST", "/channels/a", &[("content-type", content_type)], body).await.status.as_u16()
        };
        assert_eq!(post("application/json", r#"{"a": 1.10}"#).await, 200);
        assert_eq!(post("application/json", "{").await, 400);
        assert_eq!(post("application/x-www-form-urlencoded", "plain").await, 200);
        assert_eq!(post("text/plain;charset=UTF-8", "plain").await, 200);
        assert_eq!(post("text/plain; charset=iso-8859-1", "plain").await, 415);
        assert_eq!(post("multipart/form-data; boundary=x", "plain").await, 415);
        let page = door.get("/channels/a/history").await.text().await;
        assert!(page.contains(r#""data":{"a": 1.10}"#), "JSON is kept to the byte: {page}");
        assert!(page.contains(r#""data":"plain""#), "{page}");
    }

    #[tokio::test]
    async fn a_key_makes_repeating_harmless() {
        let door = TestDoor::open();
        let post = async |body| door.request("POST", "/channels/a", &[("idempotency-key", "k")], body).await;
        let first = post("x").await.json().await;
        let again = post("x").await.json().await;
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &serde_json::json!(true)));
        let other = post("y").await;
        assert_eq!(other.status.as_u16(), 409);
        assert_eq!(other.problem().await["code"], "conflict");
    }

    #[tokio::test]
    async fn large_data_is_refused_before_it_is_read() {
        let door = TestDoor::open();
        let answer = door.request("POST", "/channels/a", &[("content-length", "99999999")], "").await;
        assert_eq!(answer.status.as_u16(), 413);
        let answer = door.post("/channels/a", &"x".repeat(fanfare_hub::limits::EVENT_BYTES_MAX + 1)).await;
        assert!(answer.problem().await["detail"].as_str().unwrap().contains("`data` has 1048577 bytes"));
    }
}
