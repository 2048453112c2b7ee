//! `POST /channels/{channel}/end`: ends a channel, for good or until `POST /channels/{channel}/reopen`. The end is an event
//! of the channel, so the answer is a receipt. `POST /end?channel=…` and `POST /reopen?channel=…` are the same for names that
//! proxies would mangle in a path.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use fanfare_hub::{Draft, EndReason, Publisher};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::publish_raw::{Answer, append_one, fence, refused_draft};
use crate::door::Door;
use crate::error::ApiError;
use crate::limits::RAW_BODY_BYTES_MAX;
use crate::request::body;
use crate::request::channel_arg::ChannelArg;
use crate::request::json;
use crate::request::query::Query;

/// The body of an end. Without one the channel is done.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `reason`")]
struct End<'a> {
    reason: Option<EndReason>,
    /// Any JSON, to be kept byte for byte.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    fence: Option<u64>,
}

/// The body of a reopening.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object, if anything")]
struct Reopen {
    fence: Option<u64>,
}

/// Ends a channel.
pub(crate) async fn end(
    State(door): State<Door>,
    channel: ChannelArg,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (channel, query) = channel.one(&["fence"])?;
    let body = body::read_json(&door, &headers, body, RAW_BODY_BYTES_MAX).await?;
    let end: End<'_> = json::read_if_any(&body)?;
    let reason = end.reason.unwrap_or(EndReason::Done);
    let draft = Draft::ending(&channel, reason, end.data, Publisher::Anyone).map_err(|error| refused_draft(&error))?;
    append_one(&door, fenced(draft, &query, end.fence)?).await
}

/// Opens a channel again.
pub(crate) async fn reopen(
    State(door): State<Door>,
    channel: ChannelArg,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let (channel, query) = channel.one(&["fence"])?;
    let body = body::read_json(&door, &headers, body, RAW_BODY_BYTES_MAX).await?;
    let reopen: Reopen = json::read_if_any(&body)?;
    let draft = Draft::reopening(&channel, Publisher::Anyone).map_err(|error| refused_draft(&error))?;
    append_one(&door, fenced(draft, &query, reopen.fence)?).await
}

