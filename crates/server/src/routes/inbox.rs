//! `/inbox/{user}`: what waits for a user. GET reads it in pages, POST publishes to it, DELETE empties it, and
//! `POST /inbox/{user}/ack` acknowledges messages. Listening is the streams' (`GET /events?user=…&inbox=1`); the words for it
//! are read here.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use fanfare_hub::limits::{BATCH_EVENTS_MAX, HISTORY_EVENTS_MAX};
use fanfare_hub::{
    AckReason, Acknowledge, ChannelName, Cursor, DeviceName, Draft, HistoryError, InboxPage, Publisher, Since,
    Subscribe, UserName,
};
use serde::{Deserialize, Serialize};

use super::audience::user;
use super::channel::store_failed;
use super::history::EventOf;
use super::publish_raw::{Answer, append_one, event, refused_append, refused_draft};
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::{ACK_BODY_BYTES_MAX, PAGE_LENGTH};
use crate::request::body::{self, NoBody};
use crate::request::json;
use crate::request::path;
use crate::request::query::Query;

/// The user that the path names: one segment, percent-decoded.
#[derive(Debug)]
pub(crate) struct UserPath(UserName);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        user("user", &path::segment(parts, state, "user").await?.unwrap_or_default()).map(Self)
    }
}

pub(super) async fn only_these() -> ApiError {
    let detail = "an inbox is read with GET, published to with POST and emptied with DELETE";
    ApiError::method_not_allowed("GET, HEAD, POST, DELETE", detail)
}

/// A page of an inbox.
#[derive(Debug, Serialize)]
struct Page<'a> {
    user: &'a str,
    /// Oldest first.
    events: Vec<EventOf<'a>>,
    /// Where the next page begins: to be given as `after`.
    next: Option<&'a str>,
    /// Messages that are not acknowledged, in all.
    unread: u64,
    /// Their bytes.
    bytes: u64,
    /// Where the log ended before they were read; to listen from there misses nothing.
    cursor: &'a str,
}

/// Reads a page of an inbox.
pub(crate) async fn read(
    State(door): State<Door>,
    UserPath(user): UserPath,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref(), &["after", "limit"])?;
    let after: Option<Cursor> = query.value("after")?;
    let limit = query.limit(PAGE_LENGTH, HISTORY_EVENTS_MAX)?;
    let of = user.clone();
    let page = door.read(move |hub| hub.inbox(&of, after, limit)).await?.map_err(|error| refused(&error))?;
    let InboxPage { entries, next, unread, bytes, cursor } = page;
    let texts: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.record.data)).collect();
    let channel = user.inbox().as_str();
    let events = entries.iter().zip(&texts).map(|(entry, text)| EventOf::of(entry, channel, text)).collect();
    let (user, next, cursor) = (user.as_str(), next.as_deref(), &*cursor);
    Ok(Json(Page { user, events, next, unread, bytes, cursor }).into_response())
}

