//! Server-Sent Events with axum and tokio's broadcast channel, as axum's and tokio's documentation show it: a peer to
//! compare Fanfare with. It knows nothing of Fanfare.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};

/// Events that a listener may be behind; who is further behind has lost some.
const CAPACITY: usize = 1_024;

/// What is handed to every listener: id and data.
type Message = (u64, Arc<str>);

/// What the routes share.
#[derive(Clone)]
struct App {
    /// Everybody's copy of every event.
    events: broadcast::Sender<Message>,
    /// The id that was given last.
    last_id: Arc<AtomicU64>,
}

async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = BroadcastStream::new(app.events.subscribe());
    // Who was too slow is told so by an error here, which people skip.
    let stream = stream.filter_map(Result::ok);
    Sse::new(stream.map(|(id, data)| Ok(Event::default().id(id.to_string()).data(data))))
        .keep_alive(KeepAlive::default())
}

async fn publish(State(app): State<App>, body: String) -> Json<usize> {
    let id = app.last_id.fetch_add(1, Ordering::Relaxed) + 1;
    // An error only says that nobody listens.
    Json(app.events.send((id, body.into())).unwrap_or(0))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--port").skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let app = App { events: broadcast::channel(CAPACITY).0, last_id: Arc::default() };
    let router = Router::new().route("/events", get(events)).route("/publish", post(publish)).with_state(app);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    axum::serve(listener, router).await
}
