//! Subscribing: from what a listener asks for to an open stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::change::remembered::Opener;
use crate::follows::Follows;
use crate::history::beginning::{self, LastEventId};
use crate::hub::Hub;
use crate::hub::stream::Stream;
use crate::inbox::device::DeviceName;
use crate::limits::{FOLLOWS_MAX, PATTERNS_MAX};
use crate::outlet::Outlet;
use crate::outlet::mailbox::mailbox;
use crate::outlet::socket::SocketOutlet;
use crate::position::Position;
use crate::rule::HEARTBEAT;
use crate::shard::Opening;
use crate::shard::commands::{Command, Commands};
use crate::stats::bump;
use crate::stream_id::StreamId;
use crate::subscription::{HeartbeatStyle, Style, Subscription};
use crate::user::UserName;
use crate::window::frame::Form;
use crate::window::notice::HelloStyle;

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Nothing is followed.
    #[error("a stream must follow at least one channel or pattern")]
    Nothing,
    /// Too much is followed.
    #[error("a stream may follow at most {FOLLOWS_MAX} channels and patterns; these are {0}")]
    TooMany(usize),
    /// Too many patterns are followed.
    #[error("a stream may follow at most {PATTERNS_MAX} patterns; these are {0}")]
    TooManyPatterns(usize),
    /// The hub has as many streams as it may have.
    #[error("the hub has as many streams as it may have")]
    Full,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
}

/// What a listener asks for.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// The id by which the listener knows the stream again, if it brings one. If the stream is remembered and was opened for
    /// the same follows, user and device, it goes on with what it followed last.
    pub stream: Option<StreamId>,
    /// What to follow, and from when on.
    pub follows: Follows,
    /// The id that the listener saw last, as it said it.
    pub last_event_id: Option<String>,
    /// How events look.
    pub form: Form,
    /// How the stream is greeted.
    pub hello: HelloStyle,
    /// How heartbeats look.
    pub heartbeat: HeartbeatStyle,
    /// Whether what is published to everyone comes too: from now on, or from where the stream is resumed.
    pub everyone: bool,
    /// Who listens. What is published for all but this user doesn't come, now and later.
    pub user: Option<UserName>,
    /// The user's device that acknowledges what its inbox sent by coming back: the stream's ids say that they are its own.
    /// Opening the stream alone does nothing else about it: see [`Hub::device_returns`].
    pub device: Option<DeviceName>,
}

impl Default for Subscribe {
    /// Nothing yet to follow, but what is for everyone; all else as `GET /events` has it where nothing is said.
    fn default() -> Self {
        Self {
            stream: None,
            follows: Follows::default(),
            last_event_id: None,
            form: Form::default(),
            hello: HelloStyle::default(),
            heartbeat: HeartbeatStyle::default(),
            everyone: true,
            user: None,
            device: None,
        }
    }
}

/// A place for a stream that is about to be opened: as a body to be read, or on a socket of its own.
#[must_use = "a reservation that is dropped opens nothing"]
pub struct Reservation {
    hub: Hub,
    follows: Arc<Follows>,
    style: Style,
    /// Whether the listener brought the stream's id.
    is_named: bool,
    last: LastEventId,
    /// The window's head when the stream was asked for.
    head: (Position, u64),
    place: OpenPlace,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("id", &self.style.stream).finish_non_exhaustive()
    }
}

/// One of the streams that there may be; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenPlace {
    open: Arc<AtomicUsize>,
    /// Who has it, if that is known; see [`Reservation::owned_by`].
    pub(crate) owner: u64,
    /// The user's device that acknowledges by coming back.
    pub(crate) device: Option<Box<DeviceName>>,
    /// What else is given back then, by dropping it.
    held: Option<Box<dyn Held>>,
}

/// Something that somebody wants back when a stream ends. Whatever its drop does, it does at once: a shard waits for it.
pub trait Held: std::fmt::Debug + Send + Sync + 'static {}

impl Drop for OpenPlace {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hub {
    /// Opens a stream. Its first bytes are there at once.
    ///
    /// # Errors
    ///
    /// When nothing or too much is followed, or the hub is full or stopping.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Stream, SubscribeError> {
        Ok(self.reserve(subscribe)?.into_stream())
    }

