//! The routes: which path leads to which file. An endpoint is a file with its arguments, errors and tests.

use axum::Router;
use axum::http::Uri;
use axum::routing::{get, post};

use crate::door::Door;
use crate::error::{ApiError, Code};

pub(crate) mod channel;
pub(crate) mod channels;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod page;
pub(crate) mod publish;
pub(crate) mod publish_raw;
pub(crate) mod stats;
pub(crate) mod style;
pub(crate) mod subscribe;

/// The hub's interface, without the page.
pub(crate) fn api() -> Router<Door> {
    Router::new()
        .route("/events", events::route())
        .route("/subscribe", post(subscribe::subscribe).fallback(only_post))
        .route("/publish", post(publish::publish).fallback(only_post))
        .route("/channels", get(channels::channels).post(publish_raw::by_query).fallback(get_or_post))
        .route("/channels/{channel}", get(channel::by_path).post(publish_raw::by_path).fallback(get_or_post))
        .route("/channels/{channel}/history", get(history::by_path).fallback(only_get))
        .route("/history", get(history::by_query).fallback(only_get))
        .route("/stats", get(stats::stats).fallback(only_get))
        .route("/health/live", get(health::live).fallback(only_get))
        .route("/health/ready", get(health::ready).fallback(only_get))
}

/// The page and what it needs, and an answer for paths that lead nowhere.
pub(crate) fn page() -> Router<Door> {
    Router::new()
        .route("/", get(page::index).fallback(only_get))
        .route("/assets/{*path}", get(page::asset).fallback(only_get))
        .fallback(nowhere)
}

async fn only_get() -> ApiError {
    ApiError::method_not_allowed("GET, HEAD", "this path is read with GET")
}

async fn only_post() -> ApiError {
    ApiError::method_not_allowed("POST", "this path takes POST only")
}

async fn get_or_post() -> ApiError {
    ApiError::method_not_allowed("GET, HEAD, POST", "this path is read with GET and published to with POST")
}

async fn nowhere(uri: Uri) -> ApiError {
    let advice = "listen at `GET /events?channel=…`, publish with `POST /channels/{channel}`";
    ApiError::new(Code::NotFound, format!("there is nothing at {:?}; {advice}", uri.path()))
}
