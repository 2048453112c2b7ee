//! `POST /channels/{channel}/producer`: a fence for a new producer. Who publishes with an older one, or with none, is refused
//! from then on: a producer that was taken for dead and comes back can't mix its events with its successor's.
//! `POST /producer?channel=…` is the same.

use axum::Json;
use axum::extract::State;
use fanfare_hub::Producer;

use super::publish_raw::refused_publish;
use crate::door::Door;
use crate::error::ApiError;
use crate::request::body::NoBody;
use crate::request::channel_arg::ChannelArg;

/// The endpoint.
pub(crate) async fn producer(
    State(door): State<Door>,
    channel: ChannelArg,
    _: NoBody,
) -> Result<Json<Producer>, ApiError> {
    let (channel, _) = channel.one(&[])?;
    door.hub().producer(channel).await.map(Json).map_err(refused_publish)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn only_the_newest_producer_publishes_ends_and_reopens() {
        let door = TestDoor::open();
        let producer = async || door.post("/channels/a/producer", "").await.json().await;
        let code = async |path, body| door.post(path, body).await.problem().await["code"].clone();
        assert_eq!(door.post("/channels/a", "free").await.status.as_u16(), 200);
        assert_eq!(producer().await, json!({"channel": "a", "fence": 1}));
        assert_eq!(code("/channels/a", "x").await, "fenced");
        let detail = async |path| door.post(path, "x").await.problem().await["detail"].to_string();
        assert!(detail("/channels/a").await.contains("`fence` is missing"));
        assert_eq!(door.post("/channels/a?fence=1", "x").await.status.as_u16(), 200);
        assert_eq!(producer().await["fence"], 2);
        assert!(detail("/channels/a?fence=1").await.contains("another producer has taken"));
        for (path, body) in [
            ("/channels/a?fence=1", "x"),
            ("/publish", r#"{"channel": "a", "data": 1, "fence": 1}"#),
            ("/publish", r#"{"channels": ["b", "a"], "data": 1}"#),
            ("/channels/a/end?fence=1", ""),
            ("/channels/a/end", ""),
            ("/channels/a/reopen", r#"{"fence": 1}"#),
        ] {
            let answer = door.post(path, body).await;
            assert_eq!(answer.status.as_u16(), 409, "{path} {body}");
            assert_eq!(answer.problem().await["code"], "fenced", "{path} {body}");
        }
        let item = r#"{"channels": ["b", "a"], "data": 1, "fence": 2}"#;
        assert_eq!(door.post("/publish", item).await.status.as_u16(), 200, "b has no producer");
        assert_eq!(door.post("/channels/a/end", r#"{"fence": 2}"#).await.status.as_u16(), 200);
        assert_eq!(code("/channels/a?fence=1", "x").await, "fenced", "it is told who it is, not that it is late");
        assert_eq!(code("/channels/a?fence=2", "x").await, "ended");
        assert_eq!(door.post("/channels/a/reopen?fence=2", "").await.status.as_u16(), 200);
        assert_eq!(door.hub.stats().refused["fenced"], 10);
    }

    #[tokio::test]
    async fn a_fence_that_was_never_given_is_malformed() {
        let door = TestDoor::open();
        door.post("/channels/a/producer", "").await.json().await;
        for path in ["/channels/a?fence=2", "/channels/b?fence=1", "/channels/a?fence=0", "/channels/b/end?fence=1"] {
            let problem = door.post(path, "").await.problem().await;
            assert_eq!(problem["code"], "malformed", "{path}");
            assert!(problem["detail"].as_str().unwrap().contains("`fence`"), "{path}: {problem}");
        }
        let problem = door.post("/channels/@everyone/producer", "").await.problem().await;
        assert_eq!(problem["code"], "reserved_channel");
    }
}
