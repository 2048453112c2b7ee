//! How requests name channels: in the path, in the query, or in JSON; and what they are told when the name is none.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use fanfare_hub::user::{DEVICES_PREFIX, INBOX_PREFIX};
use fanfare_hub::{ChannelName, NameError, Pattern, is_private};

use crate::error::{ApiError, Code};
use crate::request::path;
use crate::request::query::Query;

/// Reads a channel's name. What is a user's own has no name here.
pub(crate) fn channel(text: &str) -> Result<ChannelName, ApiError> {
    channel_at("channel", text)
}

/// The same of a name that stands at `place` in a body.
pub(crate) fn channel_at(place: &str, text: &str) -> Result<ChannelName, ApiError> {
    let channel = ChannelName::new(text).map_err(|error| bad_name(place, &error))?;
    if is_private(&channel) { Err(private(place, text)) } else { Ok(channel) }
}

/// Reads a pattern, whatever it matches.
pub(crate) fn any_pattern(text: &str) -> Result<Pattern, ApiError> {
    any_pattern_at("pattern", text)
}

fn any_pattern_at(place: &str, text: &str) -> Result<Pattern, ApiError> {
    Pattern::new(text).map_err(|error| bad_name(place, &error))
}

/// Reads a pattern of what may be listened to. None of those match what is a user's own.
pub(crate) fn pattern(text: &str) -> Result<Pattern, ApiError> {
    pattern_at("pattern", text)
}

/// The same of a pattern that stands at `place` in a body.
pub(crate) fn pattern_at(place: &str, text: &str) -> Result<Pattern, ApiError> {
    let pattern = any_pattern_at(place, text)?;
    let of_users = [INBOX_PREFIX, DEVICES_PREFIX].map(|prefix| Pattern::new(&format!("{prefix}*")));
    if of_users.iter().flatten().any(|of_users| pattern.overlaps(of_users)) {
        return Err(private(place, text));
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

/// Where a request names its channel: in the path or, where the path names none, in the query.
#[derive(Debug)]
pub(crate) struct ChannelArg {
    in_path: Option<ChannelName>,
    query: Option<String>,
}

impl ChannelArg {
    /// The one channel, and the query, in which beside the channel only what is `known` may be.
    pub(crate) fn one(self, known: &[&str]) -> Result<(ChannelName, Query), ApiError> {
        let (in_path, query) = self.read(known)?;
        let channel = in_path.map_or_else(|| only_channel(&query), Ok)?;
        Ok((channel, query))
    }

    /// The channel in the path, or all those in the query, be they none; and the query.
    pub(crate) fn all(self, known: &[&str]) -> Result<(Vec<ChannelName>, Query), ApiError> {
        let (in_path, query) = self.read(known)?;
        let channels = match in_path {
            Some(in_path) => vec![in_path],
            None => query.all("channel").map(channel).collect::<Result<_, _>>()?,
        };
        Ok((channels, query))
    }

    fn read(self, known: &[&str]) -> Result<(Option<ChannelName>, Query), ApiError> {
        let Self { in_path, query } = self;
        let named: &[&str] = if in_path.is_some() { &[] } else { &["channel"] };
        Ok((in_path, Query::parse(query.as_deref(), &[named, known].concat())?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ChannelArg {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let in_path = path::segment(parts, state, "channel").await?.map(|text| channel(&text)).transpose()?;
        Ok(Self { in_path, query: parts.uri.query().map(str::to_owned) })
    }
}

/// The one channel that a query names.
pub(crate) fn only_channel(query: &Query) -> Result<ChannelName, ApiError> {
    let text = query.one("channel")?.ok_or_else(|| ApiError::malformed("query parameter `channel` is missing"))?;
    channel(text)
}
