//! `GET /channels/{channel}/history`, or `GET /history?channel=…`: a part of a channel's history, page by page.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_hub::limits::HISTORY_EVENTS_MAX;
use fanfare_hub::window::entry::Entry;
use fanfare_hub::window::frame::DELETE;
use fanfare_hub::{Data, HistoryError, HistoryPage, HistoryQuery, Order, Since};
use serde::Serialize;

use super::channel::store_failed;
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::PAGE_LENGTH;
use crate::request::channel_arg::ChannelArg;
use crate::request::query::Query;

/// The answer.
#[derive(Debug, Serialize)]
struct Page<'a> {
    channel: &'a str,
    events: Vec<EventOf<'a>>,
    /// Where the next page begins: to be given as `since`, or with `order=desc` as `before`.
    next: Option<&'a str>,
    /// Where retention removed some of what was asked for: the id up to which.
    gap: Option<&'a str>,
    /// What can't be read as its place on disk is damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<Damaged<'a>>,
}

/// A part of history that can't be read: above one id, not above the other.
#[derive(Debug, Serialize)]
struct Damaged<'a> {
    from: &'a str,
    to: &'a str,
}

/// An event, as in the envelope of `as=json`.
#[derive(Debug, Serialize)]
pub(super) struct EventOf<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    event: Option<&'a str>,
    data: Text<'a>,
    id: Option<String>,
    /// Milliseconds since the Unix epoch.
    time: u64,
}

impl<'a> EventOf<'a> {
    /// An event of a channel, with its data as text.
    pub(super) fn of(entry: &'a Entry, channel: &'a str, text: &'a str) -> Self {
        let record = &entry.record;
        Self {
            channel,
            key: record.key.as_deref(),
            event: if record.is_deleted { Some(DELETE) } else { record.name.as_deref() },
            data: Text(text, record.is_json()),
            id: entry.id().map(|id| id.to_text()),
            time: record.time_ms,
        }
    }
}

/// An event's data: borrowed text, written as JSON or as a string.
struct Text<'a>(&'a str, bool);

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Data::of(self.0, self.1).serialize(serializer)
    }
}

/// The endpoint.
pub(crate) async fn history(State(door): State<Door>, channel: ChannelArg) -> Result<Response, ApiError> {
    let (channel, query) = channel.one(&["since", "before", "order", "limit"])?;
    let asked = asked(&query)?;
    let name = channel.clone();
    let page = door.read(move |hub| hub.history_of(&channel, asked)).await?.map_err(|error| refused(&error))?;
    Ok(answer(name.as_str(), &page))
}

/// What the request asks for. All of history, oldest first, where it says nothing.
fn asked(query: &Query) -> Result<HistoryQuery, ApiError> {
    let order = match query.one("order")? {
        None | Some("asc") => Order::Ascending,
        Some("desc") => Order::Descending,
        Some(other) => return Err(ApiError::malformed(format!("`order` is {other:?}; it takes `asc` or `desc`"))),
    };
    Ok(HistoryQuery {
        since: query.value("since")?.unwrap_or(Since::Start),
        before: query.value("before")?,
        order,
        limit: query.limit(PAGE_LENGTH, HISTORY_EVENTS_MAX)?,
    })
}

fn answer(channel: &str, page: &HistoryPage) -> Response {
    let texts: Vec<_> = page.entries.iter().map(|entry| String::from_utf8_lossy(&entry.record.data)).collect();
    let events = page.entries.iter().zip(&texts).map(|(entry, text)| EventOf::of(entry, channel, text));
    let (next, gap) = (page.next.as_deref(), page.gap.as_deref());
    let damaged = page.damaged.iter().map(|(from, to)| Damaged { from, to }).collect();
    Json(Page { channel, events: events.collect(), next, gap, damaged }).into_response()
}

fn refused(error: &HistoryError) -> ApiError {
    match error {
        HistoryError::Unknown(_) => ApiError::new(Code::UnknownId, error.to_string()),
        HistoryError::Store(error) => store_failed(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::testing::TestDoor;

    /// The data of a page's events.
    fn data(page: &Value) -> Vec<&str> {
        page["events"].as_array().unwrap().iter().map(|event| event["data"].as_str().unwrap()).collect()
    }

    async fn door_with_five() -> TestDoor {
        let door = TestDoor::open();
        for text in ["1", "2", "3", "4", "5"] {
            door.post("/channels/a", text).await;
        }
        door
    }

    #[tokio::test]
    async fn history_is_read_forwards_page_by_page() {
        let door = door_with_five().await;
        let first = door.get("/channels/a/history?limit=2").await.json().await;
        assert_eq!(data(&first), ["1", "2"]);
        let next = first["next"].as_str().unwrap();
        let second = door.get(&format!("/history?channel=a&limit=3&since={next}")).await.json().await;
        assert_eq!(data(&second), ["3", "4", "5"]);
        assert_eq!(second["next"], Value::Null);
        assert_eq!(second["events"][0]["channel"], "a");
        assert!(second["events"][0]["time"].as_u64().unwrap() > 0);
    }

    #[tokio::test]
    async fn history_is_read_backwards_page_by_page() {
        let door = door_with_five().await;
        let first = door.get("/channels/a/history?order=desc&limit=2").await.json().await;
        assert_eq!(data(&first), ["5", "4"]);
        let next = first["next"].as_str().unwrap();
        let second = door.get(&format!("/channels/a/history?order=desc&before={next}")).await.json().await;
        assert_eq!(data(&second), ["3", "2", "1"]);
        assert_eq!(data(&door.get("/channels/a/history?since=last:2").await.json().await), ["4", "5"]);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let door = TestDoor::open();
        for (query, code) in [
            ("limit=1001", "malformed"),
            ("order=up", "malformed"),
            ("since=x", "malformed"),
            ("before=last:2", "malformed"),
            ("since=000001-00000000-0000000001", "unknown_id"),
        ] {
            let problem = door.get(&format!("/channels/a/history?{query}")).await.problem().await;
            assert_eq!(problem["code"], code, "{query}: {problem}");
        }
        assert_eq!(door.get("/history").await.status.as_u16(), 400);
    }
}
