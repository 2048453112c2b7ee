//! What a hub does when its store fails under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::store::{Batch, KeyRange, Order, Persist, Scan, Store, StoreError, Table};
use fanfare_hub::{AppendError, ChannelName, HistoryQuery, Hub, HubConfig, PublishError, Since};

/// A store whose commits fail when told to.
struct Failing {
    store: MemoryStore,
    broken: Arc<AtomicBool>,
}

impl Store for Failing {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Failed("no space left on device".into()));
        }
        self.store.commit(batch, persist)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        self.store.scan(table, range, order)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.store.reclaim()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.store.disk_bytes()
    }
}

#[tokio::test]
async fn a_failed_commit_is_an_unknown_outcome_and_nothing_is_delivered_or_taken_afterwards() {
    let broken = Arc::new(AtomicBool::new(false));
    let store = Failing { store: MemoryStore::default(), broken: broken.clone() };
    let hub = Hub::with_store(Arc::new(store), HubConfig::default()).unwrap();
    hub.publish("a", "good").await.unwrap();
    assert_eq!(hub.ready(), Ok(()));
    broken.store(true, Ordering::Release);
    let error = hub.publish("a", "doubtful").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::OutcomeUnknown)), "{error}");
    broken.store(false, Ordering::Release);
    let error = hub.publish("a", "late").await.unwrap_err();
    assert!(matches!(error, PublishError::Append(AppendError::Closed)), "{error}");
    assert!(hub.ready().unwrap_err().contains("store failed"));
    assert_eq!(hub.stats().failed, 2);
    let query = HistoryQuery { since: Since::Start, before: None, order: Order::Ascending, limit: 10 };
    let page = hub.history_of(&ChannelName::new("a").unwrap(), query).unwrap();
    assert_eq!(page.entries.len(), 1, "reading goes on");
    hub.close().await;
}
