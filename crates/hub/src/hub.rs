//! The hub: the log, the shards and the readers put together, and what a program asks of them. Publish, subscribe, read;
//! nothing here knows HTTP.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::catchup::LastEventId;
use crate::channel::{ChannelName, NameError};
use crate::clock::{Clock, SystemClock};
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;
use crate::follows::Follows;
use crate::frame::Form;
use crate::history::History;
use crate::index::Index;
use crate::limits::{ACTIVE_CHANNELS_MAX, BATCH_EVENTS_MAX, CURSOR_AGE_MAX, FOLLOWS_MAX, WINDOW_BYTES};
use crate::log::Log;
use crate::notice::HelloStyle;
use crate::outlet::mailbox;
use crate::rule::{HEARTBEAT, Rule, Rules};
use crate::shard::{Shard, ShardSettings};
use crate::shard_thread::{Command, Inbox, ReaderQueue, start, start_reader};
use crate::stats::{Counters, Stats, bump};
use crate::store::fjall::FjallStore;
use crate::store::{Store, StoreError};
use crate::stream::Stream;
use crate::subscription::{HeartbeatStyle, Style, Subscription};
use crate::writer::{AppendError, Placed, Writer, WriterParts};

/// How often the writer looks at what is due.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How many sweeps lie between two reclaims, at least (five minutes).
const RECLAIM_EVERY: u32 = 300;

/// What a hub is made of.
#[derive(Clone)]
pub struct HubConfig {
    /// The rules of channels, the first that matches counting.
    pub rules: Vec<Rule>,
    /// How many streams there may be; further ones are refused.
    pub streams_max: usize,
    /// Threads that serve streams; one per core if 0.
    pub shards: usize,
    /// Threads that read history for streams that are behind.
    pub readers: usize,
    /// Memory of the window, in bytes.
    pub window_bytes: usize,
    /// How old a cursor may be.
    pub cursor_age_max: Duration,
    /// How long a reader may take nothing before its stream is cut.
    pub stall_max: Duration,
    /// The shortest and longest reconnection time that streams are told on opening; each gets one of its own in between.
    pub retry: (Duration, Duration),
    /// The same when the hub stops: longer than a restart takes.
    pub bye_retry: (Duration, Duration),
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            streams_max: 10_000,
            shards: 0,
            readers: 2,
            window_bytes: WINDOW_BYTES,
            cursor_age_max: CURSOR_AGE_MAX,
            stall_max: Duration::from_secs(30),
            retry: (Duration::from_secs(2), Duration::from_secs(4)),
            bye_retry: (Duration::from_secs(3), Duration::from_secs(6)),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Why a hub can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread can't be started.
    #[error("a thread could not be started")]
    Thread(#[from] std::io::Error),
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The channel's name is not one.
    #[error("`channel` {0}")]
    Channel(#[from] NameError),
    /// The event is not as it must be.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The batch is too large.
    #[error("the batch has {0} events; at most {BATCH_EVENTS_MAX} are allowed")]
    BatchTooLarge(usize),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// What a publisher gets for an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Receipt {
    /// The event's id; none if it is transient.
    pub id: Option<String>,
    /// Its canonical channel.
    pub channel: String,
    /// How safe it is: `durable`, `memory` or `transient`.
    pub durability: &'static str,
    /// How many open streams follow one of its channels.
    pub streams: usize,
    /// Whether it had been published before, by its idempotency key.
    pub duplicate: bool,
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Nothing is followed.
    #[error("a stream must follow at least one channel or pattern")]
    Nothing,
    /// Too much is followed.
    #[error("a stream may follow at most {FOLLOWS_MAX} channels and patterns; these are {0}")]
    TooMany(usize),
    /// The hub has as many streams as it may have.
    #[error("the hub has as many streams as it may have")]
    Full,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
}

/// What a listener asks for.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
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
}

/// The hub. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    config: HubConfig,
    rules: Arc<Rules>,
    log: Log,
    store: Arc<dyn Store>,
    history: Arc<History>,
    counters: Arc<Counters>,
    shards: Vec<Arc<ShardHandle>>,
    readers: Arc<ReaderQueue>,
    /// The next stream's key, which also picks its shard.
    next_key: AtomicU64,
    /// Set when the hub stops: no stream is opened any more.
    stopping: AtomicBool,
    /// Streams being opened or open, against `streams_max`.
    open: Arc<AtomicUsize>,
    /// Shards, readers and keeper, joined by `close`.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Ends the keeper.
    keeper: Arc<(Mutex<bool>, Condvar)>,
}

