//! What a hub does when its store fails under it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::store::{Batch, KeyRange, Order, Persist, Scan, Store, StoreError, Table};
use fanfare_hub::{
    AppendError, ChannelName, Draft, Durability, Event, Follows, HistoryError, Hub, HubConfig, Pattern, PublishError,
    Publisher, Rule, Since, Stream, Subscribe,
};

use crate::reading::{history, kept, read_to_end, read_until};

/// An event with this data can't be read back.
const UNREADABLE: &str = "unreadable";

/// A store that fails when told to.
#[derive(Default)]
struct Failing {
    store: MemoryStore,
    /// Commits fail, and so does reopening.
    broken: AtomicBool,
    /// A commit failed, and it was not reopened since.
    poisoned: AtomicBool,
    /// Whoever writes to it panics.
    panics: AtomicBool,
    /// It can't be read either.
    closed: AtomicBool,
    reopenings: AtomicU64,
    /// What failed is there after reopening.
    keeps: AtomicBool,
    doubtful: Mutex<Option<Batch>>,
}

impl Failing {
    fn failed() -> StoreError {
        StoreError::Failed("no space left on device".into())
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(StoreError::Reopening) } else { Ok(()) }
    }
}

fn readable(value: &[u8]) -> Result<(), StoreError> {
    let is_damaged = value.windows(UNREADABLE.len()).any(|part| part == UNREADABLE.as_bytes());
    if is_damaged { Err(StoreError::Damaged("a bad block".into())) } else { Ok(()) }
}

impl Store for Failing {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        assert!(!self.panics.load(Ordering::Acquire), "as the test wants it");
        if self.broken.load(Ordering::Acquire) || self.poisoned.load(Ordering::Acquire) {
            if !self.poisoned.swap(true, Ordering::AcqRel) && self.keeps.load(Ordering::Acquire) {
                *self.doubtful.lock().unwrap() = Some(batch);
            }
            return Err(Self::failed());
        }
        self.store.commit(batch, persist)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        let value = self.store.get(table, key)?;
        value.as_deref().map_or(Ok(()), readable)?;
        Ok(value)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        match self.check() {
            Ok(()) => Box::new(self.store.scan(table, range, order).map(|pair| {
                let (key, value) = pair?;
                readable(&value)?;
                Ok((key, value))
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.store.reclaim()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.store.disk_bytes()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.reopenings.fetch_add(1, Ordering::AcqRel);
        if self.broken.load(Ordering::Acquire) {
            return Err(Self::failed());
        }
        if let Some(batch) = self.doubtful.lock().unwrap().take() {
            self.store.commit(batch, Persist::Now)?;
        }
        self.poisoned.store(false, Ordering::Release);
        self.closed.store(false, Ordering::Release);
        Ok(())
    }

    fn wait(&self, _: Duration) -> bool {
        !self.closed.load(Ordering::Acquire)
    }
}

/// A hub on a store that can be made to fail. Channels that begin with `m` are kept in memory.
fn hub() -> (Hub, Arc<Failing>) {
    let store = Arc::new(Failing::default());
    let rule = Rule::new(Pattern::new("m*").unwrap()).durability(Durability::Memory);
    let config = HubConfig { rules: vec![rule], ..HubConfig::default() };
    (Hub::with_store(store.clone(), config).unwrap(), store)
}

/// Publishes until it is taken.
async fn publish(hub: &Hub, channel: &str, data: &str) {
    until(async || hub.publish(channel, data).await.is_ok()).await;
}

async fn until(mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be");
}

fn resume(hub: &Hub, channel: &str, id: &str) -> Stream {
    let follows = Follows::new(vec![(ChannelName::new(channel).unwrap(), Since::Now)], vec![]);
    hub.subscribe(Subscribe { follows, last_event_id: Some(id.to_owned()), ..Subscribe::default() }).unwrap()
}

fn follow(hub: &Hub, channel: &str, since: Since) -> Stream {
    let follows = Follows::new(vec![(ChannelName::new(channel).unwrap(), since)], vec![]);
    hub.subscribe(Subscribe { follows, ..Subscribe::default() }).unwrap()
}

#[tokio::test]
async fn a_failed_commit_is_an_unknown_outcome_and_publishing_goes_on_by_itself_once_the_store_is_back() {
    let (hub, store) = hub();
    let mut live = follow(&hub, "a", Since::Now);
    read_until(&mut live, "fanfare.hello").await;
    hub.publish("a", "good").await.unwrap();
    hub.publish("m", "in memory").await.unwrap();
    assert_eq!(hub.ready(), Ok(()));
    store.broken.store(true, Ordering::Release);
    let error = hub.publish("a", "doubtful").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::OutcomeUnknown)), "{error}");
    let error = hub.publish("a", "refused").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::Reopening)), "{error}");
    assert!(hub.ready().unwrap_err().contains("being reopened"));
    assert_eq!(kept(&hub, "a"), ["good"], "reading goes on");
    store.broken.store(false, Ordering::Release);
    publish(&hub, "a", "after").await;
    assert_eq!(hub.ready(), Ok(()));
    assert_eq!(kept(&hub, "a"), ["good", "after"]);
    assert_eq!(kept(&hub, "m"), ["in memory"]);
    let heard = read_until(&mut live, "data: after\n").await;
    assert!(heard.contains("data: good\n") && !heard.contains("doubtful") && !heard.contains("refused"), "{heard}");
    let stats = hub.stats();
    assert!(
        stats.refused["outcome_unknown"] + stats.refused["store_reopening"] >= 2
            && store.reopenings.load(Ordering::Acquire) >= 2
    );
    assert_eq!((stats.store_failures, stats.store_reopenings, stats.gaps["restart"]), (1, 1, 0));
    hub.close().await;
}

