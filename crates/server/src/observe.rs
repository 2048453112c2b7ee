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
    let began = door.uptime();
    let answer = next.run(request).await;
    let took = door.uptime().saturating_sub(began);
    door.figures().answered(route.as_ref().map(MatchedPath::as_str), answer.status(), took);
    let status = answer.status().as_u16();
    let code = answer.extensions().get().map(|Refused(code)| code.as_str());
    let took_ms = took.as_secs_f64() * 1e3;
    // The path only: the query may carry what is nobody's business.
    tracing::debug!(target: "fanfare::request", %method, path = uri.path(), status, code, took_ms, "request");
    answer
}
