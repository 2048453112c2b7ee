//! Fanfare within a program of one's own: the program's page at `/`, the hub's routes beside it, and a task that publishes.
//!
//! ```text
//! cargo run --example embed
//! curl -N 'localhost:3000/events?channel=orders&since=last:3'
//! ```
//!
//! Ctrl-C ends it in order. Start it again while curl is away, and `since`, or the browser's `Last-Event-ID`, shows that
//! nothing was lost in between.

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fanfare::hub::{Event, Hub};
use serde::Serialize;

/// What this program has to tell.
#[derive(Serialize)]
struct Order {
    id: u64,
    total: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The hub keeps its log in a folder; a second start goes on with it.
    let hub = Hub::open("fanfare-data")?;

    // The hub's routes, `/events` and `/publish` among them, stand beside those of the program. They answer to loopback
    // names only; `fanfare::router_with` takes the names and origins of a server on the network.
    let app = Router::new().route("/", get(page)).merge(fanfare::router(hub.clone()));

    // Any task may publish: the hub is cheap to clone.
    let orders = tokio::spawn(take_orders(hub.clone()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(stop(hub.clone())).await?;

    // No request is open any more. What was published is on disk; this ends the log and the hub's threads.
    orders.abort();
    hub.close().await;
    Ok(())
}

/// Waits for Ctrl-C, then sends all listeners away with a time to come back. Without that their streams would stay open,
/// and the server would wait for them for ever.
async fn stop(hub: Hub) {
    // Without a signal handler there is no graceful stop; the log survives that too.
    let _ = tokio::signal::ctrl_c().await;
    hub.drain();
}

/// Publishes an order every second.
async fn take_orders(hub: Hub) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for id in 1.. {
        ticks.tick().await;
        let order = Order { id, total: 9.5 };
        // Once this returns, the order is on disk, and whoever listens gets it.
        let receipt = hub.publish("orders", Event::json(&order)?.named("created")).await?;
        println!("order {id} reached {} listeners", receipt.streams);
    }
    Ok(())
}

/// A page that listens. Nothing of Fanfare runs in it: this is the browser's own `EventSource`.
async fn page() -> Html<&'static str> {
    Html(
        "<!doctype html><title>Orders</title><ol id=orders></ol>
         <script>
             const stream = new EventSource('/events?channel=orders&since=last:10');
             stream.addEventListener('created', (event) => {
                 const line = document.createElement('li');
                 line.textContent = event.data;
                 document.getElementById('orders').append(line);
             });
         </script>",
    )
}