/// The draft with the fence that query or body name.
fn fenced(draft: Draft, query: &Query, of_body: Option<u64>) -> Result<Draft, ApiError> {
    let of_query = query.whole("fence")?;
    if let (Some(one), Some(other)) = (of_query, of_body)
        && one != other
    {
        return Err(ApiError::malformed("`fence` in the query and in the body differ"));
    }
    fence(draft, of_query.or(of_body))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn an_end_is_the_channels_last_event_until_it_is_reopened() {
        let door = TestDoor::open();
        assert_eq!(door.get("/channels/a").await.json().await["ended"], Value::Null);
        door.post("/channels/a", "x").await.json().await;
        let end = door.post("/channels/a/end", r#"{"reason": "failed", "data": {"n": 1.10}}"#).await.json().await;
        assert_eq!((&end["channel"], &end["durability"]), (&"a".into(), &"durable".into()));
        let info = door.get("/channels/a").await.json().await;
        assert_eq!(info["ended"], json!({"id": end["id"], "reason": "failed"}));
        let page = door.get("/channels/a/history").await.text().await;
        let event = r#""event":"fanfare.end","data":{"channel":"a","reason":"failed","data":{"n": 1.10}}"#;
        assert!(page.contains(event), "{page}");
        for body in ["y", ""] {
            assert_eq!(door.post("/channels/a", body).await.problem().await["code"], "ended");
        }
        assert_eq!(door.post("/channels/a/reopen", "").await.json().await["duplicate"], false);
        assert_eq!(door.get("/channels/a").await.json().await["ended"], Value::Null);
        assert_eq!(door.post("/channels/a", "y").await.status.as_u16(), 200);
        assert_eq!(door.get("/channels/a").await.json().await["events"], 4);
    }

    #[tokio::test]
    async fn the_same_end_again_has_the_same_receipt_and_another_is_refused() {
        let door = TestDoor::open();
        let first = door.post("/channels/a/end", "").await.json().await;
        let again = door.post("/channels/a/end", r#"{"reason": "done", "data": 7}"#).await.json().await;
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &true.into()));
        let other = door.post("/channels/a/end", r#"{"reason": "aborted"}"#).await;
        assert_eq!(other.status.as_u16(), 409);
        assert_eq!(other.problem().await["code"], "ended");
        door.post("/channels/a/reopen", "{}").await.json().await;
        let open = door.post("/channels/a/reopen", "").await.json().await;
        assert_eq!((&open["id"], &open["duplicate"]), (&Value::Null, &true.into()));
        assert_eq!(door.get("/channels/a").await.json().await["events"], 2);
    }

    #[tokio::test]
    async fn a_channel_is_ended_and_reopened_and_gets_fences_by_the_query_and_by_an_encoded_path() {
        let door = TestDoor::open();
        let code = async |path, body| door.post(path, body).await.problem().await["code"].clone();
        let paths = ["/producer?channel=a%2F..%2Fb", "/end?channel=a/../b", "/reopen?channel=a/../b"];
        let encoded = ["/channels/a%2F..%2Fb/producer", "/channels/a%2F..%2Fb/end", "/channels/a%2F..%2Fb/reopen"];
        for (fence, [producer, end, reopen]) in [(1, paths), (2, encoded)] {
            let given = door.post(producer, "").await.json().await;
            assert_eq!(given, json!({"channel": "a/../b", "fence": fence}), "{producer}");
            assert_eq!(code(end, "").await, "fenced", "{end}");
            let body = format!(r#"{{"fence": {fence}}}"#);
            assert_eq!(door.post(end, &body).await.json().await["channel"], "a/../b", "{end}");
            let info = door.get("/channels?channel=a/../b").await.json().await;
            assert_eq!(info["ended"]["reason"], "done", "{end}");
            assert_eq!(door.post(reopen, &body).await.json().await["duplicate"], false, "{reopen}");
        }
    }

    #[tokio::test]
    async fn an_ended_channel_refuses_items_atomic_batches_and_events_of_several_channels() {
        let door = TestDoor::open();
        let key = [("idempotency-key", "k")];
        let first = door.request("POST", "/channels/a", &key, "x").await.json().await;
        door.post("/channels/a/end", "").await.json().await;
        let batch =
            r#"[{"channel": "b", "data": 1}, {"channel": "a", "data": 2}, {"channels": ["b", "a"], "data": 3}]"#;
        let results = door.post("/publish", batch).await.json().await["results"].clone();
        assert_eq!(results[0]["channel"], "b");
        for item in [1, 2] {
            assert_eq!((&results[item]["code"], &results[item]["item"]), (&"ended".into(), &item.into()));
        }
        let whole = door.post("/publish?atomic=1", batch).await.problem().await;
        assert_eq!((&whole["code"], &whole["item"]), (&"ended".into(), &1.into()));
        assert_eq!(door.get("/channels/b").await.json().await["events"], 1);
        let again = door.request("POST", "/channels/a", &key, "x").await.json().await;
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &true.into()), "it was published before");
        assert_eq!(door.hub.stats().refused["ended"], 3);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let door = TestDoor::open();
        for (path, body, code, named) in [
            (
                "/channels/a/end",
                r#"{"reason": "over"}"#,
                "malformed",
                "`reason` is \"over\"; it takes `done`, `failed`, `aborted`",
            ),
            ("/channels/a/end", r#"{"why": "done"}"#, "malformed", "`why`"),
            ("/channels/a/end", "done", "bad_json", "not JSON"),
            ("/channels/a/end?fence=x", "", "malformed", "`fence`"),
            ("/channels/a/end?fence=1", r#"{"fence": 2}"#, "malformed", "differ"),
            ("/channels/a/reopen", r#"{"reason": "done"}"#, "malformed", "`reason`"),
            ("/channels/@everyone/end", "", "reserved_channel", "@everyone"),
            ("/end", "", "malformed", "`channel`"),
            ("/reopen?channel=a&channel=b", "", "malformed", "`channel`"),
            ("/channels/a/end?channel=a", "", "malformed", "`channel`"),
        ] {
            let problem = door.post(path, body).await.problem().await;
            assert_eq!(problem["code"], code, "{path} {body}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(named), "{path} {body}: {problem}");
        }
    }
}
