//! The hub: the log, the shards and the readers put together, and what a program asks of them. Publish, subscribe, read;
//! nothing here knows HTTP.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use self::config::{HubConfig, OpenError};
use crate::change::remembered::Remembered;
use crate::channel::ChannelName;
use crate::history::History;
use crate::index::Index;
use crate::index::follows_pool::FollowsPool;
use crate::limits::ACTIVE_CHANNELS_MAX;
use crate::log::Log;
use crate::rule::Rules;
use crate::shard::commands::{Command, Commands};
use crate::shard::progress::Progress;
use crate::shard::readers::{ReaderQueue, start_reader};
use crate::shard::thread::ShardLoop;
use crate::shard::{Shard, ShardSettings};
use crate::space::Space;
use crate::space::keeper::{self, KeeperStop};
use crate::space::reclaimer;
use crate::stats::{Counters, Stats};
use crate::store::fjall::FjallStore;
use crate::store::{Store, StoreError};
use crate::user::UserName;
use crate::window::Slots;
use crate::writer::{Writer, WriterParts};

pub mod config;
pub(crate) mod health;
pub mod publish;
pub mod stream;
pub mod subscribe;

/// How long the store's size on disk is remembered: figures are read every few seconds, by several at a time.
const DISK_BYTES_AGE_MAX: Duration = Duration::from_secs(5);

/// The hub. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub(pub(crate) Arc<Shared>);

/// What all clones of a hub share.
pub(crate) struct Shared {
    pub(crate) rules: Arc<Rules>,
    pub(crate) log: Log,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) space: Arc<Space>,
    pub(crate) history: Arc<History>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shards: Vec<Arc<ShardHandle>>,
    /// What open streams follow.
    pub(crate) follows: FollowsPool,
    /// The streams that were named or changed.
    pub(crate) remembered: Arc<Remembered>,
    pub(crate) readers: Arc<ReaderQueue>,
    /// Counts streams, which spreads them over the shards.
    pub(crate) next_shard: AtomicUsize,
    /// Set when the hub stops: no stream is opened any more.
    pub(crate) stopping: AtomicBool,
    /// How many streams there may be; changed by [`Hub::reload`].
    pub(crate) streams_max: AtomicUsize,
    /// The shortest and longest reconnection time that streams are told on opening; changed by [`Hub::reload`].
    pub(crate) retry: Mutex<(Duration, Duration)>,
    /// Set when the hub is about to stop: it is not ready any more, but goes on.
    pub(crate) leaving: AtomicBool,
    /// Streams being opened or open, against `streams_max`.
    pub(crate) open: Arc<AtomicUsize>,
    /// Shards, readers and keeper, joined by `close`.
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// What the store had on disk, and when it was asked.
    disk_bytes: Mutex<Option<(Duration, u64)>>,
    /// What its tables had, for as long as it is being reopened.
    table_bytes: AtomicU64,
    /// Ends keeper and reclaimer.
    pub(crate) keeper: Arc<KeeperStop>,
}

