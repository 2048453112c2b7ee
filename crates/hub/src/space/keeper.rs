//! The thread that looks after the hub once a second: at the room on the disk, and, by way of the log, at what is due.
//!
//! Nothing here takes long. What does, giving space back to the disk, is the [`reclaimer`](crate::space::reclaimer)'s.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::hub::Shared;
use crate::limits::KEEP_EVERY;

/// Ends the threads that look after the hub.
#[derive(Debug, Default)]
pub(crate) struct KeeperStop {
    stopped: Mutex<bool>,
    signal: Condvar,
}

impl KeeperStop {
    /// Tells them to end.
    pub(crate) fn now(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.signal.notify_all();
    }

    /// Whether they were told to.
    pub(crate) fn is_told(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next time. Returns whether to end instead.
    fn wait(&self) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.signal.wait_timeout_while(stopped, KEEP_EVERY, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the keeper.
pub(crate) fn start(hub: Weak<Shared>, stop: Arc<KeeperStop>) -> std::io::Result<JoinHandle<()>> {
    start_thread("keeper", hub, stop, |hub| {
        hub.space.look();
        hub.log.sweep();
    })
}

/// Starts a thread that does something about a hub every second. It doesn't keep the hub alive.
pub(crate) fn start_thread(
    name: &str,
    hub: Weak<Shared>,
    stop: Arc<KeeperStop>,
    mut look: impl FnMut(&Shared) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        while !stop.wait() {
            let Some(hub) = hub.upgrade() else { return };
            look(&hub);
        }
    })
}
