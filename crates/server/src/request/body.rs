//! Request bodies: read whole, within a size and a time. What is in them is the route's.
//!
//! A body may be compressed with gzip. It then has the same limit twice: for what is sent, and for what that unfolds to,
//! which is counted while it unfolds. A bomb goes no further than the limit.

use std::io;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body_util::BodyExt;
use tokio::sync::SemaphorePermit;

use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::limits::{BODY_READ_MAX, BUSY_RETRY, DISCARDED_BYTES_MAX};

/// Reads a body of at most `bytes_max`.
///
/// What is refused is taken off the connection all the same, up to [`DISCARDED_BYTES_MAX`]: whoever is still sending when the
/// connection is closed gets a reset instead of the refusal, and a proxy makes a 502 of that.
pub(crate) async fn read(
    door: &Door,
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let mut whole = if is_gzip(headers)? { Whole::gzip(bytes_max) } else { Whole::Plain(Bounded::new(bytes_max)) };
    let announced = announced(headers);
    let gathered = async {
        let gathered = match announced {
            Some(length) if length > bytes_max as u64 => Err(too_large(bytes_max)),
            _ => gather(door, &mut body, &mut whole, bytes_max).await,
        };
        if gathered.is_err() {
            // Its room is given back, so what came so far is let go.
            whole = Whole::Plain(Bounded::new(0));
            discard_rest(&mut body, announced).await;
        }
        gathered
    };
    tokio::time::timeout(BODY_READ_MAX, gathered).await.map_err(|_| too_slow())??;
    whole.finish()
}

/// Reads a body that is JSON, if anything: one that says it is something else is refused.
pub(crate) async fn read_json(
    door: &Door,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    expect_json(&essence(headers))?;
    read(door, headers, body, bytes_max).await
}

/// The body of a request that says all in its path and query: there is none. Whoever sends one means something by it that
/// would not happen, while something else does.
#[derive(Debug)]
pub(crate) struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, mut body) = request.into_parts();
        let read = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(broke_off)?;
                if frame.data_ref().is_some_and(|data| !data.is_empty()) {
                    discard_rest(&mut body, announced(&parts.headers)).await;
                    let detail = "this request takes no body; its path and query say all";
                    return Err(ApiError::malformed(detail));
                }
            }
            Ok(Self)
        };
        tokio::time::timeout(BODY_READ_MAX, read).await.map_err(|_| too_slow())?
    }
}

/// Takes all of a body, as long as there is room for it.
async fn gather(door: &Door, body: &mut Body, whole: &mut Whole, bytes_max: usize) -> Result<(), ApiError> {
    let mut room: Option<SemaphorePermit<'_>> = None;
    let mut sent = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broke_off)?;
        let Ok(data) = frame.into_data() else { continue };
        sent += data.len();
        if sent > bytes_max {
            return Err(too_large(bytes_max));
        }
        let held = whole.push(&data)?;
        let more = held.saturating_sub(room.as_ref().map_or(0, SemaphorePermit::num_permits));
        let permit = door.bodies().try_acquire_many(more as u32).map_err(|_| {
            ApiError::new(Code::Busy, "too many bodies are being read; try again").retry_after(BUSY_RETRY)
        })?;
        match &mut room {
            Some(room) => room.merge(permit),
            None => room = Some(permit),
        }
    }
    Ok(())
}

/// How long a body says that it is.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// Takes the body of a request that is refused off the connection, as [`read`] does with its own.
pub(crate) async fn discard(headers: &HeaderMap, mut body: Body) {
    // Whoever takes longer gets the refusal as it may.
    let _ = tokio::time::timeout(BODY_READ_MAX, discard_rest(&mut body, announced(headers))).await;
}

