//! Rules: what holds for all channels that match a pattern. The first rule that matches a channel counts; a channel that
//! none matches has the default rule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::channel::ChannelName;
use crate::limits::{DEVICE_AGE_MAX, DEVICES_MAX, FLUSH_MAX, INBOX_AGE_MAX, INBOX_BYTES_MAX, INBOX_MESSAGES_MAX};
use crate::pattern::Pattern;
use crate::user::{DEVICES_PREFIX, INBOX_PREFIX};

/// How safe an acknowledged event is. A stronger class compares as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// No position, no history, never a gap: typing notices, counts. Who isn't there misses it.
    Transient,
    /// Kept in memory only; a restart takes it and tells a gap.
    Memory,
    /// On disk, synced, before it is acknowledged and before it is delivered.
    Durable,
}

impl Durability {
    /// The word for it in receipts and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Memory => "memory",
            Self::Durable => "durable",
        }
    }
}

/// How much of a channel is kept. The first limit that is reached counts. Limits by count and bytes are applied in steps
/// of a sixteenth, so a channel may hold that much more for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Events kept.
    pub count_max: u64,
    /// How long an event is kept.
    pub age_max: Duration,
    /// Bytes of event data and overhead kept.
    pub bytes_max: u64,
}

impl Default for HistoryLimits {
    /// 100,000 events, 7 days, 64 MiB: enough to come back from a long weekend, too little for one channel to fill a disk.
    fn default() -> Self {
        Self { count_max: 100_000, age_max: Duration::from_hours(7 * 24), bytes_max: 64 * 1024 * 1024 }
    }
}

/// What happens to a stream that is slower than its channels, once what it has yet to get is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// One gap is told, then the stream goes on from where history begins.
    #[default]
    Skip,
    /// The stream is ended; its reader comes back when it can, and is told the gap then.
    Close,
    /// Of values that wait for it, those whose key has a later one by now are left out, also before anything is lost. What is
    /// not kept any more is a gap as with `Skip`.
    Conflate,
}

/// What happens to a value of a new key when its channel holds as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken, and the oldest values go. Whoever has yet to get them is told a gap.
    DropOldest,
}

/// The settings of all channels that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which channels.
    pub pattern: Pattern,
    /// How safe their events are.
    pub durability: Durability,
    /// How much of them is kept.
    pub history: HistoryLimits,
    /// What happens to streams that are too slow for them.
    pub overflow: Overflow,
    /// How many keys may have a value, where events have keys.
    pub keys_max: u64,
    /// What happens to a value of one key more.
    pub when_full: WhenFull,
    /// How often a stream that follows such a channel is sent something, if nothing else is sent. A stream takes the
    /// shortest of its channels' heartbeats.
    pub heartbeat: Duration,
    /// How long a channel's producer may be silent: a channel whose last event is older ends as aborted. None where that
    /// doesn't matter. It means nothing for `transient` channels, of which nothing is kept, and for the hub's own.
    pub silence_max: Option<Duration>,
    /// For how long a live stream gathers events of such channels, to be sent them in one write; zero: each at once. At most
    /// [`FLUSH_MAX`].
    pub flush: Duration,
}

/// The default for keys of a channel: what a page can take up at once when it begins.
pub const KEYS_MAX: u64 = 10_000;

/// The default heartbeat: below the idle time-outs of the usual proxies (30–60 s) and cheap enough for any number.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

impl Rule {
    /// A rule for these channels with all defaults: durable, the default history, 15 s of heartbeat.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            durability: Durability::Durable,
            history: HistoryLimits::default(),
            overflow: Overflow::default(),
            keys_max: KEYS_MAX,
            when_full: WhenFull::default(),
            heartbeat: HEARTBEAT,
            silence_max: None,
            flush: Duration::ZERO,
        }
    }

    /// The same rule with this durability.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same rule with this history.
    pub fn history(mut self, history: HistoryLimits) -> Self {
        self.history = history;
        self
    }

    /// For how long live streams gather, in milliseconds.
    pub(crate) fn flush_ms(&self) -> u32 {
        self.flush.min(FLUSH_MAX).as_millis() as u32
    }

    /// The same rule with this overflow.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// The rule as it holds for inboxes: a message is a key of its own, the oldest go, and an inbox never ends.
    fn of_inbox(self) -> Self {
        let messages_max = self.keys_max.min(self.history.count_max).max(1);
        Self { silence_max: None, ..self }.keys(messages_max, WhenFull::DropOldest)
    }

    /// The same rule with so many keys at most, and what happens to one more.
    pub fn keys(mut self, keys_max: u64, when_full: WhenFull) -> Self {
        (self.keys_max, self.when_full) = (keys_max, when_full);
        self
    }
}

/// All rules of a hub, in their order. They can be replaced while the hub runs.
#[derive(Debug)]
pub struct Rules {
    current: RwLock<Arc<Ordered>>,
    /// Counts replacements.
    version: AtomicU64,
}

