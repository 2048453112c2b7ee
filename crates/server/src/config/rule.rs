//! `[[rule]]`: what holds for the channels that a pattern matches.

use std::num::NonZeroU64;
use std::time::Duration;

use fanfare_hub::limits::FLUSH_MAX;
use fanfare_hub::{Durability, HistoryLimits, Overflow, Pattern, Rule, WhenFull};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ByteSize, Span};

/// What holds for the channels that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Which channels: a name in which `*` stands for any run of characters. Users' inboxes (`@inbox/*`) have a rule of their
    /// own unless one here matches them: `durable`, 1,000 messages, 30 days, 8 MiB; and whatever the rule, their oldest
    /// messages go rather than that new ones are refused.
    #[serde(with = "pattern")]
    #[schemars(with = "String")]
    pub pattern: Pattern,
    /// How safe an acknowledged event is. `durable`: on disk. `memory`: until a restart. `transient`: not kept at all, and
    /// never missed.
    #[serde(default = "durable", with = "DurabilityName")]
    #[schemars(with = "DurabilityName")]
    pub durability: Durability,
    /// How often a stream of these channels is sent a sign of life if there is nothing else to send.
    #[serde(default = "heartbeat")]
    pub heartbeat: Span,
    /// For how long an open stream gathers events of these channels, to be sent them in one write: fewer writes and packets
    /// for channels with many events a second, of which nobody sees each. At most `10s`. `0s`: each at once.
    #[serde(default = "at_once", deserialize_with = "flush")]
    pub flush: Span,
    /// How much is kept.
    #[serde(default)]
    pub history: HistoryConfig,
    /// What happens to a stream that is so slow that history no longer has what it is to get next. `skip`: it is told a gap
    /// and goes on. `close`: it is ended. `conflate`: as `skip`; and as soon as it is behind at all, values whose key has a later
    /// one are left out.
    #[serde(default, with = "OverflowName")]
    #[schemars(with = "OverflowName")]
    pub overflow: Overflow,
    /// How many keys may have a value, in a state channel. Its values count against `history.bytes_max`, too. One key more is
    /// refused.
    #[serde(default = "keys_max")]
    pub keys_max: NonZeroU64,
    /// How long a channel's producer may be silent. A channel whose last event is older is ended, with the reason `aborted`.
    /// Silence counts from the hub's start on, at the earliest: a hub that restarts more often than this ends none. `transient`
    /// channels, and those whose names begin with `@`, don't end so; a rule for nothing else is refused. By default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_max: Option<Span>,
}

/// How much of a channel is kept. The first limit that is reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// How long an event is kept.
    pub age_max: Span,
    /// Bytes kept, each event with about 160 bytes of overhead.
    pub bytes_max: ByteSize,
    /// Events kept.
    pub count_max: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        let HistoryLimits { count_max, age_max, bytes_max } = HistoryLimits::default();
        Self { age_max: Span::new(age_max), bytes_max: ByteSize::new(bytes_max), count_max }
    }
}

impl RuleConfig {
    /// Refuses what has no effect.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let what_never_ends = match self.durability {
            _ if self.silence_max.is_none() => return Ok(()),
            // No other pattern matches those channels, and this one matches no others.
            _ if self.pattern.as_str().starts_with('@') => {
                "a channel whose name begins with `@` doesn't end by silence"
            }
            Durability::Transient => "a `transient` channel doesn't end by silence",
            Durability::Durable | Durability::Memory => return Ok(()),
        };
        let pattern = &self.pattern;
        Err(("rule", format!("`{pattern}` has `silence_max` without effect: {what_never_ends}; leave it out")))
    }

    /// The rule as the engine has it.
    pub(crate) fn rule(&self) -> Rule {
        let HistoryConfig { age_max, bytes_max, count_max } = self.history;
        Rule {
            pattern: self.pattern.clone(),
            durability: self.durability,
            history: HistoryLimits { count_max, age_max: age_max.duration(), bytes_max: bytes_max.bytes() },
            overflow: self.overflow,
            keys_max: self.keys_max.get(),
            when_full: WhenFull::Refuse,
            heartbeat: self.heartbeat.duration(),
            silence_max: self.silence_max.map(Span::duration),
            flush: self.flush.duration(),
        }
    }
}

