//! `GET /stats`: what the hub is and has done, and what the door refused.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use fanfare_hub::Stats;
use serde::Serialize;

use crate::door::Door;
use crate::error::ApiError;
use crate::request::query::Query;

/// The answer: the hub's figures, and the door's own.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    version: &'static str,
    /// Seconds since the door was opened.
    uptime: f64,
    /// Requests refused since then, by the code of the problem; those that happened.
    requests_refused: BTreeMap<&'static str, u64>,
    /// The same of items of batches that were answered item by item.
    items_refused: BTreeMap<&'static str, u64>,
    /// What happened to connections since then.
    connections: BTreeMap<&'static str, u64>,
    #[serde(flatten)]
    hub: Stats,
}

/// The endpoint.
pub(crate) async fn stats(State(door): State<Door>, RawQuery(query): RawQuery) -> Result<Json<Answer>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    // Its size on disk is counted file by file.
    let hub = door.read(fanfare_hub::Hub::stats).await?;
    let mut seen = door.figures().seen();
    for counts in [&mut seen.refusals, &mut seen.items] {
        counts.retain(|_, count| *count > 0);
    }
    Ok(Json(Answer {
        version: env!("CARGO_PKG_VERSION"),
        uptime: door.uptime().as_secs_f64(),
        requests_refused: seen.refusals,
        items_refused: seen.items,
        connections: door.counts().all().into_iter().collect(),
        hub,
    }))
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn refusals_are_counted_by_code() {
        let door = TestDoor::open();
        door.post("/channels/a", "x").await;
        door.get("/channels/a?x=1").await;
        door.request("GET", "/stats", &[("host", "evil.example")], "").await;
        let stats = door.get("/stats").await.json().await;
        assert_eq!(stats["published"]["durable"], 1);
        assert_eq!(stats["requests_refused"]["malformed"], 1);
        assert_eq!(stats["requests_refused"]["wrong_host"], 1);
        assert!(stats["uptime"].as_f64().unwrap() > 0.0);
    }
}
