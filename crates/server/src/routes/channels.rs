//! `GET /channels`: the names of channels that have history, page by page; or, with `channel=`, what
//! `GET /channels/{channel}` says, for names that proxies would mangle in a path.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use fanfare_hub::user::{DEVICES_PREFIX, INBOX_PREFIX};
use fanfare_hub::{ChannelName, Hub, StoreError, is_private};
use serde::Serialize;

use super::channel::{channel_info, store_failed};
use crate::door::Door;
use crate::error::ApiError;
use crate::limits::{CHANNELS_PAGE_MAX, PAGE_LENGTH};
use crate::request::channel_arg::{only_channel, private};
use crate::request::query::Query;

/// The answer.
#[derive(Debug, Serialize)]
struct Page {
    /// In bytewise order.
    channels: Vec<String>,
    /// What to give as `after` for the next page; none where this is the last.
    next: Option<String>,
}

/// The endpoint.
pub(crate) async fn channels(State(door): State<Door>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref(), &["channel", "prefix", "after", "limit"])?;
    let listing = ["prefix", "after", "limit"].into_iter().find(|name| query.all(name).next().is_some());
    if query.all("channel").next().is_some() {
        if let Some(name) = listing {
            let detail = format!("`channel` names one channel and `{name}` lists many; give one of them");
            return Err(ApiError::malformed(detail));
        }
        return Ok(channel_info(&door, only_channel(&query)?).await?.into_response());
    }
    let prefix = query.one("prefix")?.unwrap_or_default().to_owned();
    let after = query.one("after")?.unwrap_or_default().to_owned();
    let limit = query.limit(PAGE_LENGTH, CHANNELS_PAGE_MAX)?;
    if OF_USERS.iter().any(|of_users| prefix.starts_with(of_users)) {
        return Err(private("prefix", &prefix));
    }
    // One more than asked for tells whether there is a next page.
    let names = door.read(move |hub| listed(hub, &prefix, after, limit + 1)).await?;
    let names = names.map_err(|error| store_failed(&error))?;
    let more = names.len() > limit;
    let channels: Vec<String> = names.into_iter().take(limit).map(|name| name.to_string()).collect();
    let next = channels.last().filter(|_| more).cloned();
    Ok(Json(Page { channels, next }).into_response())
}

/// What the names begin with that are left out: of channels that are users' own.
const OF_USERS: [&str; 2] = [INBOX_PREFIX, DEVICES_PREFIX];

/// Names of channels that are nobody's own.
fn listed(hub: &Hub, prefix: &str, mut after: String, limit: usize) -> Result<Vec<ChannelName>, StoreError> {
    let mut names = Vec::new();
    loop {
        let wanted = limit.saturating_sub(names.len());
        let page = hub.channels(prefix, &after, wanted)?;
        let Some(last) = page.last().filter(|_| page.len() >= wanted).map(ToString::to_string) else {
            names.extend(page.into_iter().filter(|name| !is_private(name)));
            return Ok(names);
        };
        // Over all of them at once: `0` follows `/`, and no channel is called so.
        let of_users = OF_USERS.iter().find(|of_users| last.starts_with(**of_users));
        after = of_users.map_or(last, |of_users| of_users.replace('/', "0"));
        names.extend(page.into_iter().filter(|name| !is_private(name)));
        if names.len() >= limit {
            return Ok(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn names_are_listed_page_by_page() {
        let door = TestDoor::open();
        for name in ["chat:2", "chat:1", "news", "chat:3"] {
            door.post(&format!("/channels/{name}"), "x").await;
        }
        let list = async |query: &str| door.get(&format!("/channels{query}")).await.json().await;
        assert_eq!(list("").await, json!({"channels": ["chat:1", "chat:2", "chat:3", "news"], "next": null}));
        let first = list("?prefix=chat:&limit=2").await;
        assert_eq!(first, json!({"channels": ["chat:1", "chat:2"], "next": "chat:2"}));
        let second = list("?prefix=chat:&limit=2&after=chat:2").await;
        assert_eq!(second, json!({"channels": ["chat:3"], "next": null}));
        for user in ["ada", "bob", "eve"] {
            door.post(&format!("/inbox/{user}"), "x").await;
        }
        door.post("/publish", r#"{"to": "everyone", "data": 1}"#).await;
        let some = list("?limit=2").await;
        assert_eq!(some, json!({"channels": ["@everyone", "chat:1"], "next": "chat:1"}), "nobody's inbox is told");
        assert_eq!(list("?prefix=@&limit=1").await, json!({"channels": ["@everyone"], "next": null}));
        assert_eq!(door.get("/channels?prefix=@inbox/a").await.problem().await["code"], "reserved_channel");
    }

    #[tokio::test]
    async fn one_channel_and_a_list_are_not_asked_for_at_once() {
        let door = TestDoor::open();
        for query in ["channel=a&prefix=b", "channel=a&channel=b", "limit=0", "limit=1001", "prefx=a"] {
            assert_eq!(door.get(&format!("/channels?{query}")).await.status.as_u16(), 400, "{query}");
        }
    }
}
