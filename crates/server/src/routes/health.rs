//! `GET /health/live` and `GET /health/ready`: whether the process answers, and whether it takes events and streams.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::door::Door;
use crate::error::{ApiError, Code};

/// Answers as long as the process can.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Answers 503 once the hub is stopping or something that it needs has ended, so that a balancer sends nobody here any more.
/// What was looked at, and what is wrong, stands in the answer either way.
pub(crate) async fn ready(State(door): State<Door>) -> Response {
    let checks = door.hub().checks();
    let wrong: Vec<&str> = checks.iter().filter(|check| check.is_essential).filter_map(|check| check.problem).collect();
    let checks: Map<String, Value> =
        checks.iter().map(|check| (check.name.to_owned(), check.problem.unwrap_or("ok").into())).collect();
    if wrong.is_empty() {
        return Json(json!({"status": "ready", "checks": checks})).into_response();
    }
    let error = ApiError::new(Code::NotReady, wrong.join("; "));
    // A struct of strings and numbers always serialises; problems may have members of their own (RFC 9457 section 3.2).
    let mut problem = serde_json::to_value(&error).unwrap_or_default();
    if let Some(problem) = problem.as_object_mut() {
        problem.insert("checks".into(), checks.into());
    }
    error.into_response().map(|_| problem.to_string().into())
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
        let problem = answer.problem().await;
        assert_eq!((&problem["code"], &problem["detail"]), (&"not_ready".into(), &"the hub is stopping".into()));
        assert_eq!(
            (&problem["checks"]["draining"], &problem["checks"]["log"]),
            (&"the hub is stopping".into(), &"ok".into())
        );
    }

    #[tokio::test]
    async fn a_hub_that_is_ready_says_what_was_looked_at() {
        let answer = TestDoor::open().get("/health/ready").await.json().await;
        assert_eq!(answer["status"], "ready");
        for check in ["draining", "store", "log", "shards", "disk"] {
            assert_eq!(answer["checks"][check], "ok", "{answer}");
        }
    }
}
