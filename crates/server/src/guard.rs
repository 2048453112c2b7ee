//! The guard: the first to see a request and the last to see its answer. It decides who is let in at all, by `Host`
//! against foreign names that were pointed at this machine (DNS rebinding), and by `Origin` against pages of other sites;
//! it answers preflights, and gives every answer, errors too, the headers that browsers want.
//!
//! It knows nothing of users: what an identified client may do is asked further in.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::host::{Authority, Host, Origin};
use crate::door::{Door, DoorConfig};
use crate::error::{ApiError, Code, Refused};
use crate::limits::{HEAD_BYTES_MAX, PREFLIGHT_AGE, URL_BYTES_MAX};

pub(crate) mod host;

/// Also those that no path has yet: a page then reads the 405, which a refused preflight would hide from it.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Cache-Control, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, \
     Traceparent, Tracestate, X-Request-Id",
);
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("Allow, ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id");

/// A page that the public web served asks whether it may reach a server in a private network (a draft, "Private Network
/// Access"; Chromium asked so for some versions, and others may).
const ASKS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Where a request comes from, as far as browsers say it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    /// Not from a page, or from one that need not say so.
    Nobody,
    /// From a page that may: its origin, to be echoed.
    Friend(HeaderValue),
    /// From a page of another site.
    Foreigner,
}

/// The middleware.
pub(crate) async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let config = door.config();
    let host = check_size(&uri, request.headers()).and_then(|()| host_of(&uri, request.headers()));
    let from = origin_of(request.headers(), host.as_ref().ok(), &config);
    let answer = match host.and_then(|host| admit(&host, &from, uri.path(), &config)) {
        Err(error) => error.into_response(),
        Ok(()) if is_preflight(&method, request.headers()) => preflight(request.headers()),
        Ok(()) => next.run(request).await,
    };
    if let Some(Refused(code)) = answer.extensions().get() {
        door.figures().refused(*code);
    }
    finish(answer, from)
}

fn check_size(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if bytes > URL_BYTES_MAX {
        let detail = format!("path and query have {bytes} bytes; at most {URL_BYTES_MAX} are allowed");
        return Err(ApiError::new(Code::UrlTooLong, detail + ". Long lists of channels go to `POST /subscribe`"));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEAD_BYTES_MAX {
        let detail = format!("the headers have {bytes} bytes; at most {HEAD_BYTES_MAX} are allowed");
        return Err(ApiError::new(Code::HeadersTooLarge, detail));
    }
    Ok(())
}

/// Who the client means by us: the target's authority where there is one (RFC 9112 section 3.2.2), otherwise `Host`.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ApiError::malformed("header `Host` is given twice"));
    }
    let text = match (uri.authority(), first) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().unwrap_or_default(),
        (None, None) => return Err(ApiError::malformed("header `Host` is missing")),
    };
    Authority::parse(text).ok_or_else(|| ApiError::malformed(format!("header `Host` is {text:?}, which is no host")))
}

/// Where the request comes from.
fn origin_of(headers: &HeaderMap, host: Option<&Authority>, config: &DoorConfig) -> From {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(value) = origins.next() else { return From::Nobody };
    let text = value.to_str().unwrap_or_default();
    let is_allowed = config.allow_origins.iter().any(|allowed| allowed == text);
    // A developer's pages may use a developer's hub. A hub with a name may be any user's, who may have anything on loopback.
    let is_near = Origin::parse(text)
        .zip(host)
        .is_some_and(|(origin, host)| (origin.host.is_loopback() && host.host.is_loopback()) || origin.is_same(host));
    if origins.next().is_none() && (is_allowed || is_near) { From::Friend(value.clone()) } else { From::Foreigner }
}

/// Whether the request is let in.
fn admit(host: &Authority, from: &From, path: &str, config: &DoorConfig) -> Result<(), ApiError> {
    if !answers_to(&host.host, config) {
        let detail =
            "this server does not answer to the name in `Host`; start it with `--allow-host NAME` if it should";
        return Err(ApiError::new(Code::WrongHost, detail));
    }
    if *from == From::Foreigner && !path.starts_with("/health/") {
        let detail =
            "`Origin` names another site; start the server with `--allow-origin ORIGIN` if its pages may do this";
        return Err(ApiError::new(Code::ForeignOrigin, detail));
    }
    Ok(())
}