/// Takes the rest of a body off the connection, unless it says that it is too long for that.
async fn discard_rest(body: &mut Body, announced: Option<u64>) {
    if announced.is_some_and(|length| length > DISCARDED_BYTES_MAX) {
        return;
    }
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(less) = left.checked_sub(bytes) else { return };
        left = less;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn broke_off(error: axum::Error) -> ApiError {
    ApiError::malformed(format!("the body broke off: {error}"))
}

fn too_slow() -> ApiError {
    let seconds = BODY_READ_MAX.as_secs();
    ApiError::new(Code::Timeout, format!("the body was not there within {seconds} seconds"))
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(Code::TooLarge, format!("the body may have at most {bytes_max} bytes"))
}

/// Whether the body is compressed with gzip; an error where it is encoded in another way.
fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(first) = encodings.next() else { return Ok(false) };
    let encoding = String::from_utf8_lossy(first.as_bytes());
    match encoding.trim().to_ascii_lowercase().as_str() {
        "identity" if encodings.next().is_none() => Ok(false),
        "gzip" | "x-gzip" if encodings.next().is_none() => Ok(true),
        _ => {
            let detail = format!("Content-Encoding {encoding:?} is not taken; send the body as it is, or in gzip");
            Err(ApiError::new(Code::UnsupportedMedia, detail))
        }
    }
}

/// What has come of a body.
enum Whole {
    Plain(Bounded),
    Gzip(Box<GzDecoder<Bounded>>),
}

/// Bytes, so many and no more.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
    is_full: bool,
}

impl Bounded {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, is_full: false }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max.saturating_sub(self.bytes.len()) {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Whole {
    fn gzip(bytes_max: usize) -> Self {
        Self::Gzip(Box::new(GzDecoder::new(Bounded::new(bytes_max))))
    }

    /// Takes a piece; gives how many bytes there are now.
    fn push(&mut self, piece: &[u8]) -> Result<usize, ApiError> {
        let (written, bounded) = match self {
            Self::Plain(bounded) => (io::Write::write_all(bounded, piece), &*bounded),
            Self::Gzip(decoder) => (io::Write::write_all(decoder, piece), decoder.get_ref()),
        };
        written.map_err(|error| refused(&error, bounded)).map(|()| bounded.bytes.len())
    }

    /// All of it.
    fn finish(self) -> Result<Bytes, ApiError> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes.into()),
            Self::Gzip(mut decoder) => {
                let finished = decoder.try_finish();
                let bounded = decoder.get_mut();
                match finished {
                    Ok(()) => Ok(std::mem::take(&mut bounded.bytes).into()),
                    Err(error) => Err(refused(&error, bounded)),
                }
            }
        }
    }
}