struct ShardHandle {
    inbox: Arc<Inbox>,
    index: Arc<RwLock<Index>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens a hub with its data in `folder`, which is made if need be, and default settings.
    ///
    /// # Errors
    ///
    /// When the folder can't be used.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(folder, HubConfig::default())
    }

    /// Opens a hub with its data in `folder`.
    ///
    /// # Errors
    ///
    /// When the folder can't be used.
    pub fn open_with(folder: impl AsRef<Path>, config: HubConfig) -> Result<Self, OpenError> {
        Self::with_store(Arc::new(FjallStore::open(folder.as_ref())?), config)
    }

    /// Opens a hub on a store.
    ///
    /// # Errors
    ///
    /// When the store can't be used.
    pub fn with_store(store: Arc<dyn Store>, config: HubConfig) -> Result<Self, OpenError> {
        let rules = Arc::new(Rules::new(config.rules.clone()));
        let writer = Writer::open(WriterParts {
            store: store.clone(),
            rules: rules.clone(),
            clock: config.clock.clone(),
            random: Box::new(rand::random),
            window_bytes: config.window_bytes,
            channels_max: ACTIVE_CHANNELS_MAX,
            cursor_age_max: config.cursor_age_max,
        })?;
        let counters = Arc::new(Counters::default());
        let history = Arc::new(writer.history());
        let readers = Arc::new(ReaderQueue::default());
        let mut threads = Vec::new();
        let mut shards = Vec::new();
        let count = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        for number in 0..count {
            let (shard, handle) = new_shard(&writer, &counters, &config);
            let inbox = handle.inbox.clone();
            threads.push(start(number, shard, inbox, readers.clone(), config.clock.clone())?);
            shards.push(Arc::new(handle));
        }
        for number in 0..config.readers.max(1) {
            threads.push(start_reader(number, history.clone(), readers.clone())?);
        }
        let inboxes = shards.iter().map(|shard| shard.inbox.clone()).collect();
        let log = Log::start(writer, inboxes, counters.clone())?;
        let hub = Self(Arc::new(Shared {
            config,
            rules,
            log,
            store,
            history,
            counters,
            shards,
            readers,
            next_key: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            open: Arc::default(),
            threads: Mutex::new(threads),
            keeper: Arc::default(),
        }));
        hub.start_keeper()?;
        Ok(hub)
    }

    /// Starts the thread that has the log swept and space reclaimed. It doesn't keep the hub alive.
    fn start_keeper(&self) -> std::io::Result<()> {
        let hub = Arc::downgrade(&self.0);
        let keeper = self.0.keeper.clone();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            let (stopped, signal) = &*keeper;
            let mut sweeps = 0u32;
            loop {
                let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                let (guard, _) = signal
                    .wait_timeout_while(guard, SWEEP_EVERY, |stopped| !*stopped)
                    .unwrap_or_else(PoisonError::into_inner);
                if *guard {
                    return;
                }
                drop(guard);
                let Some(hub) = hub.upgrade() else { return };
                hub.log.sweep();
                sweeps = sweeps.wrapping_add(1);
                if sweeps.is_multiple_of(RECLAIM_EVERY) {
                    hub.reclaim_if_worth_it();
                }
            }
        })?;
        self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Publishes an event to a channel and waits until it is as durable as the channel's rule says.
    ///
    /// # Errors
    ///
    /// When the channel or the event is not as it must be, or the log did not take it.
    pub async fn publish(&self, channel: &str, event: impl Into<Event>) -> Result<Receipt, PublishError> {
        let draft = Draft::new(vec![ChannelName::new(channel)?], event.into(), Publisher::Anyone)?;
        self.publish_draft(draft).await
    }

    /// Publishes a draft and waits until it is as durable as its channels' rules say.
    ///
    /// # Errors
    ///
    /// When the log did not take it.
    pub async fn publish_draft(&self, draft: Draft) -> Result<Receipt, PublishError> {
        let mut results = self.publish_all(vec![draft], false).await?;
        results.pop().unwrap_or(Err(AppendError::Closed)).map_err(PublishError::from)
    }

    /// Publishes drafts in their order, with nobody else's between them. With `atomic` all or none.
    ///
    /// # Errors
    ///
    /// When there are too many. What happened to each is in the results, in the order of the drafts.
    pub async fn publish_all(
        &self,
        drafts: Vec<Draft>,
        atomic: bool,
    ) -> Result<Vec<Result<Receipt, AppendError>>, PublishError> {
        if drafts.len() > BATCH_EVENTS_MAX {
            return Err(PublishError::BatchTooLarge(drafts.len()));
        }
        let channels: Vec<Vec<ChannelName>> = drafts.iter().map(|draft| draft.channels.clone()).collect();
        let outcome = self.0.log.append(drafts, atomic).await;
        let receipt = |(placed, channels): (Result<Placed, AppendError>, &Vec<ChannelName>)| {
            placed.map(|placed| self.receipt(&placed, channels))
        };
        Ok(outcome.into_iter().zip(&channels).map(receipt).collect())
    }

    fn receipt(&self, placed: &Placed, channels: &[ChannelName]) -> Receipt {
        Receipt {
            id: placed.position.map(|position| self.0.history.epochs.cursor(position, None).to_text()),
            channel: channels.first().map(ToString::to_string).unwrap_or_default(),
            durability: placed.durability.as_str(),
            streams: self.streams_of(channels),
            duplicate: placed.duplicate,
        }
    }

    /// How many open streams follow one of these channels.
    pub fn streams_of(&self, channels: &[ChannelName]) -> usize {
        let count =
            |shard: &Arc<ShardHandle>| shard.index.read().unwrap_or_else(PoisonError::into_inner).count(channels);
        self.0.shards.iter().map(count).sum()
    }

    /// Opens a stream. Its first bytes are there at once.
    ///
    /// # Errors
    ///
    /// When nothing or too much is followed, or the hub is full or stopping.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Stream, SubscribeError> {
        let Subscribe { follows, last_event_id, form, hello, heartbeat } = subscribe;
        if follows.is_empty() {
            return Err(SubscribeError::Nothing);
        }
        if follows.len() > FOLLOWS_MAX {
            return Err(SubscribeError::TooMany(follows.len()));
        }
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(SubscribeError::Stopping);
        }
        if self.0.open.fetch_add(1, Ordering::AcqRel) >= self.0.config.streams_max {
            self.0.open.fetch_sub(1, Ordering::AcqRel);
            bump(&self.0.counters.refused_full);
            return Err(SubscribeError::Full);
        }
        let last = match last_event_id.as_deref() {
            None | Some("") => LastEventId::None,
            Some(id) => id.parse().map_or(LastEventId::Foreign, LastEventId::Cursor),
        };
        let stream = format!("{:032x}", rand::random::<u128>());
        let style =
            Style { stream: stream.clone(), form, hello, beat: heartbeat, heartbeat: self.heartbeat_of(&follows) };
        let key = self.0.next_key.fetch_add(1, Ordering::Relaxed);
        let (outlet, inlet) = mailbox();
        let shard = self.shard_of(key);
        bump(&self.0.counters.opened);
        bump(&self.0.counters.streams);
        shard.send(Command::Open {
            key,
            subscription: Box::new(Subscription::new(Arc::new(follows), style, self.0.history.window.head().1)),
            outlet: Box::new(outlet),
            last,
            opening: opening(self.jittered_retry()),
        });
        Ok(Stream::new(stream, key, inlet, shard, self.0.open.clone()))
    }

    /// The shard of a stream. There is always at least one.
    fn shard_of(&self, key: u64) -> Arc<Inbox> {
        let at = key as usize % self.0.shards.len().max(1);
        self.0.shards.get(at).map(|shard| shard.inbox.clone()).unwrap_or_default()
    }

    /// The shortest heartbeat of what is followed.
    fn heartbeat_of(&self, follows: &Follows) -> Duration {
        let of_channels = follows.channels().iter().map(|(name, _)| self.0.rules.of(name).heartbeat);
        let of_patterns =
            follows.patterns().iter().filter_map(|(p, _)| self.0.rules.of_pattern(p).map(|rule| rule.heartbeat).min());
        of_channels.chain(of_patterns).min().unwrap_or(HEARTBEAT)
    }

    /// A reconnection time for one stream.
    pub fn jittered_retry(&self) -> Duration {
        let (shortest, longest) = self.0.config.retry;
        shortest + longest.saturating_sub(shortest).mul_f64(rand::random())
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.0.history
    }

    /// Whether the hub takes events and streams. `Err` says why not.
    ///
    /// # Errors
    ///
    /// When it is stopping, or the store failed.
    pub fn ready(&self) -> Result<(), &'static str> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err("the hub is stopping");
        }
        if self.0.log.has_failed() {
            return Err("the store failed; the hub must be restarted");
        }
        Ok(())
    }

    /// What the hub is and has done.
    pub fn stats(&self) -> Stats {
        let history = &self.0.history;
        let epoch = history.epochs.current();
        let (head, _) = history.window.head();
        let (window_bytes, window_events) = history.window.size();
        Stats {
            epoch: format!("{:06x}-{:08x}", epoch.ordinal, epoch.random),
            head: history.epochs.cursor(head, None).to_text(),
            window_bytes: window_bytes as u64,
            window_events: window_events as u64,
            disk_bytes: self.0.store.disk_bytes().unwrap_or_default(),
            ..self.0.counters.snapshot()
        }
    }

    /// Gives the space of removed events back to the file system. Done by itself now and then; may take a while.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        self.0.store.reclaim()
    }

    /// Stops opening streams and ends those that are open, each with a `retry:` of its own beyond the restart. Publishing
    /// goes on until [`Hub::close`].
    pub fn drain(&self) {
        self.0.stopping.store(true, Ordering::Release);
        for shard in &self.0.shards {
            shard.inbox.send(Command::Drain);
        }
    }

    /// Ends the hub in order: streams, then the log, then all threads. Events that were handed in are still published.
    /// The data folder is free again when the last clone of the hub is dropped.
    pub async fn close(self) {
        self.drain();
        self.0.log.close().await;
        let shared = self.0.clone();
        let (done, joined) = tokio::sync::oneshot::channel();
        // Joining blocks, so it has a thread of its own.
        let thread = std::thread::Builder::new().name("close".into()).spawn(move || {
            shared.stop_threads();
            // Before it is said: whoever waits for it may want to open the folder again.
            drop(shared);
            let _ = done.send(());
        });
        if thread.is_ok() {
            let _ = joined.await;
        }
    }
}