fn answers_to(host: &Host, config: &DoorConfig) -> bool {
    let is_listed = || config.allow_hosts.iter().any(|allowed| Host::parse(allowed).as_ref() == Some(host));
    host.is_loopback() || (config.allow_anyone && matches!(host, Host::Ip(_))) || is_listed()
}

/// Whether a browser asks what it may ask (Fetch standard, "CORS-preflight request").
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE.as_secs())),
    ];
    let mut answer = (StatusCode::NO_CONTENT, headers).into_response();
    if asked.contains_key(ASKS_PRIVATE_NETWORK) {
        answer.headers_mut().insert(ALLOWS_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    answer
}

/// Gives an answer the headers that every answer has.
fn finish(mut answer: Response, from: From) -> Response {
    let headers = answer.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let From::Friend(origin) = from {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDoor;

    fn verdict(host: &str, origin: Option<&str>, path: &str, config: &DoorConfig) -> Result<(), Code> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let host = host_of(&Uri::from_static("/"), &headers).map_err(|error| error.code())?;
        let from = origin_of(&headers, Some(&host), config);
        admit(&host, &from, path, config).map_err(|error| error.code())
    }

    #[test]
    fn the_host_decides_whether_we_are_meant() {
        let developer = DoorConfig::default();
        let named = DoorConfig { allow_hosts: vec!["Hub.Example".into()], ..DoorConfig::default() };
        let anyone = DoorConfig { allow_anyone: true, ..DoorConfig::default() };
        for (host, config, expected) in [
            ("localhost:8080", &developer, Ok(())),
            ("127.0.0.1", &developer, Ok(())),
            ("[::1]:9", &developer, Ok(())),
            ("app.localhost", &developer, Ok(())),
            ("hub.example", &developer, Err(Code::WrongHost)),
            ("192.168.0.7", &developer, Err(Code::WrongHost)),
            ("hub.example:8443", &named, Ok(())),
            ("192.168.0.7", &named, Err(Code::WrongHost)),
            ("192.168.0.7:80", &anyone, Ok(())),
            ("[2001:db8::1]", &anyone, Ok(())),
            ("rebound.example", &anyone, Err(Code::WrongHost)),
            ("a b", &anyone, Err(Code::Malformed)),
        ] {
            assert_eq!(verdict(host, None, "/events", config), expected, "{host}");
        }
    }

    #[test]
    fn the_origin_decides_whether_a_page_may() {
        let developer = DoorConfig::default();
        let listed = DoorConfig {
            allow_hosts: vec!["hub.example".into()],
            allow_origins: vec!["https://www.example".into()],
            ..DoorConfig::default()
        };
        let foreign = Err(Code::ForeignOrigin);
        for (host, origin, path, config, expected) in [
            ("localhost:8080", "http://localhost:3000", "/events", &developer, Ok(())),
            ("localhost:8080", "https://127.0.0.1", "/publish", &developer, Ok(())),
            ("localhost:8080", "https://evil.example", "/publish", &developer, foreign),
            ("localhost:8080", "http://localhost.evil.example", "/events", &developer, foreign),
            ("localhost:8080", "null", "/events", &developer, foreign),
            ("localhost:8080", "https://evil.example", "/health/live", &developer, Ok(())),
            ("hub.example", "https://hub.example", "/events", &listed, Ok(())),
            ("hub.example", "https://www.example", "/events", &listed, Ok(())),
            ("hub.example", "https://www.example:8443", "/events", &listed, foreign),
            ("hub.example", "http://www.example", "/events", &listed, foreign),
            ("hub.example", "https://www.example.", "/events", &listed, foreign),
            ("hub.example", "https://xwww.example", "/events", &listed, foreign),
            ("hub.example", "https://www.example.evil.example", "/events", &listed, foreign),
            ("hub.example", "http://localhost:3000", "/events", &listed, foreign),
            ("localhost", "http://localhost:3000", "/events", &listed, Ok(())),
        ] {
            assert_eq!(verdict(host, Some(origin), path, config), expected, "{origin} to {host}");
        }
    }

    #[tokio::test]
    async fn a_page_next_door_gets_its_headers_on_errors_too() {
        let door = TestDoor::open();
        for (path, status) in [("/channels", 200), ("/channels?x=1", 400), ("/nowhere", 404)] {
            let answer = door.request("GET", path, &[("origin", "http://localhost:3000")], "").await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert_eq!(answer.header("vary"), "Origin");
        }
    }

    #[tokio::test]
    async fn a_listed_page_gets_what_it_needs_with_credentials_also_on_streams_and_refusals() {
        let door = TestDoor::open();
        let listed = "https://www.example.com";
        door.door.reload(DoorConfig { allow_origins: vec![listed.into()], ..DoorConfig::default() });
        for (method, path, status) in [
            ("GET", "/events?channel=a", 200),
            ("POST", "/channels/a", 200),
            ("DELETE", "/stats", 405),
            ("GET", "/history?channel=", 400),
            ("POST", "/publish", 400),
        ] {
            let answer = door.request(method, path, &[("origin", listed)], "").await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), listed, "echoed, never `*`");
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            let exposed = answer.header("access-control-expose-headers");
            assert!(["Retry-After", "RateLimit", "Allow"].iter().all(|name| exposed.contains(name)), "{exposed}");
            assert!(answer.headers.get_all("vary").iter().any(|value| value == "Origin"));
        }
        let answer = door.get("/channels/a").await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "who is no page is told nothing of pages");
        assert_eq!(answer.header("vary"), "Origin", "but caches are");
    }

    #[tokio::test]
    async fn a_page_of_another_site_gets_nothing() {
        let door = TestDoor::open();
        let answer = door.request("POST", "/channels/a", &[("origin", "https://evil.example")], "x").await;
        assert_eq!(answer.status.as_u16(), 403);
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("vary"), "Origin");
        assert_eq!(answer.problem().await["code"], "foreign_origin");
        assert_eq!(door.get("/channels/a").await.json().await["events"], 0);
    }

    #[tokio::test]
    async fn preflights_are_answered_without_a_route() {
        let door = TestDoor::open();
        let asks = |origin| [("origin", origin), ("access-control-request-method", "POST")];
        let answer = door.request("OPTIONS", "/channels/a", &asks("http://localhost:3000"), "").await;
        assert_eq!(answer.status.as_u16(), 204);
        let headers = answer.header("access-control-allow-headers");
        for name in ["Last-Event-ID", "Authorization", "Content-Type", "Idempotency-Key"] {
            assert!(headers.contains(name), "{name}");
        }
        let methods = answer.header("access-control-allow-methods");
        assert!(["POST", "PUT", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("access-control-allow-private-network"), "");
        let mut asks_more = asks("http://localhost:3000").to_vec();
        asks_more.push(("access-control-request-private-network", "true"));
        let answer = door.request("OPTIONS", "/channels/a", &asks_more, "").await;
        assert_eq!(answer.header("access-control-allow-private-network"), "true");
        let answer = door.request("OPTIONS", "/channels/a", &asks("https://evil.example"), "").await;
        assert_eq!(answer.status.as_u16(), 403);
        assert_eq!(answer.header("access-control-allow-methods"), "");
    }

    #[tokio::test]
    async fn long_heads_and_requests_without_a_host_are_refused() {
        let door = TestDoor::open();
        let answer = door.get(&format!("/events?channel={}", "x".repeat(URL_BYTES_MAX))).await;
        assert_eq!(answer.status.as_u16(), 414);
        let answer = door.request("GET", "/", &[("cookie", &"x".repeat(HEAD_BYTES_MAX))], "").await;
        assert_eq!(answer.status.as_u16(), 431);
        assert_eq!(host_of(&Uri::from_static("/"), &HeaderMap::new()).unwrap_err().code(), Code::Malformed);
    }
}
