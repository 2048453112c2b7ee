//! Clients that publish at the same time until they are told to stop, values of which no two are alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::harness::{Address, Hub};
use crate::http::Connection;

const COUNT: u64 = 4;

/// Publishers of one hub.
pub(crate) struct Publishers {
    threads: Vec<JoinHandle<()>>,
    running: Arc<AtomicBool>,
}

/// What a publisher is to publish; they end when it is to stop.
pub(crate) struct Values {
    next: Arc<AtomicU64>,
    running: Arc<AtomicBool>,
}

impl Iterator for Values {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.running.load(Ordering::Acquire).then(|| self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Publishers {
    /// Starts them. Each has a number, a connection and its share of the values from `next` on.
    pub(crate) fn start(
        hub: &Hub,
        next: &Arc<AtomicU64>,
        publish: impl Fn(u64, Connection, Values) + Clone + Send + 'static,
    ) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let start = |number| {
            let (publish, connection) = (publish.clone(), hub.connect());
            let values = Values { next: next.clone(), running: running.clone() };
            std::thread::spawn(move || publish(number, connection, values))
        };
        Self { threads: (0..COUNT).map(start).collect(), running }
    }

    /// Stops them. Fails where one of them did.
    pub(crate) fn stop(self) {
        self.running.store(false, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}
