//! `GET /channels/{channel}/keys`, or `GET /keys?channel=…`: what a state channel holds, page by page; with `key`, the value
//! of one key. `DELETE /channels/{channel}?key=…`, or `DELETE /channels?channel=…&key=…`: deletes a key.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use fanfare_hub::limits::HISTORY_EVENTS_MAX;
use fanfare_hub::{Draft, Event, KeysPage, Kind, Publisher};
use serde::Serialize;

use super::channel::store_failed;
use super::history::EventOf;
use super::publish_raw::{Answer, append_one, fence, idempotency_key, refused_draft};
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::PAGE_LENGTH;
use crate::request::body::NoBody;
use crate::request::channel_arg::ChannelArg;

/// The answer.
#[derive(Debug, Serialize)]
struct Page<'a> {
    channel: &'a str,
    /// In the order of the keys.
    values: Vec<EventOf<'a>>,
    /// The key after which the next page begins, to be given as `after`.
    next: Option<&'a str>,
    /// Where the log ended before they were read; to follow from there misses no change.
    cursor: &'a str,
}

/// Reads a page of values.
pub(crate) async fn read(State(door): State<Door>, channel: ChannelArg) -> Result<Response, ApiError> {
    let (channel, query) = channel.one(&["key", "after", "limit"])?;
    let name = channel.clone();
    let after = query.one("after")?.unwrap_or_default().to_owned();
    let limit = query.limit(PAGE_LENGTH, HISTORY_EVENTS_MAX)?;
    let key = query.one("key")?.map(str::to_owned);
    let is_one = key.is_some();
    let read = move |hub: &fanfare_hub::Hub| {
        if hub.kind_of(&channel)? == Some(Kind::Events) {
            return Ok(None);
        }
        let page = match &key {
            Some(key) => hub.value_of(&channel, key),
            None => hub.keys_of(&channel, &after, limit),
        };
        page.map(Some)
    };
    let Some(page) = door.read(read).await?.map_err(|error| store_failed(&error))? else {
        let detail = "the channel holds events without keys; they are read with `GET /history?channel=…`";
        return Err(ApiError::new(Code::ChannelKind, detail));
    };
    if is_one && page.entries.is_empty() {
        return Err(ApiError::new(Code::UnknownKey, "the channel has no value of this `key`"));
    }
    Ok(answer(name.as_str(), &page))
}

fn answer(channel: &str, page: &KeysPage) -> Response {
    let texts: Vec<_> = page.entries.iter().map(|entry| String::from_utf8_lossy(&entry.record.data)).collect();
    let values = page.entries.iter().zip(&texts).map(|(entry, text)| EventOf::of(entry, channel, text)).collect();
    Json(Page { channel, values, next: page.next.as_deref(), cursor: &page.cursor }).into_response()
}

/// Deletes a key.
pub(crate) async fn delete(
    State(door): State<Door>,
    channel: ChannelArg,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Answer, ApiError> {
    let (channel, query) = channel.one(&["key", "fence"])?;
    let key = query.one("key")?.ok_or_else(|| ApiError::malformed("query parameter `key` is missing"))?;
    let mut event = Event::deletion(key);
    if let Some(key) = idempotency_key(&headers)? {
        event = event.idempotency_key(key);
    }
    let draft = Draft::new(vec![channel], event, Publisher::Anyone).map_err(|error| refused_draft(&error))?;
    append_one(&door, fence(draft, query.whole("fence")?)?).await
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn values_are_listed_by_key_and_changed_and_deleted() {
        let door = TestDoor::open();
        for (key, data) in [("b", "1"), ("a", "1"), ("c", "1"), ("a", "2")] {
            assert_eq!(door.post(&format!("/channels/s?key={key}"), data).await.status.as_u16(), 200);
        }
        let batch = r#"[{"channel": "s", "key": "d", "data": {"n": 1}}, {"channel": "s", "key": "b", "delete": true}]"#;
        assert_eq!(door.post("/publish?atomic=1", batch).await.status.as_u16(), 200);
        let page = door.get("/channels/s/keys?limit=2").await.json().await;
        let of = |page: &serde_json::Value| -> Vec<String> {
            let values = page["values"].as_array().unwrap();
            values.iter().map(|value| format!("{}={}", value["key"].as_str().unwrap(), value["data"])).collect()
        };
        assert_eq!((of(&page), &page["next"]), (vec!["a=\"2\"".into(), "c=\"1\"".into()], &"c".into()));
        let rest = door.get("/keys?channel=s&after=c").await.json().await;
        assert_eq!((of(&rest), &rest["next"]), (vec!["d={\"n\":1}".into()], &serde_json::Value::Null));
        assert_eq!(of(&door.get("/channels/s/keys?key=a").await.json().await), ["a=\"2\""]);
        let info = door.get("/channels/s").await.json().await;
        assert_eq!((&info["events"], &info["cursor"]), (&3.into(), &page["cursor"]));
        let deleted = door.request("DELETE", "/channels/s?key=a", &[], "").await;
        assert_eq!(deleted.status.as_u16(), 200);
        assert_eq!(door.get("/channels/s/keys?key=a").await.problem().await["code"], "unknown_key");
        let history = door.get("/channels/s/history").await.text().await;
        assert!(history.contains(r#""key":"a","event":"fanfare.delete""#) && !history.contains(r#""data":"2""#));
    }

    #[tokio::test]
    async fn what_does_not_fit_the_channel_is_refused_by_name() {
        let door = TestDoor::open();
        assert_eq!(door.post("/channels/e", "x").await.status.as_u16(), 200);
        assert_eq!(door.post("/channels/s?key=a", "x").await.status.as_u16(), 200);
        for path in ["/channels/e?key=a", "/channels/s"] {
            let answer = door.post(path, "x").await;
            assert_eq!(answer.status.as_u16(), 409, "{path}");
            assert_eq!(answer.problem().await["code"], "channel_kind", "{path}");
        }
        for path in ["/channels/e/keys", "/keys?channel=e", "/keys?channel=e&key=a"] {
            let answer = door.get(path).await;
            assert_eq!(answer.status.as_u16(), 409, "{path}");
            assert_eq!(answer.problem().await["code"], "channel_kind", "{path}");
        }
        let page = door.get("/channels/nobody/keys").await.json().await;
        assert_eq!((&page["values"], &page["next"]), (&serde_json::json!([]), &serde_json::Value::Null));
        for (path, code) in [("/channels?channel=s&key=b", "unknown_key"), ("/channels/s", "malformed")] {
            assert_eq!(door.request("DELETE", path, &[], "").await.problem().await["code"], code);
        }
        for item in
            [r#"{"channel": "s", "delete": true}"#, r#"{"channel": "s", "key": "a", "delete": true, "data": 1}"#]
        {
            assert_eq!(door.post("/publish", item).await.problem().await["code"], "malformed", "{item}");
        }
    }
}
