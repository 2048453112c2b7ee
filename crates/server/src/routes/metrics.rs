//! `GET /metrics`: the figures of the hub, the door and the process, for Prometheus and those who read its form.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::metrics;
use crate::request::query::Query;

/// The endpoint.
pub(crate) async fn metrics(State(door): State<Door>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    let of = door.clone();
    // The store and the system are asked, which may block.
    let text = door.read(move |hub| metrics::text(hub, &of)).await?;
    let text = text.map_err(|_| ApiError::new(Code::Internal, "the figures could not be written"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, text).into_response())
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn figures_come_in_the_form_of_openmetrics() {
        let door = TestDoor::open();
        door.post("/channels/a", "x").await;
        let answer = door.get("/metrics").await;
        assert_eq!(answer.status.as_u16(), 200);
        assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        let text = answer.text().await;
        assert!(text.contains("\nfanfare_events_published_total{durability=\"durable\"} 1\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(door.get("/metrics?x=1").await.status.as_u16(), 400);
    }
}