#[tokio::test]
async fn a_hub_comes_back_though_what_its_failed_commit_left_can_not_be_read() {
    let draft = |data: &str| {
        Draft::new(vec![ChannelName::new("a").unwrap()], Event::text(data.to_owned()), Publisher::Anyone).unwrap()
    };
    // Where one of its events can be read, all have come to be, and who listens gets them. Where none can, they
    // are told a gap.
    for (batch, heard) in [(&["first", UNREADABLE, "third"][..], true), (&[UNREADABLE], false)] {
        let (hub, store) = hub();
        store.keeps.store(true, Ordering::Release);
        let mut live = follow(&hub, "a", Since::Now);
        read_until(&mut live, "fanfare.hello").await;
        store.broken.store(true, Ordering::Release);
        let results = hub.publish_all(batch.iter().map(|data| draft(data)).collect(), true).await.unwrap();
        assert!(results.iter().all(|result| matches!(result, Err(AppendError::OutcomeUnknown))), "{results:?}");
        store.broken.store(false, Ordering::Release);
        publish(&hub, "a", "after").await;
        let text = read_until(&mut live, "data: after\n").await;
        for data in batch {
            assert_eq!(text.matches(&format!("data: {data}\n")).count(), usize::from(heard), "{text}");
        }
        assert_eq!(text.contains(r#""reason":"damaged""#), !heard, "{text}");
        assert_eq!(hub.stats().store_reopenings, 1);
        assert!(hub.stats().damaged > 0);
        hub.close().await;
    }
}

#[tokio::test]
async fn a_store_that_failed_in_the_background_is_reopened_though_nobody_publishes() {
    let (hub, store) = hub();
    store.poisoned.store(true, Ordering::Release);
    until(async || hub.stats().store_reopenings == 1).await;
    hub.publish("a", "at once").await.unwrap();
    hub.close().await;
}

#[tokio::test]
async fn reads_wait_for_the_store_streams_as_long_as_it_takes() {
    let (hub, store) = hub();
    hub.publish("a", "1").await.unwrap();
    store.broken.store(true, Ordering::Release);
    store.closed.store(true, Ordering::Release);
    hub.publish("a", Event::text("doubtful")).await.unwrap_err();
    assert!(matches!(history(&hub, "a"), Err(HistoryError::Store(StoreError::Reopening))));
    let mut stream = follow(&hub, "a", Since::Start);
    store.broken.store(false, Ordering::Release);
    let heard = read_until(&mut stream, "data: 1\n").await;
    assert!(!heard.contains("fanfare.bye"), "{heard}");
    publish(&hub, "a", "2").await;
    read_until(&mut stream, "data: 2\n").await;
    hub.close().await;
}

#[tokio::test]
async fn a_hub_whose_log_panicked_is_not_ready_and_says_why() {
    let (hub, store) = hub();
    store.panics.store(true, Ordering::Release);
    let error = hub.publish("a", "doubtful").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::OutcomeUnknown)), "{error}");
    until(async || hub.ready().is_err()).await;
    assert_eq!(hub.ready(), Err("the log's thread has ended; the hub must be restarted"));
    let error = hub.publish("a", "late").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::Closed)), "{error}");
    assert_eq!(kept(&hub, "a"), <[&str; 0]>::default(), "reading goes on");
    hub.close().await;
}

#[tokio::test]
async fn a_hub_ends_in_time_though_its_store_does_not_come_back() {
    let (hub, store) = hub();
    store.broken.store(true, Ordering::Release);
    hub.publish("a", "doubtful").await.unwrap_err();
    let closed = tokio::time::timeout(Duration::from_secs(20), hub.close()).await;
    assert!(closed.is_ok(), "it never ends");
}

#[tokio::test]
async fn a_hub_that_stops_before_it_knows_where_streams_begin_leaves_their_clients_where_they_were() {
    let (hub, store) = hub();
    let id = hub.publish("a", "x").await.unwrap().id.unwrap();
    store.closed.store(true, Ordering::Release);
    let mut resumed = resume(&hub, "a", &id);
    let follows = Follows::new(vec![(ChannelName::new("a").unwrap(), Since::Start)], vec![]);
    let mut new = hub.subscribe(Subscribe { follows, ..Subscribe::default() }).unwrap();
    hub.drain_over(Duration::ZERO);
    let (resumed, new) = (read_to_end(&mut resumed).await, read_to_end(&mut new).await);
    assert!(resumed.contains(&format!("\nid: {id}\nevent: fanfare.bye\n")), "{resumed}");
    assert!(new.contains("\nevent: fanfare.bye\n") && !new.contains("id: "), "{new}");
    store.closed.store(false, Ordering::Release);
    hub.close().await;
}
