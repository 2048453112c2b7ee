//! For unit tests: the whole door on a hub of its own, asked in-process.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use fanfare_hub::{Hub, HubConfig};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{HttpConfig, LogFormat};
use crate::door::{Door, DoorConfig};
use crate::logging;
use crate::traces::Traces;

/// A hub with its door, on a folder that goes with it.
pub(crate) struct TestDoor {
    pub(crate) hub: Hub,
    pub(crate) door: Door,
    router: Router,
    /// Who asks.
    peer: Option<SocketAddr>,
    _folder: Arc<tempfile::TempDir>,
}

/// A response.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Body,
    /// What was read of a stream so far.
    read: String,
}

impl TestDoor {
    pub(crate) fn open() -> Self {
        Self::with(HubConfig::default())
    }

    pub(crate) fn with(config: HubConfig) -> Self {
        Self::traced(config, Traces::default())
    }

    /// A door whose requests are traced.
    pub(crate) fn traced(config: HubConfig, traces: Traces) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open_with(folder.path(), HubConfig { shards: 1, ..config }).unwrap();
        let door = Door::traced(hub.clone(), DoorConfig::default(), traces);
        Self {
            router: crate::app(door.clone(), &HttpConfig::default()),
            hub,
            door,
            peer: None,
            _folder: Arc::new(folder),
        }
    }

    /// The same door, as seen from an address.
    pub(crate) fn from(&self, address: [u8; 4]) -> Self {
        let Self { hub, door, router, _folder: folder, .. } = self;
        let peer = Some((address, 4711).into());
        Self { hub: hub.clone(), door: door.clone(), router: router.clone(), peer, _folder: folder.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[], body).await
    }

    /// Asks for something; `host` is `localhost` where the headers don't say otherwise.
    pub(crate) async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(peer) = self.peer {
            request = request.extension(ConnectInfo(peer));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Answer { status: parts.status, headers: parts.headers, body, read: String::new() }
    }
}

impl Answer {
    /// A header, empty where it isn't there.
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// The body as it is.
    pub(crate) async fn bytes(self) -> Bytes {
        self.body.collect().await.unwrap().to_bytes()
    }

    /// The JSON of an answer that must be a success.
    pub(crate) async fn json(self) -> Value {
        let status = self.status;
        let text = self.text().await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The problem of an answer that must be none, with the status that it says itself.
    pub(crate) async fn problem(self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let status = self.status;
        let problem: Value = serde_json::from_str(&self.text().await).unwrap();
        assert_eq!(problem["status"], status.as_u16());
        problem
    }

    /// Reads a stream until it has said `text`.
    pub(crate) async fn read_until(&mut self, text: &str) -> &str {
        while !self.read.contains(text) {
            let frame = self.body.frame().await.expect("the stream goes on").unwrap();
            self.read.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        &self.read
    }
}

/// A body that answers whoever asks it for the next piece as this does.
pub(crate) fn body(next: impl FnMut() -> Poll<Option<Bytes>> + Send + Unpin + 'static) -> Body {
    Body::new(Polled(next))
}

struct Polled<F>(F);

impl<F: FnMut() -> Poll<Option<Bytes>> + Unpin> http_body::Body for Polled<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        (self.0)().map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What was logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// What writes lines here.
    pub(crate) fn subscriber(&self, format: LogFormat, filter: &str) -> impl Subscriber + Send + Sync + use<> {
        logging::subscriber(format, logging::filter(filter, false), false, self.clone()).0
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines, where they are JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Captured {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
