//! Fanfare's HTTP door, as a library: the engine's interface as axum routes, and the life of a server around them.
//!
//! The binary `fanfare` is a thin list of calls into this crate. A program of one's own mounts the same routes:
//!
//! ```
//! use fanfare::hub::{Event, Hub};
//!
//! # fn mount() -> Result<axum::Router, Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let hub = Hub::open(folder)?;
//! let app = axum::Router::new()
//!     .route("/", axum::routing::get(|| async { "my own page" }))
//!     .merge(fanfare::router(hub.clone()));
//! // … and from any task: hub.publish("orders", Event::json(&order)?).await?;
//! # let _ = Event::text("x");
//! # Ok(app)
//! # }
//! # mount().unwrap();
//! ```
//!
//! `examples/embed.rs` is the whole of it, with an end in good order.
//!
//! What this crate deliberately does not know: how events are ordered, stored and delivered. A request enters at
//! [`guard`](DoorConfig), is read by its route's file, and leaves it as a call of the [`Hub`].

mod admission;
pub mod cli;
pub mod config;
mod connection;
mod door;
mod error;
mod figures;
mod guard;
mod gzip;
pub mod limits;
mod logging;
mod metrics;
mod observe;
mod openapi;
mod panics;
mod request;
mod routes;
pub mod serve;
#[cfg(test)]
mod testing;
mod tls;
#[cfg_attr(not(feature = "otel"), path = "no_traces.rs")]
mod traces;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
/// The engine.
pub use fanfare_hub as hub;
use fanfare_hub::Hub;

pub use crate::admission::address::{AddressHeader, Network};
pub use crate::admission::rate::Rate;
pub use crate::config::Config;
pub use crate::door::DoorConfig;
pub use crate::error::{ApiError, Code};
pub use crate::serve::listener::{Listen, ListenError};
pub use crate::tls::TlsError;

use crate::config::HttpConfig;
use crate::door::Door;

/// The hub's interface as routes, to be merged into an application of one's own. It answers to loopback names only; see
/// [`router_with`] for a server with a name.
///
/// The routes are `/events`, `/subscribe`, `/publish`, `/channels…`, `/history`, `/stats`, `/metrics`, `/openapi.json` and
/// `/health/…`. Guarding,
/// CORS and the form of errors are theirs alone: other routes of the application are left as they are.
pub fn router(hub: Hub) -> Router {
    router_with(hub, DoorConfig::default())
}

/// The same for a server that has a name, or whose pages are served from elsewhere.
pub fn router_with(hub: Hub, config: DoorConfig) -> Router {
    let door = Door::new(hub, config);
    layered(routes::api(), door)
}

/// The whole of the binary's application: the interface, the page, and an answer for all other paths.
pub(crate) fn app(door: Door, http: &HttpConfig) -> Router {
    let routes = routes::api().merge(routes::page());
    layered(if http.gzip { routes.layer(from_fn(gzip::gzip)) } else { routes }, door)
}

/// The routes behind what every request passes, from the inside out.
fn layered(routes: Router<Door>, door: Door) -> Router {
    routes
        .layer(from_fn_with_state(door.clone(), admission::publishing))
        .layer(from_fn_with_state(door.clone(), panics::catch))
        .layer(from_fn_with_state(door.clone(), guard::guard))
        .layer(from_fn_with_state(door.clone(), observe::observe))
        .with_state(door)
}
