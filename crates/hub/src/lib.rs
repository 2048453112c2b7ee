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

mod append_error;
pub mod archive;
mod audience;
mod beginning;
mod catchup;
pub mod change;
pub mod channel;
pub mod channel_row;
pub mod clock;
pub mod config;
pub mod cursor;
mod damage;
pub mod device;
mod directory;
mod disk_limit;
pub mod draft;
mod due;
pub mod ending;
pub mod entry;
pub mod epoch;
pub mod event;
mod floors;
mod followers;
pub mod follows;
mod follows_pool;
mod format;
pub mod frame;
mod health;
pub mod histogram;
mod history;
mod horizon;
pub mod hub;
mod idempotency;
pub mod inbox;
mod index;
pub mod info;
mod json;
mod keeper;
mod keys;
pub mod limits;
mod line;
mod lineage;
mod listeners;
mod log;
mod mailbox;
pub mod notice;
mod oldest;
mod outlet;
mod pace;
pub mod pattern;
mod pattern_index;
mod portion;
pub mod position;
pub mod publish;
mod recent;
mod reclaimer;
pub mod record;
mod remembered;
mod reopening;
mod restore;
mod retention;
mod review;
pub mod rule;
mod shard;
mod shared_events;
#[cfg(test)]
mod simulation;
mod socket;
mod space;
pub mod stats;
mod steer;
pub mod store;
pub mod stream;
pub mod stream_id;
pub mod subscribe;
mod subscription;
mod sweep;
mod tier;
pub mod user;
mod varint;
mod wheel;
pub mod window;
mod witness;
mod writer;

pub use append_error::AppendError;
pub use archive::{Archive, Archived, Import, ImportError};
pub use audience::{EVERYONE, PatternChannels, PatternError};
pub use change::{Change, ChangeError, Followed};
pub use channel::{ChannelName, NameError};
pub use channel_row::{EndReason, Kind};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{HubConfig, OpenError};
pub use cursor::Cursor;
pub use device::{DeviceName, DeviceNameError};
pub use draft::{Draft, DraftError, Publisher};
pub use ending::Producer;
pub use event::Event;
pub use follows::{Follows, Since, SinceError};
pub use frame::{Data, Form};
pub use health::Check;
pub use histogram::{Distribution, Histogram};
pub use hub::Hub;
pub use inbox::{AckReason, Acknowledge, InboxPage, is_private};
pub use info::{ChannelInfo, EndInfo, HistoryError, HistoryPage, HistoryQuery, KeysPage};
pub use notice::{ByeReason, GapReason, HelloStyle};
pub use pattern::Pattern;
pub use position::Position;
pub use publish::{PublishError, Receipt};
pub use record::Record;
pub use rule::{Durability, HistoryLimits, Overflow, Rule, Rules, WhenFull};
pub use space::SpaceError;
pub use stats::{CloseReason, Stats};
pub use store::{Order, StoreError};
pub use stream::Stream;
pub use stream_id::{StreamId, StreamIdError};
pub use subscribe::{Held, Reservation, Subscribe, SubscribeError};
pub use subscription::HeartbeatStyle;
pub use user::{UserName, UserNameError};
