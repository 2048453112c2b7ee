//! The word to stop, as a value: given once, heard by all tasks of a server.

use tokio::sync::watch;

/// Gives the word.
#[derive(Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

/// Waits for the word. Each task has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct Stopped(watch::Receiver<bool>);

/// The word, and how to wait for it.
pub(crate) fn stop() -> (Stop, Stopped) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Stopped(receiver))
}

impl Stop {
    /// Tells all tasks to stop. Dropping it tells them too.
    pub(crate) fn now(self) {
        // Nobody hears it only where all have ended.
        let _ = self.0.send(true);
    }
}

impl Stopped {
    /// Ready once it is time to stop.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}
