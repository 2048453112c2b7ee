//! `GET /channels/{channel}`: a channel's state and its settings. A channel that nobody published to has one too.

use axum::Json;
use axum::extract::State;
use fanfare_hub::{ChannelInfo, ChannelName, EndInfo, EndReason, Kind, Overflow, Rule, StoreError};
use serde::Serialize;

use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::STORE_RETRY;
use crate::request::channel_arg::ChannelArg;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    channel: String,
    /// The id of the newest event kept.
    head: Option<String>,
    /// The id of the log's end; to follow from there misses nothing.
    cursor: String,
    /// The id up to which retention removed events.
    floor: Option<String>,
    events: u64,
    bytes: u64,
    /// What it holds: `events` or `state`; none as long as that isn't decided.
    kind: Option<&'static str>,
    /// How many keys a state channel has.
    keys: Option<u64>,
    /// Which producer may publish, where there is one.
    fence: Option<u64>,
    /// Where it ended, if it did, and why.
    ended: Option<EndAnswer>,
    streams: usize,
    rule: RuleAnswer,
}

#[derive(Debug, Serialize)]
struct EndAnswer {
    id: String,
    reason: EndReason,
}

#[derive(Debug, Serialize)]
struct RuleAnswer {
    pattern: String,
    durability: &'static str,
    history: HistoryAnswer,
    /// Most keys of a state channel.
    keys_max: u64,
    overflow: &'static str,
    /// Seconds.
    heartbeat: f64,
    /// Seconds.
    silence_max: Option<f64>,
    /// Seconds.
    flush: f64,
}

#[derive(Debug, Serialize)]
struct HistoryAnswer {
    count: u64,
    /// Seconds.
    age: f64,
    bytes: u64,
}

impl From<ChannelInfo> for Answer {
    fn from(info: ChannelInfo) -> Self {
        let ChannelInfo { channel, head, cursor, floor, events, bytes, kind, keys, fence, ended, streams, rule } = info;
        let kind = kind.map(Kind::as_str);
        let ended = ended.map(|EndInfo { id, reason }| EndAnswer { id, reason });
        let rule = RuleAnswer::of(&rule);
        let channel = channel.to_string();
        Self { channel, head, cursor, floor, events, bytes, kind, keys, fence, ended, streams, rule }
    }
}

impl RuleAnswer {
    fn of(rule: &Rule) -> Self {
        let history = &rule.history;
        Self {
            pattern: rule.pattern.to_string(),
            durability: rule.durability.as_str(),
            history: HistoryAnswer {
                count: history.count_max,
                age: history.age_max.as_secs_f64(),
                bytes: history.bytes_max,
            },
            keys_max: rule.keys_max,
            overflow: match rule.overflow {
                Overflow::Skip => "skip",
                Overflow::Close => "close",
                Overflow::Conflate => "conflate",
            },
            heartbeat: rule.heartbeat.as_secs_f64(),
            silence_max: rule.silence_max.map(|silence_max| silence_max.as_secs_f64()),
            flush: rule.flush.as_secs_f64(),
        }
    }
}

/// The endpoint, with the channel in the path.
pub(crate) async fn channel(State(door): State<Door>, channel: ChannelArg) -> Result<Json<Answer>, ApiError> {
    channel_info(&door, channel.one(&[])?.0).await
}

/// What there is to say about a channel.
pub(crate) async fn channel_info(door: &Door, channel: ChannelName) -> Result<Json<Answer>, ApiError> {
    let info = door.read(move |hub| hub.channel(&channel)).await?.map_err(|error| store_failed(&error))?;
    Ok(Json(info.into()))
}

/// The store's failure, as the client is told; the cause goes to the log only.
pub(crate) fn store_failed(error: &StoreError) -> ApiError {
    if matches!(error, StoreError::Reopening) {
        return ApiError::new(Code::StoreReopening, error.to_string()).retry_after(STORE_RETRY);
    }
    tracing::error!(error = error as &dyn std::error::Error, "the store could not be read");
    ApiError::new(Code::StoreFailed, "the store could not be read; the server's log says more")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_channel_tells_its_state_and_its_rule() {
        let door = TestDoor::open();
        let id = door.post("/channels/a%2Fb", "x").await.json().await["id"].clone();
        let by_path = door.get("/channels/a%2Fb").await.json().await;
        assert_eq!(by_path["head"], id);
        assert_eq!((&by_path["channel"], &by_path["events"]), (&"a/b".into(), &1.into()));
        assert_eq!(by_path["rule"]["durability"], "durable");
        assert_eq!(by_path["rule"]["overflow"], "skip");
        assert_eq!(by_path["rule"]["heartbeat"], 15.0);
        assert_eq!(door.get("/channels?channel=a/b").await.json().await, by_path);
    }

    #[tokio::test]
    async fn a_channel_tells_what_it_holds_and_who_may_publish() {
        let door = TestDoor::open();
        let told = async |channel: &str| {
            let info = door.get(&format!("/channels/{channel}")).await.json().await;
            [info["kind"].clone(), info["keys"].clone(), info["fence"].clone()]
        };
        assert_eq!(told("a").await, [Value::Null, Value::Null, Value::Null]);
        door.post("/channels/a/producer", "").await.json().await;
        assert_eq!(told("a").await, [Value::Null, Value::Null, 1.into()], "a fence decides nothing");
        door.post("/channels/a?fence=1", "x").await.json().await;
        assert_eq!(told("a").await, ["events".into(), Value::Null, 1.into()]);
        for key in ["k", "l", "k"] {
            door.post(&format!("/channels/s?key={key}"), "x").await.json().await;
        }
        assert_eq!(told("s").await, ["state".into(), 2.into(), Value::Null]);
        for key in ["k", "l"] {
            door.request("DELETE", &format!("/channels/s?key={key}"), &[], "").await.json().await;
        }
        assert_eq!(told("s").await, ["state".into(), 0.into(), Value::Null], "its deletions are remembered");
        assert_eq!(door.get("/channels/s").await.json().await["rule"]["keys_max"], 10_000);
    }

    #[tokio::test]
    async fn a_channel_that_nobody_published_to_is_empty() {
        let door = TestDoor::open();
        let info = door.get("/channels/quiet").await.json().await;
        assert_eq!((&info["events"], &info["head"]), (&0.into(), &serde_json::Value::Null));
        assert_eq!(door.get("/channels/quiet?x=1").await.status.as_u16(), 400);
    }
}
