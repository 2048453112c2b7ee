//! The application as one connection sees it: with the address of the other side, which requests carry along.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use tower::ServiceExt as _;

/// The application, and who asks.
#[derive(Clone)]
pub(crate) struct Visit {
    app: Router,
    peer: Option<SocketAddr>,
}

impl Visit {
    pub(crate) fn new(app: Router) -> Self {
        Self { app, peer: None }
    }

    /// The same, asked from there.
    pub(crate) fn by(self, peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..self }
    }

    /// Answers a request.
    pub(crate) async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        // A router never fails.
        let Ok(answer) = self.app.oneshot(request).await;
        answer
    }
}
