//! `GET /health/live` and `GET /health/ready`: whether the process answers, and whether it takes events and streams.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::door::Door;
use crate::error::{ApiError, Code};

/// Answers as long as the process can.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Answers 503 once the hub is stopping or its store failed, so that a balancer sends nobody here any more.
pub(crate) async fn ready(State(door): State<Door>) -> Result<Json<Value>, ApiError> {
    match door.hub().ready() {
        // A full disk is no reason to send listeners elsewhere.
        Ok(()) => {
            let disk = if door.hub().is_disk_full() { "full" } else { "ok" };
            Ok(Json(json!({"status": "ready", "disk": disk})))
        }
        Err(reason) => Err(ApiError::new(Code::NotReady, reason)),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn a_hub_that_stops_is_live_but_not_ready() {
        let door = TestDoor::open();
        assert_eq!(door.get("/health/ready").await.status.as_u16(), 200);
        door.hub.drain();
        assert_eq!(door.get("/health/live").await.status.as_u16(), 200);
        let answer = door.get("/health/ready").await;
        assert_eq!(answer.status.as_u16(), 503);
        assert_eq!(answer.problem().await["detail"], "the hub is stopping");
    }
}