/// How a shard is reached.
pub(crate) struct ShardHandle {
    pub(crate) commands: Arc<Commands>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) progress: Arc<Progress>,
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
    pub fn with_store(store: Arc<dyn Store>, mut config: HubConfig) -> Result<Self, OpenError> {
        let rules = Arc::new(Rules::new(std::mem::take(&mut config.rules)));
        let space = Arc::new(Space::open(store.clone(), config.disk_reserve_bytes, config.disk_bytes_max)?);
        let writer = Writer::open(WriterParts {
            store: store.clone(),
            rules: rules.clone(),
            clock: config.clock.clone(),
            random: Box::new(rand::random),
            window_bytes: config.window_bytes,
            channels_max: ACTIVE_CHANNELS_MAX,
            cursor_age_max: config.cursor_age_max,
            space: space.clone(),
        })?;
        let counters = Arc::new(Counters::default());
        let history = Arc::new(writer.history());
        let readers = Arc::new(ReaderQueue::default());
        let remembered = Arc::new(Remembered::new(config.clock.clone(), counters.clone()));
        let mut threads = Vec::new();
        let mut shards = Vec::new();
        let count = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        for number in 0..count {
            let shard = new_shard(&writer, &counters, (number, remembered.clone()), &config);
            let (index, progress) = (shard.index(), shard.progress());
            let shard = ShardLoop::new(shard, readers.clone(), config.clock.clone())?;
            shards.push(Arc::new(ShardHandle { commands: shard.commands(), index, progress }));
            threads.push(shard.start(number)?);
        }
        for number in 0..config.readers.max(1) {
            threads.push(start_reader(number, history.clone(), readers.clone())?);
        }
        let of_shards = shards.iter().map(|shard| shard.commands.clone()).collect();
        let log = Log::start(writer, of_shards, counters.clone())?;
        let hub = Self(Arc::new(Shared {
            streams_max: AtomicUsize::new(config.streams_max),
            retry: Mutex::new(config.retry),
            rules,
            log,
            store,
            space,
            history,
            counters,
            shards,
            follows: FollowsPool::default(),
            remembered,
            readers,
            next_shard: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            open: Arc::default(),
            threads: Mutex::new(threads),
            disk_bytes: Mutex::default(),
            table_bytes: AtomicU64::new(0),
            keeper: Arc::default(),
        }));
        let looking = [
            keeper::start(Arc::downgrade(&hub.0), hub.0.keeper.clone())?,
            reclaimer::start(&hub.0, hub.0.keeper.clone())?,
        ];
        hub.0.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(looking);
        Ok(hub)
    }

    /// How many open streams follow one of these channels.
    pub fn streams_of(&self, channels: &[ChannelName]) -> usize {
        self.streams_except(channels, None)
    }

    /// The same, those of one user aside.
    pub(crate) fn streams_except(&self, channels: &[ChannelName], except: Option<&UserName>) -> usize {
        let count = |shard: &Arc<ShardHandle>| {
            shard.index.read().unwrap_or_else(PoisonError::into_inner).count(channels, except)
        };
        self.0.shards.iter().map(count).sum()
    }

    /// Takes over what can change while a hub runs: the rules, how many streams there may be, how slow they may be, how old
    /// they may become and what they are told of reconnecting, and the disk's reserve and limit. No stream ends. Stricter
    /// limits of history hold within moments, also for channels that nobody publishes to; a stream that is open keeps its
    /// heartbeat and its age.
    pub fn reload(&self, config: &HubConfig) {
        self.0.streams_max.store(config.streams_max, Ordering::Relaxed);
        *self.0.retry.lock().unwrap_or_else(PoisonError::into_inner) = config.retry;
        for shard in &self.0.shards {
            shard.commands.send(Command::Settings(ShardSettings::of(config)));
        }
        self.0.rules.replace(config.rules.clone());
        if let Err(error) = self.0.space.reload(config.disk_reserve_bytes, config.disk_bytes_max) {
            tracing::error!(%error, "the settings of the disk are as before");
        }
        self.0.log.sweep();
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.0.history
    }

    /// Whether `durable` events are refused because the disk is full. Everything else goes on.
    pub fn is_disk_full(&self) -> bool {
        self.0.space.is_full()
    }

    /// What the hub is and has done.
    pub fn stats(&self) -> Stats {
        let history = &self.0.history;
        let (head, end) = history.window.head();
        let (window_bytes, window_events) = history.window.size();
        let (queue, queue_bytes) = self.0.log.waiting();
        let (lag_events, lag) = self.lag(end);
        Stats {
            epoch: history.epochs.current().to_string(),
            head: history.epochs.cursor(head, None).to_text(),
            window_bytes: window_bytes as u64,
            window_events: window_events as u64,
            disk_bytes: self.disk_bytes(),
            disk_table_bytes: self.table_bytes(),
            disk_bytes_max: self.0.space.bytes_max(),
            disk_free_bytes: self.0.space.free(),
            disk_reserve_bytes: self.0.space.reserve(),
            disk_full: self.0.space.is_full(),
            ends: history.endings.counts().collect(),
            damaged: history.tiers.damage.count(),
            streams_max: self.0.streams_max.load(Ordering::Relaxed) as u64,
            streams_remembered: self.0.remembered.count() as u64,
            queue: queue as u64,
            queue_bytes: queue_bytes as u64,
            lag_events,
            lag,
            ..self.0.counters.snapshot(self.0.history.clock.elapsed())
        }
    }

    /// How many events before the slot `end` the slowest shard has not passed on yet, and how many seconds ago the first of
    /// them was published.
    fn lag(&self, end: u64) -> (u64, f64) {
        let slots = self.0.shards.iter().filter_map(|shard| shard.progress.slot());
        let Some(slot) = slots.min().filter(|slot| *slot < end) else { return (0, 0.0) };
        let window = &self.0.history.window;
        // Where the slot has left the window meanwhile, the oldest that is there will do.
        let first = match window.entries(slot.max(window.first()), 1, 1) {
            Slots::Entries(entries) => entries.first().map(|entry| entry.record.time_ms),
            Slots::Gone => None,
        };
        let ago_ms = first.map_or(0, |time_ms| self.0.history.clock.unix_ms().saturating_sub(time_ms));
        (end - slot, ago_ms as f64 / 1e3)
    }

    /// Bytes on disk, as they were some seconds ago at most: the store has to ask all its files.
    fn disk_bytes(&self) -> u64 {
        let now = self.0.history.clock.elapsed();
        let mut known = self.0.disk_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((at, bytes)) if now.saturating_sub(at) < DISK_BYTES_AGE_MAX => bytes,
            _ => {
                let before = known.map_or(0, |(_, bytes)| bytes);
                let bytes = self.0.store.disk_bytes().unwrap_or(before);
                *known = Some((now, bytes));
                bytes
            }
        }
    }

    /// Bytes of the tables that count against the disk limit; while the store is reopened, as they were.
    fn table_bytes(&self) -> u64 {
        let known = &self.0.table_bytes;
        match reclaimer::table_bytes(&*self.0.store) {
            Some(bytes) => {
                known.store(bytes, Ordering::Relaxed);
                bytes
            }
            None => known.load(Ordering::Relaxed),
        }
    }

    /// Gives the space of removed events back to the file system, all of it. Done by itself as it is worth it, for
    /// tables that are small enough; this may take a while, and publishers may have to wait.
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
        self.drain_over(Duration::ZERO);
    }

    /// The same, but the streams end spread over `window`, so that those who listen don't come back together. Returns at
    /// once; [`Hub::open_streams`] says how many there still are.
    pub fn drain_over(&self, window: Duration) {
        self.0.stopping.store(true, Ordering::Release);
        for shard in &self.0.shards {
            shard.commands.send(Command::Drain(window));
        }
    }

    /// Has [`Hub::ready`] say that the hub is about to stop, while it goes on as before: time for balancers to send nobody
    /// here any more.
    pub fn announce_stop(&self) {
        self.0.leaving.store(true, Ordering::Release);
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
    /// Whether a thread has ended, which none does before the hub stops, unless it panics.
    pub(crate) fn has_ended_thread(&self) -> bool {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter().any(JoinHandle::is_finished)
    }

    /// Tells shards, readers and keeper to end.
    fn tell_threads(&self) {
        for shard in &self.shards {
            shard.commands.send(Command::Stop);
        }
        self.readers.stop();
        self.keeper.now();
    }

    /// Stops and joins all threads, the log's first: what it releases is still delivered.
    fn stop_threads(&self) {
        self.log.join();
        self.tell_threads();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let this = std::thread::current().id();
        for thread in threads {
            // The keeper may be the last to let go of the hub; it can't wait for itself.
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!("a thread of the hub panicked");
            }
        }
    }
}

impl Drop for Shared {
    /// A hub that is dropped without [`Hub::close`] ends too, though nobody waits for it: the log's thread ends in order once
    /// its queue is gone.
    fn drop(&mut self) {
        self.tell_threads();
    }
}

fn new_shard(
    writer: &Writer,
    counters: &Arc<Counters>,
    remembered: (usize, Arc<Remembered>),
    config: &HubConfig,
) -> Shard {
    Shard::new(
        writer.window.clone(),
        writer.epochs.clone(),
        (counters.clone(), writer.endings.clone()),
        remembered,
        ShardSettings::of(config),
        Box::new(rand::random),
        config.clock.elapsed(),
    )
}
