//! Giving the core to others in time.

/// Writes, of some microseconds each, after which a shard lets other threads have its core.
const WRITES_IN_A_ROW: u32 = 16;

/// Lets other threads have the core now and then. Thousands of writes in a row keep it for many milliseconds, and those who
/// wait are the log and its publishers, without whom there is nothing to write.
#[derive(Debug, Default)]
pub(super) struct GiveWay {
    writes: u32,
}

impl GiveWay {
    /// A write is about to be done.
    pub(super) fn wrote(&mut self) {
        self.writes = self.writes.wrapping_add(1);
        if self.writes.is_multiple_of(WRITES_IN_A_ROW) {
            std::thread::yield_now();
        }
    }
}
