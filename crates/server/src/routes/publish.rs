//! `POST /publish`: events in JSON: one, an array, or one per line (NDJSON).
//!
//! One event is answered with its receipt or its problem. A batch is answered per item, in order: what is good is
//! published, what isn't is refused. With `?atomic=1` it is all or nothing.

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fanfare_hub::limits::{BATCH_CHANNELS_MAX, BATCH_EVENTS_MAX, BATCH_PATTERNS_MAX};
use fanfare_hub::{AppendError, ChannelName, Draft, Event, Publisher, Receipt, event};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::audience::{Except, Patterns, To, user};
use super::publish_raw::{Answer, append_one, fence, idempotency_key, refused_append, refused_draft, refused_publish};
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::PUBLISH_BODY_BYTES_MAX;
use crate::request::body;
use crate::request::channel_arg::{channel, channel_at};
use crate::request::duration;
use crate::request::json;
use crate::request::query::Query;
use crate::traces::Published;

/// One event in a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `channel` and `data`")]
struct Item<'a> {
    channel: Option<String>,
    channels: Option<Vec<String>>,
    to: Option<To>,
    /// Whose inbox it goes to.
    user: Option<String>,
    except: Option<Except>,
    event: Option<String>,
    /// Any JSON, to be kept byte for byte; `null` is a value too.
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    /// Milliseconds.
    retry: Option<u64>,
    idempotency_key: Option<String>,
    ttl: Option<Ttl>,
    fence: Option<u64>,
    /// What it is the value of.
    key: Option<String>,
    /// Whether the key is deleted.
    #[serde(default)]
    delete: bool,
}

/// Seconds, or a text such as `5m`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`ttl` takes seconds or a duration such as \"5m\"")]
enum Ttl {
    Seconds(serde_json::Number),
    Text(String),
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What becomes of one item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(Receipt),
    Refused(ApiError),
}

impl Outcome {
    fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Published(receipt) => Some(receipt),
            Self::Refused(_) => None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Results {
    results: Vec<Outcome>,
}

/// The endpoint.
pub(crate) async fn publish(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref(), &["atomic"])?;
    let atomic = match query.one("atomic")? {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(other) => return Err(ApiError::malformed(format!("`atomic` is {other:?}; it takes 1 or 0"))),
    };
    let essence = body::essence(&headers);
    let lines = matches!(essence.as_str(), "application/x-ndjson" | "application/ndjson");
    if !lines {
        body::expect_json(&essence)?;
    }
    let key = idempotency_key(&headers)?;
    let body = body::read(&door, &headers, body, PUBLISH_BODY_BYTES_MAX).await?;
    if !lines && body.trim_ascii_start().first() != Some(&b'[') {
        return one(&door, &body, key).await.map(IntoResponse::into_response);
    }
    if key.is_some() {
        let detail = "header `Idempotency-Key` is for one event; in a batch each item has its own `idempotency_key`";
        return Err(ApiError::malformed(detail));
    }
    let drafts = drafts(&door, &body, lines)?;
    let asked = door.uptime();
    let results = if atomic { all_or_nothing(&door, drafts).await? } else { each(&door, drafts).await? };
    let published = Published::now(&door, asked, results.iter().filter_map(Outcome::receipt));
    Ok((published, Json(Results { results })).into_response())
}

/// Publishes the one event of a body.
async fn one(door: &Door, body: &Bytes, key: Option<String>) -> Result<Answer, ApiError> {
    let mut item: Item<'_> = json::read(body).map_err(|error| of_lines(error, body))?;
    match (&item.idempotency_key, key) {
        (Some(own), Some(key)) if *own != key => {
            return Err(ApiError::malformed("`idempotency_key` and header `Idempotency-Key` differ"));
        }
        (_, Some(key)) => item.idempotency_key = Some(key),
        (_, None) => {}
    }
    append_one(door, draft(door, &mut Patterns::default(), item)?).await
}

