//! Long answers in gzip, for clients that take it: pages, JSON, figures. Never event streams, whose bytes must leave when
//! they come, and nothing that is short. An answer is compressed whole, since all of these are in memory as a whole.

use std::io::Write as _;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::limits::{GZIP_BYTES_MIN, GZIP_IN_PLACE_BYTES_MAX};

/// The middleware.
pub(crate) async fn gzip(request: Request, next: Next) -> Response {
    let is_taken = takes_gzip(request.headers());
    let mut answer = next.run(request).await;
    if !is_worth_it(&answer) {
        return answer;
    }
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !is_taken {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    // The body is in memory already.
    let Ok(plain) = body.collect().await else { return Response::from_parts(head, Body::empty()) };
    let plain = plain.to_bytes();
    let Some(compressed) = compress(plain.clone()).await else { return Response::from_parts(head, plain.into()) };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some(weak) = head.headers.get(header::ETAG).and_then(weaken) {
        head.headers.insert(header::ETAG, weak);
    }
    Response::from_parts(head, compressed.into())
}

/// Whether an answer is long enough, of a kind that shrinks, and not compressed yet.
fn is_worth_it(answer: &Response) -> bool {
    let is_long = answer.body().size_hint().exact().is_some_and(|bytes| bytes >= GZIP_BYTES_MIN);
    let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let shrinks = kind.starts_with("text/") && kind != "text/event-stream"
        || ["application/json", "application/problem+json", "application/openmetrics-text", "image/svg+xml"]
            .contains(&kind);
    is_long && shrinks && !answer.headers().contains_key(header::CONTENT_ENCODING)
}

/// Whether a client takes gzip (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any) = (None, None);
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for coding in values.flat_map(|list| list.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.split_once('=').map_or(Ok(1.0), |(_, weight)| weight.trim().parse::<f32>());
        let is_wanted = weight.is_ok_and(|weight| weight > 0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(is_wanted),
            "*" => any = Some(is_wanted),
            _ => {}
        }
    }
    gzip.or(any).unwrap_or(false)
}

/// The tag of what is the same in content, though not in bytes (RFC 9110, section 8.8.1).
fn weaken(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.to_str().ok().filter(|tag| !tag.starts_with("W/"))?;
    HeaderValue::try_from(format!("W/{tag}")).ok()
}

/// Compresses; what takes longer than a moment, on a thread that may.
async fn compress(plain: Bytes) -> Option<Vec<u8>> {
    if plain.len() <= GZIP_IN_PLACE_BYTES_MAX {
        return compress_here(&plain);
    }
    tokio::task::spawn_blocking(move || compress_here(&plain)).await.ok().flatten()
}

fn compress_here(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).and_then(|()| encoder.finish()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::testing::TestDoor;

    #[test]
    fn who_takes_gzip_is_read_from_the_list() {
        for (accepts, takes) in [
            ("gzip", true),
            ("deflate, GZip;q=0.5, br", true),
            ("gzip;q=0", false),
            ("*", true),
            ("*;q=0.1, gzip;q=0.0", false),
            ("br", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let headers = [(header::ACCEPT_ENCODING, accepts.parse().unwrap())].into_iter().collect();
            assert_eq!(takes_gzip(&headers), takes, "{accepts}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn long_answers_are_compressed_for_those_who_take_it() {
        let door = TestDoor::open();
        for (path, tag) in [("/", "W/\""), ("/assets/style.css", "W/\""), ("/channels/a/history?limit=1000", "")] {
            for n in 0..30 {
                door.post("/channels/a", &format!("{n} and so on, and so on, and so on")).await;
            }
            let plain = door.get(path).await;
            assert!(plain.headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"), "{path}");
            assert_eq!(plain.header("content-encoding"), "");
            let answer = door.request("GET", path, &[("accept-encoding", "gzip, br")], "").await;
            assert_eq!(answer.header("content-encoding"), "gzip", "{path}");
            assert!(answer.headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"));
            assert!(answer.header("etag").starts_with(tag));
            let mut text = String::new();
            GzDecoder::new(&answer.bytes().await[..]).read_to_string(&mut text).unwrap();
            let again = door.get(path).await;
            if tag.is_empty() {
                assert!(text.contains("29 and so on"), "{text}");
            } else {
                assert_eq!(text, again.text().await);
            }
        }
    }

    #[tokio::test]
    async fn streams_and_short_answers_stay_as_they_are() {
        let door = TestDoor::open();
        let asks = [("accept-encoding", "gzip")];
        let mut stream = door.request("GET", "/events?channel=a", &asks, "").await;
        assert_eq!(stream.header("content-encoding"), "");
        stream.read_until("event: fanfare.hello").await;
        let short = door.request("GET", "/health/live", &asks, "").await;
        assert_eq!(short.header("content-encoding"), "");
    }
}
