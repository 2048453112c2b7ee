//! Whether the hub does what it is for, and if not, what is wrong: a few questions that are cheap to answer, for balancers
//! that ask every second.

use std::sync::atomic::Ordering;

use crate::hub::Hub;

/// One of the things that must be right for a hub to take events and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: a stable word, for programs.
    pub name: &'static str,
    /// What is wrong, for people; none where it is right.
    pub problem: Option<&'static str>,
    /// Whether nobody should be sent here while it is wrong.
    pub is_essential: bool,
}

impl Hub {
    /// Everything that must be right, and whether it is. Always the same checks in the same order.
    pub fn checks(&self) -> Vec<Check> {
        let hub = &self.0;
        let check = |name, is_wrong: bool, problem| Check {
            name,
            problem: is_wrong.then_some(problem),
            // Whoever listens is served on a full disk, too.
            is_essential: name != "disk",
        };
        let is_stopping = hub.stopping.load(Ordering::Acquire) || hub.leaving.load(Ordering::Acquire);
        vec![
            check("draining", is_stopping, "the hub is stopping"),
            check("store", hub.log.has_failed(), "the store failed and is being reopened"),
            check("log", hub.log.is_closed(), "the log's thread has ended; the hub must be restarted"),
            check(
                "shards",
                hub.shards.iter().any(|shard| shard.commands.is_closed()),
                "a shard's thread has ended; the hub must be restarted",
            ),
            check(
                "threads",
                hub.has_ended_thread(),
                "a reader's or the keeper's thread has ended; the hub must be restarted",
            ),
            check("disk", hub.space.is_full(), "the disk is full; durable events are refused"),
        ]
    }

    /// Whether the hub takes events and streams. `Err` says why not.
    ///
    /// # Errors
    ///
    /// When one of its essential [checks](Hub::checks) finds something wrong.
    pub fn ready(&self) -> Result<(), &'static str> {
        self.checks().iter().filter(|check| check.is_essential).find_map(|check| check.problem).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::{HubConfig, Subscribe};

    fn wrong(hub: &Hub) -> Vec<&'static str> {
        hub.checks().into_iter().filter(|check| check.problem.is_some()).map(|check| check.name).collect()
    }

    #[tokio::test]
    async fn what_has_ended_is_named() {
        let config = HubConfig { shards: 2, ..HubConfig::default() };
        let hub = Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap();
        assert_eq!(wrong(&hub), <[&str; 0]>::default());
        assert_eq!(hub.ready(), Ok(()));
        hub.drain();
        assert_eq!(wrong(&hub), ["draining"]);
        hub.clone().close().await;
        assert_eq!(wrong(&hub), ["draining", "log", "shards"]);
        assert_eq!(hub.ready(), Err("the hub is stopping"));
        assert!(hub.subscribe(Subscribe::default()).is_err());
    }
}
