//! What came out: figures that several scenarios share. They are written as JSON and read back for charts.

use serde::{Deserialize, Serialize};

/// How long things took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many were looked at.
    pub count: u64,
    /// Half took at most this.
    pub p50_us: u64,
    /// 90 of 100 took at most this.
    pub p90_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
    /// 999 of 1,000 took at most this.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What streams got, held against what they should have got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Streams that were open.
    pub streams: u64,
    /// Events that were published and acknowledged.
    pub published: u64,
    /// Deliveries that had to be made: every event to every stream that follows it.
    pub expected: u64,
    /// Deliveries that were made, doubled ones left out.
    pub delivered: u64,
    /// Deliveries that never came.
    pub missing: u64,
    /// Deliveries that came more than once, each further time.
    pub doubled: u64,
    /// Deliveries that came after one that was published later.
    pub reordered: u64,
    /// Deliveries to streams that don't follow the event, or that nobody published.
    pub foreign: u64,
    /// Streams that the server ended or broke off.
    pub cut: u64,
}

/// What the server used meanwhile. Absent where the server's process is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// Its processor time in seconds, user and kernel, of all its processes and threads.
    pub cpu_s: f64,
    /// Its memory (proportional set size) before, in bytes.
    pub memory_before_bytes: u64,
    /// The most memory that was seen meanwhile, in bytes.
    pub memory_peak_bytes: u64,
    /// Its memory afterwards, in bytes.
    pub memory_after_bytes: u64,
}

impl Delivery {
    /// Whether every stream got everything that it follows, once and in order.
    pub fn is_exact(&self) -> bool {
        let wrong = self.missing + self.doubled + self.reordered + self.foreign;
        wrong == 0 && self.delivered == self.expected
    }

    /// Adds what other streams got of the same events.
    pub fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.cut += other.cut;
    }
}