/// A refusal for whoever sends lines without saying so: with how to say it.
fn of_lines(refusal: ApiError, body: &[u8]) -> ApiError {
    let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    if refusal.code() != Code::BadJson || !lines.next().is_some_and(json::is_json) || lines.next().is_none() {
        return refusal;
    }
    let advice = "several events, one per line, go with `Content-Type: application/x-ndjson`";
    ApiError::new(refusal.code(), format!("{}; {advice}", refusal.detail()))
}

/// The drafts of a batch, or why there is none.
fn drafts(door: &Door, body: &[u8], lines: bool) -> Result<Vec<Result<Draft, ApiError>>, ApiError> {
    let items: Vec<&[u8]> = if lines {
        body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
    } else {
        json::read::<Vec<&RawValue>>(body)?.into_iter().map(|item| item.get().as_bytes()).collect()
    };
    if items.len() > BATCH_EVENTS_MAX {
        let detail = format!("the batch has {} events; at most {BATCH_EVENTS_MAX} are allowed", items.len());
        return Err(ApiError::new(Code::TooLarge, detail));
    }
    let (mut patterns, mut channels) = (Patterns::default(), 0);
    let mut drafts = Vec::with_capacity(items.len());
    for item in items {
        let draft = json::read(item).and_then(|item| draft(door, &mut patterns, item));
        channels += draft.as_ref().map_or(0, Draft::channel_count);
        // Looked at for each, so that nothing beyond it is ever held.
        if channels > BATCH_CHANNELS_MAX || patterns.count() > BATCH_PATTERNS_MAX {
            let most = format!("{BATCH_CHANNELS_MAX} channels together, by at most {BATCH_PATTERNS_MAX} patterns");
            let detail = format!("the events of the batch may have at most {most}; publish them in several batches");
            return Err(ApiError::new(Code::TooLarge, detail));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// The draft that an item describes.
fn draft(door: &Door, patterns: &mut Patterns, item: Item<'_>) -> Result<Draft, ApiError> {
    let user = item.user.as_deref().map(|name| user("user", name)).transpose()?;
    if user.is_some() && (item.channel.is_some() || item.channels.is_some() || item.to.is_some()) {
        return Err(ApiError::malformed("`user` is given beside `channel`, `channels` or `to`; give one"));
    }
    if item.to.is_some() && item.fence.is_some() {
        return Err(ApiError::malformed("`fence` is given beside `to`; a fence is one channel's own"));
    }
    let channels: Vec<ChannelName> = match (item.channel, item.channels, &item.to) {
        (Some(name), None, None) => vec![channel(&name)?],
        (None, Some(names), None) => {
            let entries = names.iter().enumerate();
            entries.map(|(at, name)| channel_at(&format!("channels[{at}]"), name)).collect::<Result<_, _>>()?
        }
        (None, None, Some(_)) => Vec::new(),
        (None, None, None) if user.is_some() => Vec::new(),
        (None, None, None) => {
            let detail = "nobody is named to publish to; it takes `channel`, `channels`, `to` or `user`";
            return Err(ApiError::malformed(detail));
        }
        (Some(_), Some(_), _) => return Err(ApiError::malformed("`channel` and `channels` are both given; give one")),
        (_, _, Some(_)) => return Err(ApiError::malformed("`to` is given beside `channel` or `channels`; give one")),
    };
    let mut event = match (item.key, item.delete, item.data) {
        (Some(key), true, None) if item.event.is_none() && item.ttl.is_none() => Event::deletion(key),
        (_, true, _) => {
            return Err(ApiError::malformed("`delete` goes with `key`, and with neither `data`, `event` nor `ttl`"));
        }
        (_, false, None) => {
            return Err(ApiError::malformed("`data` is missing; it takes any JSON, or a string"));
        }
        (Some(key), false, Some(data)) => payload(data)?.keyed(key),
        (None, false, Some(data)) => payload(data)?,
    };
    if let Some(name) = item.event {
        event = event.named(name);
    }
    if let Some(retry) = item.retry {
        event = event.retry(std::time::Duration::from_millis(retry));
    }
    if let Some(ttl) = item.ttl {
        event = event.ttl(match ttl {
            Ttl::Seconds(seconds) => duration::ttl(&seconds.to_string())?,
            Ttl::Text(text) => duration::ttl(&text)?,
        });
    }
    if let Some(key) = item.idempotency_key {
        event = event.idempotency_key(key);
    }
    let draft = match (item.to, &user) {
        (None, Some(user)) => Draft::to_user(user, event, Publisher::Anyone).map_err(|error| refused_draft(&error))?,
        (None, None) => Draft::new(channels, event, Publisher::Anyone).map_err(|error| refused_draft(&error))?,
        (Some(to), _) => to.draft(door, patterns, event, Publisher::Anyone)?,
    };
    let draft = match item.except {
        None => draft,
        Some(except) => except.of(draft, user.as_ref())?,
    };
    fence(draft, item.fence)
}

/// A string is text; anything else is JSON, as it was written.
fn payload(data: &RawValue) -> Result<Event, ApiError> {
    let json = data.get();
    if !json.starts_with('"') {
        return Ok(Event::text(json.to_owned()).typed(event::JSON));
    }
    let text: Result<String, _> = serde_json::from_str(json);
    text.map(Event::text).map_err(|error| ApiError::new(Code::BadJson, format!("`data` is no valid string: {error}")))
}

/// Publishes what is good, in order, and says for each item what became of it.
async fn each(door: &Door, drafts: Vec<Result<Draft, ApiError>>) -> Result<Vec<Outcome>, ApiError> {
    let mut good = Vec::with_capacity(drafts.len());
    let mut refusals = Vec::with_capacity(drafts.len());
    for draft in drafts {
        match draft {
            Ok(draft) => {
                good.push(draft);
                refusals.push(None);
            }
            Err(error) => refusals.push(Some(error)),
        }
    }
    let mut published = append(door, good, false).await?.into_iter();
    let outcome = |(item, refusal): (usize, Option<ApiError>)| {
        let result = match refusal {
            Some(error) => Err(error),
            None => published.next().unwrap_or(Err(AppendError::Closed)).map_err(refused_append),
        };
        result.map_or_else(
            |error| {
                door.figures().item_refused(error.code());
                Outcome::Refused(error.of_item(item))
            },
            Outcome::Published,
        )
    };
    Ok(refusals.into_iter().enumerate().map(outcome).collect())
}

/// Publishes all, or none and says which item is the first that is wrong.
async fn all_or_nothing(door: &Door, drafts: Vec<Result<Draft, ApiError>>) -> Result<Vec<Outcome>, ApiError> {
    let checked = drafts.into_iter().enumerate();
    let good = checked.map(|(item, draft)| draft.map_err(|e| e.of_item(item))).collect::<Result<Vec<_>, _>>()?;
    let published = append(door, good, true).await?;
    let refusal = published.iter().enumerate().find_map(|(item, result)| match result {
        // This one only says that another one was refused.
        Ok(_) | Err(AppendError::Batch(_)) => None,
        // It is no item's fault.
        Err(error @ AppendError::DiskFull) => Some(refused_append(*error)),
        Err(error) => Some(refused_append(*error).of_item(item)),
    });
    match refusal {
        Some(error) => Err(error),
        None => Ok(published.into_iter().flatten().map(Outcome::Published).collect()),
    }
}

async fn append(door: &Door, drafts: Vec<Draft>, atomic: bool) -> Result<Vec<Result<Receipt, AppendError>>, ApiError> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    door.hub().publish_all(drafts, atomic).await.map_err(refused_publish)
}

#[cfg(test)]
mod tests;
