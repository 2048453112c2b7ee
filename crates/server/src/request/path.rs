//! Segments of paths that name something: a channel, a user, a stream. What they name, the routes know.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::error::{ApiError, Code};

/// The segment of that name, percent-decoded, where the route's path has one.
pub(crate) async fn segment<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let detail = || format!("the {name} in the path is not valid UTF-8 once decoded");
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| ApiError::new(Code::NotUtf8, detail()))?;
    Ok(params.iter().find(|(own, _)| *own == name).map(|(_, segment)| segment.to_owned()))
}