impl Shared {
    /// Stops and joins all threads.
    fn stop_threads(&self) {
        self.log.join();
        for shard in &self.shards {
            shard.inbox.send(Command::Stop);
        }
        self.readers.stop();
        let (stopped, signal) = &*self.keeper;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        signal.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let this = std::thread::current().id();
        for thread in threads {
            // The keeper may be the last to let go of the hub; it can't wait for itself.
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!("a thread of the hub panicked");
            }
        }
    }

    /// Reclaims space if enough was removed since the last time.
    fn reclaim_if_worth_it(&self) {
        if self.log.take_removed() < REMOVED_WORTH_RECLAIMING {
            return;
        }
        if let Err(error) = self.store.reclaim() {
            tracing::error!(error = &error as &dyn std::error::Error, "space could not be reclaimed");
        }
    }
}

/// Index entries removed since the last reclaim that make another one worth its reading and writing.
const REMOVED_WORTH_RECLAIMING: u64 = 50_000;

/// What a stream is sent before its beginning is known: a first byte, for browsers that take a response for open only
/// then, and its reconnection time. No blank line: a block of its own without an id would move the client's cursor to
/// nowhere.
fn opening(retry: Duration) -> Bytes {
    format!(": fanfare\nretry: {}\n", retry.as_millis()).into()
}

fn new_shard(writer: &Writer, counters: &Arc<Counters>, config: &HubConfig) -> (Shard, ShardHandle) {
    let settings = ShardSettings { stall_max: config.stall_max, bye_retry: config.bye_retry };
    let shard = Shard::new(
        writer.window.clone(),
        writer.epochs.clone(),
        counters.clone(),
        settings,
        Box::new(rand::random),
        config.clock.elapsed(),
    );
    let handle = ShardHandle { inbox: Arc::default(), index: shard.index() };
    (shard, handle)
}
