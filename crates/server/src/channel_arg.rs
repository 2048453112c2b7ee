//! How requests name channels: in the path, in the query, or in JSON; and what they are told when the name is none.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use fanfare_hub::user::{DEVICES_PREFIX, INBOX_PREFIX};
use fanfare_hub::{ChannelName, NameError, Pattern, is_private};

use crate::error::{ApiError, Code};
use crate::query::Query;

/// Reads a channel's name. What is a user's own has no name here.
pub(crate) fn channel(text: &str) -> Result<ChannelName, ApiError> {
    let channel = ChannelName::new(text).map_err(|error| bad_name("channel", &error))?;
    if is_private(&channel) { Err(private("channel", text)) } else { Ok(channel) }
}

/// Reads a pattern, whatever it matches.
pub(crate) fn any_pattern(text: &str) -> Result<Pattern, ApiError> {
    Pattern::new(text).map_err(|error| bad_name("pattern", &error))
}

/// Reads a pattern of what may be listened to. None of those match what is a user's own.
pub(crate) fn pattern(text: &str) -> Result<Pattern, ApiError> {
    let pattern = any_pattern(text)?;
    let of_users = [INBOX_PREFIX, DEVICES_PREFIX].map(|prefix| Pattern::new(&format!("{prefix}*")));
    if of_users.iter().flatten().any(|of_users| pattern.overlaps(of_users)) {
        return Err(private("pattern", text));
    }
    Ok(pattern)
}

/// What is said to whoever asks for a user's channels by their names.
pub(crate) fn private(field: &str, text: &str) -> ApiError {
    let detail = format!(
        "`{field}` {text:?} is of users' inboxes, which are reached by the user's name: listen with \
         `GET /events?user=…&inbox=1`, read with `GET /inbox/{{user}}`, publish with `POST /inbox/{{user}}`"
    );
    ApiError::new(Code::ReservedChannel, detail)
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