fn durable() -> Durability {
    Durability::Durable
}

fn keys_max() -> NonZeroU64 {
    NonZeroU64::new(fanfare_hub::rule::KEYS_MAX).unwrap_or(NonZeroU64::MIN)
}

fn heartbeat() -> Span {
    Span::new(fanfare_hub::rule::HEARTBEAT)
}

fn at_once() -> Span {
    Span::new(Duration::ZERO)
}

/// A flush interval, which must not be too long.
fn flush<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let flush = Span::deserialize(deserializer)?;
    if flush.duration() <= FLUSH_MAX {
        return Ok(flush);
    }
    let longest = Span::new(FLUSH_MAX);
    Err(serde::de::Error::custom(format!("a flush interval of {flush} is too long; at most {longest} are allowed")))
}

/// The words for a [`Durability`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Durability", rename_all = "snake_case")]
enum DurabilityName {
    Durable,
    Memory,
    Transient,
}

/// The words for an [`Overflow`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Overflow", rename_all = "snake_case")]
enum OverflowName {
    Skip,
    Close,
    Conflate,
}

/// A pattern as text.
mod pattern {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Pattern, Serializer};

    pub(super) fn serialize<S: Serializer>(pattern: &Pattern, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(pattern.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::new(&text).map_err(|error| D::Error::custom(format!("the pattern {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_defaults_for_all_but_its_pattern() {
        let rule: RuleConfig = toml::from_str("pattern = 'chat:*'").unwrap();
        assert_eq!(rule.rule(), Rule::new(Pattern::new("chat:*").unwrap()));
        let text = "pattern = 'a*'\ndurability = 'memory'\noverflow = 'close'\nheartbeat = '5s'\nsilence_max = '1m'\nhistory.count_max = 7";
        let rule = toml::from_str::<RuleConfig>(text).unwrap().rule();
        assert_eq!((rule.durability, rule.overflow, rule.history.count_max), (Durability::Memory, Overflow::Close, 7));
        assert_eq!(rule.silence_max, Some(std::time::Duration::from_mins(1)));
        assert_eq!(rule.history.age_max, HistoryLimits::default().age_max);
        let rule = toml::from_str::<RuleConfig>("pattern = 'a*'\nflush = '100ms'").unwrap().rule();
        assert_eq!(rule.flush, Duration::from_millis(100));
        let error = toml::from_str::<RuleConfig>("pattern = 'a*'\nflush = '11s'").unwrap_err();
        assert!(error.message().contains("11s is too long; at most 10s"), "{error}");
        assert!(toml::from_str::<RuleConfig>("durability = 'memory'").unwrap_err().message().contains("pattern"));
        assert!(toml::from_str::<RuleConfig>("pattern = ''").unwrap_err().message().contains("is empty"));
    }

    #[test]
    fn a_limit_of_silence_that_has_no_effect_is_refused() {
        let check = |rule: &str| toml::from_str::<RuleConfig>(rule).unwrap().check();
        for (rule, named) in [
            (
                "pattern = '@inbox/*'\nsilence_max = '1m'",
                "`@inbox/*` has `silence_max` without effect: a channel whose",
            ),
            ("pattern = '@*'\nsilence_max = '1m'", "`@`"),
            ("pattern = 'typing:*'\ndurability = 'transient'\nsilence_max = '1m'", "a `transient` channel"),
        ] {
            let (key, why) = check(rule).unwrap_err();
            assert_eq!(key, "rule");
            assert!(why.contains(named), "{why}");
        }
        for rule in
            ["pattern = '*'\nsilence_max = '1m'", "pattern = '@inbox/*'", "pattern = 'a'\ndurability = 'transient'"]
        {
            assert_eq!(check(rule), Ok(()), "{rule}");
        }
    }
}