fn refused(error: &io::Error, bounded: &Bounded) -> ApiError {
    if bounded.is_full {
        return too_large(bounded.bytes_max);
    }
    ApiError::malformed(format!("the body is not gzip, though `Content-Encoding` says so: {error}"))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::*;
    use crate::testing::{self, TestDoor};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn read(pairs: &[(&'static str, &'static str)], body: Vec<u8>, bytes_max: usize) -> Result<Bytes, Code> {
        let door = TestDoor::open();
        super::read(&door.door, &headers(pairs), Body::from(body), bytes_max).await.map_err(|error| error.code())
    }

    #[tokio::test]
    async fn bodies_are_bounded_announced_or_not() {
        assert_eq!(read(&[], b"four".into(), 4).await, Ok(Bytes::from("four")));
        assert_eq!(read(&[], b"fives".into(), 4).await, Err(Code::TooLarge));
        assert_eq!(read(&[("content-length", "5")], Vec::new(), 4).await, Err(Code::TooLarge));
        assert_eq!(read(&[("content-encoding", "br")], b"x".into(), 4).await, Err(Code::UnsupportedMedia));
        let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
        assert_eq!(read(&twice, b"x".into(), 4).await, Err(Code::UnsupportedMedia));
        assert_eq!(read(&[("content-encoding", "Identity")], b"x".into(), 4).await, Ok(Bytes::from("x")));
    }

    #[tokio::test]
    async fn gzip_is_taken_and_a_bomb_goes_no_further_than_the_limit() {
        let pairs = [("content-encoding", "gzip")];
        assert_eq!(read(&pairs, gzip(b"four"), 100).await, Ok(Bytes::from("four")));
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(read(&pairs, bomb, 20_000).await, Err(Code::TooLarge));
        assert_eq!(read(&pairs, b"not gzip at all".into(), 100).await, Err(Code::Malformed));
        let mut cut = gzip(b"something that goes on");
        cut.truncate(20);
        assert_eq!(read(&pairs, cut, 100).await, Err(Code::Malformed));
        let mut more = gzip(b"four");
        more.extend_from_slice(b"and more");
        assert_eq!(read(&pairs, more, 100).await, Err(Code::Malformed));
    }

    #[tokio::test]
    async fn bodies_that_find_no_room_are_told_to_come_back() {
        let door = TestDoor::open();
        let all = door.door.bodies().try_acquire_many(crate::limits::BODIES_BYTES_MAX as u32).unwrap();
        let answer = door.post("/channels/a", "x").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after").as_str()), (503, "1"));
        assert_eq!(answer.problem().await["code"], "busy");
        drop(all);
        assert_eq!(door.post("/channels/a", "x").await.status.as_u16(), 200);
    }

    #[tokio::test]
    async fn what_is_too_large_is_taken_off_the_connection_unless_it_says_that_it_is_much_too_large() {
        let door = TestDoor::open();
        for (length, pieces, taken) in [
            (Some("9437184"), 9, 10),    // to its end, which is polled too
            (None, 9, 10),               // not announced
            (None, 100, 17),             // until it is enough, and the piece that was too much before
            (Some("104857600"), 100, 0), // not worth the time
        ] {
            let counted = Arc::new(AtomicUsize::new(0));
            // Pieces of a mebibyte, as many as are taken.
            let body = testing::body({
                let counted = counted.clone();
                move || {
                    let is_there = counted.fetch_add(1, Ordering::Relaxed) < pieces;
                    Poll::Ready(is_there.then(|| vec![b'x'; 1024 * 1024].into()))
                }
            });
            let headers = length.map_or_else(HeaderMap::new, |length| headers(&[("content-length", length)]));
            let error = super::read(&door.door, &headers, body, 4).await.unwrap_err();
            assert_eq!(error.code(), Code::TooLarge);
            assert!(counted.load(Ordering::Relaxed).abs_diff(taken) <= 1, "{counted:?} of {pieces}");
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_would_read_is_refused_and_nothing_is_done() {
        let door = TestDoor::open();
        door.post("/inbox/ada", "x").await;
        door.post("/channels/s?key=a", "x").await;
        let mut stream = door.get("/events?channel=a&stream=0123456789abcdef0123456789abcdef").await;
        stream.read_until("fanfare.hello").await;
        for (method, path) in [
            ("DELETE", "/inbox/ada"),
            ("DELETE", "/channels/s?key=a"),
            ("DELETE", "/channels?channel=s&key=a"),
            ("DELETE", "/streams/0123456789abcdef0123456789abcdef"),
            ("POST", "/channels/s/producer"),
            ("POST", "/producer?channel=s"),
        ] {
            for body in ["x", "{}", r#"{"ids": ["000001-9f3a77c2-000000002a"]}"#, " "] {
                let problem = door.request(method, path, &[], body).await.problem().await;
                assert_eq!(problem["code"], "malformed", "{method} {path} {body}");
                assert!(problem["detail"].as_str().unwrap().contains("takes no body"), "{problem}");
            }
        }
        assert_eq!(door.get("/inbox/ada").await.json().await["unread"], 1);
        assert_eq!(door.get("/keys?channel=s&key=a").await.status.as_u16(), 200);
        assert_eq!(door.get("/streams/0123456789abcdef0123456789abcdef").await.status.as_u16(), 200);
        assert_eq!(door.post("/channels/s/producer", "").await.json().await["fence"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let door = TestDoor::open();
        let endless = testing::body(|| Poll::Pending);
        let error = super::read(&door.door, &HeaderMap::new(), endless, 4).await.unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
        let endless = Request::new(testing::body(|| Poll::Pending));
        assert_eq!(NoBody::from_request(endless, &()).await.unwrap_err().code(), Code::Timeout);
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
