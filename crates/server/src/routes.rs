//! The routes: which path leads to which file. An endpoint is a file with its arguments, errors and tests.

use axum::Router;
use axum::http::Uri;
use axum::routing::{MethodRouter, get, post};

use crate::door::Door;
use crate::error::{ApiError, Code};

mod audience;
pub(crate) mod channel;
pub(crate) mod channels;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod inbox;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod names;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod producer;
pub(crate) mod publish;
pub(crate) mod publish_raw;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod style;
pub(crate) mod subscribe;

/// A path with what answers there.
pub(crate) struct Route {
    /// The path, as the router takes it.
    pub(crate) path: &'static str,
    /// The methods that it answers to; all others are 405. GET brings HEAD with it, but for streams.
    #[cfg_attr(not(test), expect(dead_code, reason = "said for those who read the table; a test holds it"))]
    pub(crate) methods: &'static [&'static str],
    make: fn() -> MethodRouter<Door>,
}

const fn route(path: &'static str, methods: &'static [&'static str], make: fn() -> MethodRouter<Door>) -> Route {
    Route { path, methods, make }
}

/// The hub's interface, without the page.
pub(crate) const API: &[Route] = &[
    route("/events", &["GET"], events::route),
    route("/subscribe", &["POST"], || post(subscribe::subscribe).fallback(only_post)),
    route("/streams/{stream}", &["GET", "PATCH", "DELETE"], || {
        get(streams::read).patch(streams::change).delete(streams::end).fallback(streams::only_these)
    }),
    route("/publish", &["POST"], || post(publish::publish).fallback(only_post)),
    route("/channels", &["GET", "POST", "DELETE"], || {
        get(channels::channels).post(publish_raw::publish).delete(keys::delete).fallback(get_post_or_delete)
    }),
    route("/channels/{channel}", &["GET", "POST", "DELETE"], || {
        get(channel::channel).post(publish_raw::publish).delete(keys::delete).fallback(get_post_or_delete)
    }),
    route("/channels/{channel}/keys", &["GET"], || get(keys::read).fallback(only_get)),
    route("/keys", &["GET"], || get(keys::read).fallback(only_get)),
    route("/channels/{channel}/end", &["POST"], || post(end::end).fallback(only_post)),
    route("/channels/{channel}/reopen", &["POST"], || post(end::reopen).fallback(only_post)),
    route("/channels/{channel}/producer", &["POST"], || post(producer::producer).fallback(only_post)),
    route("/end", &["POST"], || post(end::end).fallback(only_post)),
    route("/reopen", &["POST"], || post(end::reopen).fallback(only_post)),
    route("/producer", &["POST"], || post(producer::producer).fallback(only_post)),
    route("/channels/{channel}/history", &["GET"], || get(history::history).fallback(only_get)),
    route("/inbox/{user}", &["GET", "POST", "DELETE"], || {
        get(inbox::read).post(inbox::publish).delete(inbox::empty).fallback(inbox::only_these)
    }),
    route("/inbox/{user}/ack", &["POST"], || post(inbox::acknowledge).fallback(only_post)),
    route("/history", &["GET"], || get(history::history).fallback(only_get)),
    route("/stats", &["GET"], || get(stats::stats).fallback(only_get)),
    route("/metrics", &["GET"], || get(metrics::metrics).fallback(only_get)),
    route("/health/live", &["GET"], || get(health::live).fallback(only_get)),
    route("/health/ready", &["GET"], || get(health::ready).fallback(only_get)),
    route("/openapi.json", &["GET"], || get(openapi::openapi).fallback(only_get)),
];

/// The page and what it needs.
pub(crate) const PAGE: &[Route] = &[
    route("/", &["GET"], || get(page::index).fallback(only_get)),
    route("/assets/{*path}", &["GET"], || get(page::asset).fallback(only_get)),
];

/// All routes.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    API.iter().chain(PAGE)
}

fn router(routes: &[Route]) -> Router<Door> {
    routes.iter().fold(Router::new(), |router, route| router.route(route.path, (route.make)()))
}

/// The hub's interface, without the page.
pub(crate) fn api() -> Router<Door> {
    router(API)
}

/// The page and what it needs, and an answer for paths that lead nowhere.
pub(crate) fn page() -> Router<Door> {
    router(PAGE).fallback(nowhere)
}

async fn only_get() -> ApiError {
    ApiError::method_not_allowed("GET, HEAD", "this path is read with GET")
}

async fn only_post() -> ApiError {
    ApiError::method_not_allowed("POST", "this path takes POST only")
}

async fn get_post_or_delete() -> ApiError {
    let detail = "this path is read with GET and published to with POST; DELETE deletes a key";
    ApiError::method_not_allowed("GET, HEAD, POST, DELETE", detail)
}

async fn nowhere(uri: Uri) -> ApiError {
    let advice = match uri.path().split('/').nth(1) {
        Some("channels") => {
            "a channel whose name has a `/` goes into the query: `/channels?channel=…`, `/history?channel=…`, \
             `/keys?channel=…`; in a path it is `%2F`"
        }
        Some("inbox") => "an inbox is at `/inbox/{user}` and `/inbox/{user}/ack`; a `/` in the name is `%2F`",
        Some("streams") => "a stream is at `/streams/{stream}`, by the id that its hello tells",
        _ => "listen at `GET /events?channel=…`, publish with `POST /channels/{channel}`",
    };
    ApiError::new(Code::NotFound, format!("there is nothing at {:?}; {advice}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn paths_that_lead_nowhere_name_those_that_were_probably_meant() {
        let door = TestDoor::open();
        for (path, meant) in [
            ("/channels/@system/metrics", "`/channels?channel=…`"),
            ("/channels/a/b/history", "`/history?channel=…`"),
            ("/inbox/a/b", "`/inbox/{user}`"),
            ("/inbox", "`/inbox/{user}`"),
            ("/streams", "`/streams/{stream}`"),
            ("/nowhere", "`GET /events?channel=…`"),
        ] {
            let problem = door.get(path).await.problem().await;
            assert_eq!(problem["code"], "not_found", "{path}");
            assert!(problem["detail"].as_str().unwrap().contains(meant), "{path}: {problem}");
        }
    }

    #[tokio::test]
    async fn every_route_answers_to_its_methods_and_to_no_other() {
        let door = TestDoor::open();
        for route in all() {
            let path = route.path.replace("{user}", "ada").replace("{channel}", "a").replace("{*path}", "main.js");
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let answer = door.request(method, &path, &[], "").await;
                let is_there = route.methods.contains(&method);
                assert_eq!(answer.status.as_u16() != 405, is_there, "{method} {path}: {}", answer.status);
                if !is_there {
                    assert!(route.methods.iter().all(|own| answer.header("allow").contains(own)), "{method} {path}");
                }
            }
        }
    }
}