#[derive(Debug)]
struct Ordered {
    /// Asked first to last.
    listed: Vec<Arc<Rule>>,
    /// The same as they hold for inboxes.
    of_inboxes: Vec<Arc<Rule>>,
    /// For inboxes that no rule matched.
    inbox: Arc<Rule>,
    /// For what is known of users' devices.
    devices: Arc<Rule>,
    /// For names beginning with `@` that no rule matched.
    reserved: Arc<Rule>,
    /// For all others.
    default: Arc<Rule>,
}

impl Ordered {
    #[expect(clippy::expect_used, reason = "the literals are valid patterns")]
    fn new(rules: Vec<Rule>) -> Self {
        let all = |prefix: &str| Rule::new(Pattern::new(&format!("{prefix}*")).expect("a valid pattern"));
        let limits =
            HistoryLimits { count_max: INBOX_MESSAGES_MAX, age_max: INBOX_AGE_MAX, bytes_max: INBOX_BYTES_MAX };
        let of_devices = HistoryLimits { age_max: DEVICE_AGE_MAX, ..HistoryLimits::default() };
        Self {
            of_inboxes: rules.iter().cloned().map(|rule| Arc::new(rule.of_inbox())).collect(),
            listed: rules.into_iter().map(Arc::new).collect(),
            inbox: Arc::new(all(INBOX_PREFIX).history(limits).of_inbox()),
            devices: Arc::new(all(DEVICES_PREFIX).history(of_devices).keys(DEVICES_MAX, WhenFull::DropOldest)),
            reserved: Arc::new(all("@")),
            default: Arc::new(all("")),
        }
    }
}

impl Rules {
    /// These rules, the first that matches counting.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { current: RwLock::new(Arc::new(Ordered::new(rules))), version: AtomicU64::new(0) }
    }

    fn current(&self) -> Arc<Ordered> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rule of a channel.
    pub fn of(&self, channel: &ChannelName) -> Arc<Rule> {
        let current = self.current();
        let (listed, fallback) = match channel.as_str() {
            name if name.starts_with(INBOX_PREFIX) => (&current.of_inboxes, &current.inbox),
            // Nobody sees these, so nobody sets them.
            name if name.starts_with(DEVICES_PREFIX) => return current.devices.clone(),
            _ if channel.is_reserved() => (&current.listed, &current.reserved),
            _ => (&current.listed, &current.default),
        };
        listed.iter().find(|rule| rule.pattern.matches(channel)).unwrap_or(fallback).clone()
    }

    /// The rules that channels of this pattern may have.
    pub fn of_pattern(&self, pattern: &Pattern) -> Vec<Arc<Rule>> {
        let current = self.current();
        let own = [&current.inbox, &current.devices, &current.reserved, &current.default];
        let all = current.listed.iter().chain(own);
        all.filter(|rule| rule.pattern.overlaps(pattern)).cloned().collect()
    }

    /// Puts others in their place. Whoever holds a rule goes on with it until it sees that the version has changed.
    pub(crate) fn replace(&self, rules: Vec<Rule>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.listed.iter().map(|rule| &**rule).eq(&rules) {
            *current = Arc::new(Ordered::new(rules));
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// How often they were replaced.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Tells these rules from others, also from those of another run.
    pub(crate) fn mark(&self) -> [u8; 8] {
        xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.current().listed).as_bytes()).to_be_bytes()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let pattern = |text| Pattern::new(text).unwrap();
        let rules = Rules::new(vec![
            Rule::new(pattern("chat:typing:*")).durability(Durability::Transient),
            Rule::new(pattern("chat:*")).durability(Durability::Memory),
        ]);
        let of = |name| rules.of(&ChannelName::new(name).unwrap()).durability;
        assert_eq!(of("chat:typing:1"), Durability::Transient);
        assert_eq!(of("chat:1"), Durability::Memory);
        assert_eq!(of("news"), Durability::Durable);
        assert_eq!(of("@system/metrics"), Durability::Durable);
        let of_pattern: Vec<_> = rules.of_pattern(&pattern("chat:1*")).iter().map(|rule| rule.durability).collect();
        assert_eq!(of_pattern, [Durability::Memory, Durability::Durable]);
    }

    #[test]
    fn inboxes_drop_their_oldest_whatever_the_rule() {
        let limits = HistoryLimits { count_max: 7, ..HistoryLimits::default() };
        let rules = Rules::new(vec![Rule::new(Pattern::new("@inbox/a*").unwrap()).history(limits)]);
        let of = |name: &str| {
            let rule = rules.of(&ChannelName::new(name).unwrap());
            (rule.keys_max, rule.when_full, rule.history.count_max)
        };
        assert_eq!(of("@inbox/ada"), (7, WhenFull::DropOldest, 7));
        assert_eq!(of("@inbox/bob"), (INBOX_MESSAGES_MAX, WhenFull::DropOldest, INBOX_MESSAGES_MAX));
        assert_eq!(of("@devices/ada"), (DEVICES_MAX, WhenFull::DropOldest, 100_000));
        assert_eq!(of("@other"), (KEYS_MAX, WhenFull::Refuse, 100_000));
    }
}