    /// Decides whether there may be a stream, and from when on it gets events: from now.
    ///
    /// # Errors
    ///
    /// When nothing or too much is followed, or the hub is full or stopping.
    pub fn reserve(&self, subscribe: Subscribe) -> Result<Reservation, SubscribeError> {
        let Subscribe { stream, follows, last_event_id, form, hello, heartbeat, everyone, user, device } = subscribe;
        if follows.is_empty() {
            return Err(SubscribeError::Nothing);
        }
        if follows.len() > FOLLOWS_MAX {
            return Err(SubscribeError::TooMany(follows.len()));
        }
        if follows.patterns().len() > PATTERNS_MAX {
            return Err(SubscribeError::TooManyPatterns(follows.patterns().len()));
        }
        if self.0.stopping.load(Ordering::Acquire) {
            bump(&self.0.counters.refused_stopping);
            return Err(SubscribeError::Stopping);
        }
        let was_open = self.0.open.fetch_add(1, Ordering::AcqRel);
        let device = device.map(Box::new);
        let place = OpenPlace { open: self.0.open.clone(), owner: 0, device, held: None };
        if was_open >= self.0.streams_max.load(Ordering::Relaxed) {
            bump(&self.0.counters.refused_full);
            return Err(SubscribeError::Full);
        }
        let last = LastEventId::of(last_event_id.as_deref());
        let heartbeat_ms = self.heartbeat_of(&follows).as_millis().try_into().unwrap_or(u32::MAX);
        let is_named = stream.is_some();
        let stream = stream.unwrap_or_else(|| StreamId(rand::random()));
        let device = user.as_ref().zip(place.device.as_ref()).map(|(user, device)| device.mark(user));
        let style = Style { stream, form, hello, beat: heartbeat, heartbeat_ms, device };
        // "Now" is now, and not when somebody gets round to finding out where the stream begins.
        let head = self.0.history.window.head();
        let follows = self.0.follows.share(follows.heard_by(user, everyone));
        Ok(Reservation { hub: self.clone(), follows, style, is_named, last, head, place })
    }

    /// How many streams are open, or about to be.
    pub fn open_streams(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// The number of the next stream's shard. There is always at least one.
    fn next_shard(&self) -> usize {
        self.0.next_shard.fetch_add(1, Ordering::Relaxed).checked_rem(self.0.shards.len()).unwrap_or_default()
    }

    /// The shortest heartbeat of what is followed.
    pub(crate) fn heartbeat_of(&self, follows: &Follows) -> Duration {
        let of_channels = follows.channels().iter().map(|(name, _)| self.0.rules.of(name).heartbeat);
        let of_patterns = follows
            .patterns()
            .iter()
            .filter_map(|(p, _)| self.0.rules.of_pattern(p).iter().map(|rule| rule.heartbeat).min());
        of_channels.chain(of_patterns).min().unwrap_or(HEARTBEAT)
    }

    /// A reconnection time for one stream.
    pub fn jittered_retry(&self) -> Duration {
        let (shortest, longest) = *self.0.retry.lock().unwrap_or_else(PoisonError::into_inner);
        shortest + longest.saturating_sub(shortest).mul_f64(rand::random())
    }
}

impl Reservation {
    /// Says by a number who opens the stream; 0 for nobody in particular, as where this is not called. What is remembered
    /// of one owner's streams is bounded, so that nobody has everybody else's forgotten.
    pub fn owned_by(mut self, owner: u64) -> Self {
        self.place.owner = owner;
        self
    }

    /// Has something dropped when the stream has ended, or is not opened after all.
    pub fn hold(mut self, held: impl Held) -> Self {
        self.place.held = Some(Box::new(held));
        self
    }

    /// Opens the stream as something to be read. Its first bytes are there at once.
    pub fn into_stream(self) -> Stream {
        let (outlet, inlet) = mailbox();
        let shard = self.open(Outlet::Body(outlet), &[]);
        Stream::new(inlet, shard)
    }

    /// Opens the stream on a socket, which from now on is the hub's: it writes `head` and then the stream, and closes the
    /// socket at the end. The socket must not block. What the client sends is ignored.
    pub fn into_socket(self, socket: std::net::TcpStream, head: &[u8]) {
        self.open(Outlet::Socket(SocketOutlet::new(socket)), head);
    }

    fn open(self, outlet: Outlet, head: &[u8]) -> Option<Arc<Commands>> {
        let Self { hub, follows, style, is_named, last, head: (position, slot), place } = self;
        let words = [head, &opening(hub.jittered_retry())].concat();
        let mut subscription = Subscription::new(follows, style, slot, &words).of_client_at(last);
        hub.0.counters.opened();
        let number = hub.next_shard();
        let shard = hub.0.shards.get(number).map(|shard| shard.commands.clone());
        let (last, resumed) = if is_named {
            let opener = Opener { shard: number, owner: place.owner, device: place.device.as_deref() };
            hub.open_named(&mut subscription, opener, (last, position))
        } else {
            (last, None)
        };
        let is_now = beginning::is_now(&hub.0.history, subscription.follows());
        let place = Some(Arc::new(place));
        let opening = Opening { subscription, outlet, last, resumed, head: position, is_now, place };
        if let Some(shard) = &shard {
            shard.send(Command::Open(Box::new(opening)));
        }
        shard
    }
}

/// What a stream is sent before its beginning is known: a first byte, for browsers that take a response for open only
/// then, and its reconnection time. No blank line: a block of its own without an id would move the client's cursor to
/// nowhere.
fn opening(retry: Duration) -> Bytes {
    format!(": fanfare\nretry: {}\n", retry.as_millis()).into()
}