/// Publishes a body to an inbox.
pub(crate) async fn publish(
    State(door): State<Door>,
    UserPath(user): UserPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, ApiError> {
    let query = Query::parse(query.as_deref(), &["event", "retry", "ttl"])?;
    let event = event(&door, &query, &headers, body).await?;
    let draft = Draft::to_user(&user, event, Publisher::Anyone).map_err(|error| refused_draft(&error))?;
    append_one(&door, draft).await
}

/// Which messages are acknowledged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `upto`, `ids` or `keys`")]
struct What {
    /// All up to this id.
    upto: Option<String>,
    /// Those with these ids.
    ids: Option<Vec<String>>,
    /// Those with these keys.
    keys: Option<Vec<String>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    user: String,
    /// How many messages this acknowledged.
    acknowledged: usize,
    /// How many are left.
    unread: u64,
}

/// Acknowledges messages.
pub(crate) async fn acknowledge(
    State(door): State<Door>,
    UserPath(user): UserPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    let body = body::read_json(&door, &headers, body, ACK_BODY_BYTES_MAX).await?;
    let what = what(json::read(&body)?)?;
    done(&door, user, what, AckReason::Asked).await
}

/// Acknowledges all messages.
pub(crate) async fn empty(
    State(door): State<Door>,
    UserPath(user): UserPath,
    RawQuery(query): RawQuery,
    _: NoBody,
) -> Result<Json<Done>, ApiError> {
    Query::parse(query.as_deref(), &[])?;
    done(&door, user, Acknowledge::All, AckReason::Emptied).await
}

async fn done(door: &Door, user: UserName, what: Acknowledge, reason: AckReason) -> Result<Json<Done>, ApiError> {
    let of = user.clone();
    let drafts = door.read(move |hub| hub.to_acknowledge(&of, &what)).await?.map_err(|error| refused(&error))?;
    let acknowledged = door.hub().acknowledge(drafts, reason).await.map_err(refused_append)?;
    let of = user.clone();
    let left = door.read(move |hub| hub.unread(&of)).await?.map_err(|error| store_failed(&error))?;
    Ok(Json(Done { user: user.to_string(), acknowledged, unread: left }))
}

fn what(what: What) -> Result<Acknowledge, ApiError> {
    let id = |field: &str, text: &str| -> Result<Cursor, ApiError> {
        text.parse().map_err(|_| ApiError::new(Code::UnknownId, format!("`{field}`: {text:?} is no id of this hub")))
    };
    let bounded = |field: &str, count: usize| match count {
        0..=BATCH_EVENTS_MAX => Ok(()),
        _ => Err(ApiError::new(
            Code::TooLarge,
            format!("`{field}` has {count} entries; at most {BATCH_EVENTS_MAX} are allowed"),
        )),
    };
    match what {
        What { upto: Some(upto), ids: None, keys: None } => Ok(Acknowledge::Upto(id("upto", &upto)?)),
        What { upto: None, ids: Some(ids), keys: None } => {
            bounded("ids", ids.len())?;
            Ok(Acknowledge::Ids(ids.iter().map(|text| id("ids", text)).collect::<Result<_, _>>()?))
        }
        What { upto: None, ids: None, keys: Some(keys) } => {
            bounded("keys", keys.len())?;
            Ok(Acknowledge::Keys(keys))
        }
        _ => Err(ApiError::malformed("give one of `upto`, `ids` and `keys`; to empty the inbox, DELETE it")),
    }
}

fn refused(error: &HistoryError) -> ApiError {
    match error {
        HistoryError::Unknown(_) => ApiError::new(Code::UnknownId, error.to_string()),
        HistoryError::Store(error) => store_failed(error),
    }
}

/// Whether a stream wants its user's inbox.
pub(super) fn wants_inbox(word: Option<&str>) -> Result<bool, ApiError> {
    match word {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(ApiError::malformed(format!("`inbox` is {other:?}; it takes `1`, `0`"))),
    }
}

/// Adds the inbox of a stream's user to what it follows, if that is wanted: all that isn't acknowledged, then what comes. Gives
/// the device that acknowledges by coming back, if that is wanted.
pub(super) fn follow_inbox(
    user: Option<&UserName>,
    is_wanted: bool,
    (device, ack): (Option<&str>, Option<&str>),
    channels: &mut Vec<(ChannelName, Since)>,
) -> Result<Option<DeviceName>, ApiError> {
    let device = device.map(DeviceName::new).transpose();
    let device = device.map_err(|error| ApiError::malformed(format!("`device` {error}")))?;
    let is_auto = match ack {
        None | Some("explicit") => false,
        Some("auto") => true,
        Some(other) => return Err(ApiError::malformed(format!("`ack` is {other:?}; it takes `auto`, `explicit`"))),
    };
    if !is_wanted {
        return match (device, ack) {
            (None, None) => Ok(None),
            _ => Err(ApiError::malformed("`device` and `ack` are of inboxes; give `inbox`, too")),
        };
    }
    let Some(user) = user else {
        return Err(ApiError::malformed("`inbox` is given without `user`; whose is it?"));
    };
    if is_auto && device.is_none() {
        return Err(ApiError::malformed("`ack` is `auto` and there is no `device`; give the device a name of its own"));
    }
    channels.push((user.inbox().clone(), Since::Start));
    Ok(device.filter(|_| is_auto))
}

/// A device that acknowledges by coming back is about to. What it acknowledges is gone when this returns; where the log doesn't
/// take it, the stream is opened all the same, and the device may come back from there another time. Where the hub doesn't
/// remember the device as it should, the stream is nobody's in particular.
pub(super) async fn returns(door: &Door, subscribe: &mut Subscribe) {
    let Subscribe { user: Some(user), device: Some(device), last_event_id, .. } = &*subscribe else { return };
    let (user, device, last) = (user.clone(), device.clone(), last_event_id.clone());
    let found = door.read(move |hub| hub.device_returns(&user, &device, last.as_deref())).await;
    let is_remembered = match found {
        Ok(Ok(drafts)) => {
            let is_remembered = drafts.iter().all(Draft::is_acknowledgement);
            match door.hub().acknowledge(drafts, AckReason::Cursor).await {
                Ok(_) => true,
                Err(error) => {
                    tracing::debug!(%error, "a device came back, and what that acknowledges was not taken");
                    is_remembered
                }
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a device came back, and it isn't known what that acknowledges");
            false
        }
        // The read told of it.
        Err(_) => false,
    };
    if !is_remembered {
        subscribe.device = None;
    }
}

#[cfg(test)]
mod tests;
