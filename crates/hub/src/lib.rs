//! The Fanfare engine: a durable, ordered log of events, fanned out to streams that resume exactly.
//!
//! One way in, one way out, no way back:
//!
//! ```text
//! POST ─▶ draft ─▶ LOG (order, durability) ─▶ WINDOW (frames) ─▶ shards ─▶ streams
//!                         │                                        ▲
//!                         └────── history (catch-up reads) ────────┘
//! ```
//!
//! It knows nothing of HTTP, tokens or configuration files, reads no clock and opens no socket that it wasn't given.
//!
//! ```
//! use fanfare_hub::{Event, Hub};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let folder = tempfile::tempdir().unwrap();
//! let hub = Hub::open(folder.path()).unwrap();
//! let receipt = hub.publish("orders", Event::json(&serde_json::json!({"id": 7})).unwrap()).await.unwrap();
//! assert_eq!(receipt.durability, "durable");
//! hub.close().await;
//! # });
//! ```

pub mod archive;
mod audience;
pub mod change;
pub mod channel;
pub mod clock;
pub mod cursor;
mod damage;
pub mod draft;
pub mod ending;
pub mod event;
pub mod follows;
pub mod history;
pub mod hub;
pub mod inbox;
mod index;
mod json;
mod keys;
pub mod limits;
pub mod log;
mod outlet;
pub mod pattern;
pub mod position;
mod retention;
pub mod rule;
mod shard;
#[cfg(test)]
mod simulation;
mod space;
pub mod stats;
pub mod store;
pub mod stream_id;
mod subscription;
pub mod user;
pub mod window;
mod writer;

pub use archive::{Archive, Archived, Import, ImportError};
pub use audience::{EVERYONE, PatternChannels, PatternError};
pub use change::{Change, ChangeError, Followed};
pub use channel::{ChannelName, NameError};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cursor::Cursor;
pub use draft::{Draft, DraftError, Publisher};
pub use ending::Producer;
pub use event::Event;
pub use follows::{Follows, Since, SinceError};
pub use history::info::{ChannelInfo, EndInfo, HistoryError, HistoryPage, HistoryQuery, KeysPage};
pub use hub::Hub;
pub use hub::config::{HubConfig, OpenError};
pub use hub::health::Check;
pub use hub::publish::{PublishError, Receipt};
pub use hub::stream::Stream;
pub use hub::subscribe::{Held, Reservation, Subscribe, SubscribeError};
pub use inbox::device::{DeviceName, DeviceNameError};
pub use inbox::{AckReason, Acknowledge, InboxPage, is_private};
pub use log::append_error::AppendError;
pub use log::channel_row::{EndReason, Kind};
pub use log::record::Record;
pub use pattern::Pattern;
pub use position::Position;
pub use rule::{Durability, HistoryLimits, Overflow, Rule, Rules, WhenFull};
pub use space::SpaceError;
pub use stats::histogram::{Distribution, Histogram};
pub use stats::{CloseReason, Stats};
pub use store::{Order, StoreError};
pub use stream_id::{StreamId, StreamIdError};
pub use subscription::HeartbeatStyle;
pub use user::{UserName, UserNameError};
pub use window::frame::{Data, Form};
pub use window::notice::{ByeReason, GapReason, HelloStyle};
