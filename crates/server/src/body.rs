//! Request bodies: read whole, within a size and a time, and never decoded. What is in them is the route's.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::{ApiError, Code};
use crate::limits::BODY_READ_MAX;

/// Reads a body of at most `bytes_max`. One that announces more is refused before it is read.
pub(crate) async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    refuse_encoding(headers)?;
    let too_large = || ApiError::new(Code::TooLarge, format!("the body may have at most {bytes_max} bytes"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let whole = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_READ_MAX, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::malformed(format!("the body broke off: {error}"))),
        Err(_) => {
            let seconds = BODY_READ_MAX.as_secs();
            Err(ApiError::new(Code::Timeout, format!("the body was not there within {seconds} seconds")))
        }
    }
}

/// Refuses compressed bodies: what they unfold to has no size that could be bounded by looking at them.
fn refuse_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|encoding| String::from_utf8_lossy(encoding.as_bytes()));
    match encoding {
        Some(encoding) if !encoding.trim().eq_ignore_ascii_case("identity") => {
            let detail = format!("Content-Encoding {encoding:?} is not taken; send the body as it is");
            Err(ApiError::new(Code::UnsupportedMedia, detail))
        }
        _ => Ok(()),
    }
}

/// The media type of a body, lower-case and without parameters; empty where none is given.
pub(crate) fn essence(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses bodies that say they are something else than JSON. Those that say nothing are taken at their word, and so is
/// what `curl -d` says of everything.
pub(crate) fn expect_json(essence: &str) -> Result<(), ApiError> {
    match essence {
        "" | "application/json" | "application/x-www-form-urlencoded" | "text/plain" => Ok(()),
        _ if essence.ends_with("+json") => Ok(()),
        _ => Err(ApiError::new(Code::UnsupportedMedia, format!("Content-Type {essence:?} is not JSON"))),
    }
}

/// Reads JSON; the refusal says where it is wrong, or which field.
pub(crate) fn json<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let text =
        std::str::from_utf8(bytes).map_err(|e| ApiError::new(Code::NotUtf8, format!("the body is not UTF-8: {e}")))?;
    let refusal = |place: String, error: serde_json::Error| {
        let code = if error.is_data() { Code::Malformed } else { Code::BadJson };
        let detail = if place.is_empty() { error.to_string() } else { format!("`{place}`: {error}") };
        ApiError::new(code, detail)
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // The whole body is nobody's field.
        let place = error.path().to_string();
        refusal(if place == "." { String::new() } else { place }, error.into_inner())
    })?;
    deserializer.end().map_err(|error| refusal(String::new(), error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[tokio::test]
    async fn bodies_are_bounded_announced_or_not() {
        let read = async |pairs: &[(&'static str, &'static str)], body: &'static str| {
            super::read(&headers(pairs), Body::from(body), 4).await.map_err(|error| error.code())
        };
        assert_eq!(read(&[], "four").await, Ok(Bytes::from("four")));
        assert_eq!(read(&[], "fives").await, Err(Code::TooLarge));
        assert_eq!(read(&[("content-length", "5")], "").await, Err(Code::TooLarge));
        assert_eq!(read(&[("content-encoding", "gzip")], "x").await, Err(Code::UnsupportedMedia));
        assert_eq!(read(&[("content-encoding", "Identity")], "x").await, Ok(Bytes::from("x")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        struct Endless;
        impl http_body::Body for Endless {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        let error = read(&HeaderMap::new(), Body::new(Endless), 4).await.unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
    }

    #[test]
    fn json_is_taken_under_the_names_that_curl_and_browsers_give_it() {
        for good in ["", "application/json", "application/cloudevents+json", "application/x-www-form-urlencoded"] {
            assert!(expect_json(good).is_ok(), "{good}");
        }
        for bad in ["text/csv", "multipart/form-data", "application/x-ndjson"] {
            assert_eq!(expect_json(bad).unwrap_err().code(), Code::UnsupportedMedia, "{bad}");
        }
        let pairs = [("content-type", "Application/JSON; charset=utf-8")];
        assert_eq!(essence(&headers(&pairs)), "application/json");
    }
}
