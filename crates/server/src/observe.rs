//! The outermost of what a request passes: it sees every answer, measures how long it took, and says so in the log.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::door::Door;
use crate::error::Refused;

/// The middleware.
pub(crate) async fn observe(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let began = door.uptime();
    let span = door.traces().begin(&method, route, request.headers(), began);
    let answer = next.run(request).await;
    let took = door.uptime().saturating_sub(began);
    door.figures().answered(route, answer.status(), took);
    let status = answer.status().as_u16();
    let code = answer.extensions().get().map(|Refused(code)| code.as_str());
    span.end(&answer, took);
    let took_ms = took.as_secs_f64() * 1e3;
    // The path only: the query may carry what is nobody's business.
    tracing::debug!(target: "fanfare::request", %method, path = uri.path(), status, code, took_ms, "request");
    answer
}

#[cfg(test)]
mod tests {
    use crate::config::LogFormat;
    use crate::testing::{Captured, TestDoor};

    /// Method, target and headers.
    type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    /// Everything that is logged, at any level, while these are asked for.
    async fn logged(asked: &[Asked<'_>]) -> Captured {
        let captured = Captured::default();
        let _guard = tracing::subscriber::set_default(captured.subscriber(LogFormat::Json, "trace"));
        let door = TestDoor::open();
        for (method, path, headers) in asked {
            door.request(method, path, headers, "SECRET-BODY").await;
        }
        captured
    }

    #[tokio::test]
    async fn a_request_has_a_line_with_its_path_status_and_code() {
        let captured = logged(&[("GET", "/channels/a%0Ab?limit=x", &[]), ("POST", "/channels/a", &[])]).await;
        let lines = captured.lines();
        let requests: Vec<_> = lines.iter().filter(|line| line["target"] == "fanfare::request").collect();
        assert_eq!(requests.len(), 2, "{}", captured.text());
        assert_eq!((&requests[0]["status"], &requests[0]["code"]), (&400.into(), &"bad_channel".into()));
        assert_eq!((&requests[0]["method"], &requests[0]["path"]), (&"GET".into(), &"/channels/a%0Ab".into()));
        assert!(requests[1].get("code").is_none() && requests[1]["took_ms"].is_number());
    }

    #[tokio::test]
    async fn queries_headers_and_bodies_are_never_logged() {
        let headers = &[
            ("authorization", "Bearer SECRET-TOKEN"),
            ("cookie", "session=SECRET-COOKIE"),
            ("last-event-id", "SECRET-ID"),
            ("idempotency-key", "SECRET-KEY"),
            ("origin", "https://SECRET-ORIGIN.example"),
        ][..];
        let (known, query) = (&headers[..4], "/events?errors=status&token=SECRET-QUERY&since=SECRET-SINCE");
        let captured = logged(&[
            ("GET", query, known),
            ("GET", "/events?lastEventId=SECRET-ID", known),
            ("POST", "/channels/a?event=SECRET-EVENT", known),
            ("POST", "/publish?token=SECRET-QUERY", known),
            ("POST", "/subscribe", known),
            ("GET", "/nowhere?token=SECRET-QUERY", headers),
            ("BREW", "/stats?token=SECRET-QUERY", known),
        ])
        .await;
        assert!(captured.lines().iter().filter(|line| line["target"] == "fanfare::request").count() == 7);
        assert!(!captured.text().contains("SECRET"), "{}", captured.text());
    }
}
