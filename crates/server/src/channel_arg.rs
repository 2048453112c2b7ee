//! How requests name channels: in the path, in the query, or in JSON; and what they are told when the name is none.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use fanfare_hub::{ChannelName, NameError, Pattern};

use crate::error::{ApiError, Code};
use crate::query::Query;

/// Reads a channel's name.
pub(crate) fn channel(text: &str) -> Result<ChannelName, ApiError> {
    ChannelName::new(text).map_err(|error| bad_name("channel", &error))
}

/// Reads a pattern.
pub(crate) fn pattern(text: &str) -> Result<Pattern, ApiError> {
    Pattern::new(text).map_err(|error| bad_name("pattern", &error))
}

fn bad_name(field: &str, error: &NameError) -> ApiError {
    ApiError::new(Code::BadChannel, format!("`{field}` {error}"))
}

/// The one channel that a query names.
pub(crate) fn only_channel(query: &Query) -> Result<ChannelName, ApiError> {
    let text = query.one("channel")?.ok_or_else(|| ApiError::malformed("query parameter `channel` is missing"))?;
    channel(text)
}

/// The channel that the path names: one segment, percent-decoded.
#[derive(Debug)]
pub(crate) struct ChannelPath(pub(crate) ChannelName);

impl<S: Send + Sync> FromRequestParts<S> for ChannelPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let not_utf8 = |_| ApiError::new(Code::NotUtf8, "the channel in the path is not valid UTF-8 once decoded");
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(not_utf8)?;
        let segment = params.iter().find(|(name, _)| *name == "channel").map(|(_, segment)| segment);
        channel(segment.unwrap_or_default()).map(Self)
    }
}
