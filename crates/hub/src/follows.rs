//! What a stream follows: exact channels and patterns, and from when on each of them.

use std::time::Duration;

use crate::audience::{everyone, is_everyone};
use crate::channel::ChannelName;
use crate::cursor::{Cursor, ForeignCursor};
use crate::limits::LAST_MAX;
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::user::UserName;

/// From when on a stream wants events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Since {
    /// Nothing was said: from now on, but a channel with keys that is followed by name begins with all its values.
    #[default]
    Unsaid,
    /// From now on.
    Now,
    /// From where history begins.
    Start,
    /// From the last so many events of each channel on.
    Last(u32),
    /// After the event that had this id.
    After(Cursor),
    /// From so long ago on.
    Ago(Duration),
}

impl Since {
    /// Whether there may be something of before to be sent: where nothing is said, values of keys.
    pub(crate) fn reaches_back(self) -> bool {
        self != Self::Now
    }
}

/// Why a `since` can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinceError {
    /// It has no known form.
    #[error("must be `last:N`, `start`, an event's id, or a duration such as `5m`")]
    Form,
    /// `last:N` with an N that isn't allowed.
    #[error("asks for the last {0:?} events; `last:N` takes 0 to {LAST_MAX}")]
    Last(String),
}

impl std::str::FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        if text == "start" {
            return Ok(Self::Start);
        }
        if let Some(count) = text.strip_prefix("last:") {
            let count: Option<u32> = count.parse().ok().filter(|count| *count <= LAST_MAX);
            return count.map(Self::Last).ok_or_else(|| SinceError::Last(text.trim_start_matches("last:").to_owned()));
        }
        match text.parse::<Cursor>() {
            Ok(cursor) => Ok(Self::After(cursor)),
            Err(ForeignCursor) => duration(text).map(Self::Ago).ok_or(SinceError::Form),
        }
    }
}

/// Reads a duration: digits and `ms`, `s`, `m`, `h` or `d`; `None` where it is none.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(digits)?;
    let count: u64 = count.parse().ok()?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_ms).map(Duration::from_millis)
}

/// Exact channels and patterns, and who listens. Small, as ten thousand streams may follow ten thousand different things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Follows {
    /// Sorted by name, each once.
    channels: Box<[(ChannelName, Since)]>,
    /// Sorted by text, each once.
    patterns: Box<[(Pattern, Since)]>,
    /// Whether what is published to everyone is not wanted.
    declines_everyone: bool,
    /// Who listens.
    user: Option<Box<UserName>>,
}

impl Follows {
    /// These channels and patterns. Of one that is named twice the first counts.
    pub fn new(mut channels: Vec<(ChannelName, Since)>, mut patterns: Vec<(Pattern, Since)>) -> Self {
        channels.sort_by(|a, b| a.0.cmp(&b.0));
        channels.dedup_by(|later, first| later.0 == first.0);
        patterns.sort_by(|a, b| a.0.cmp(&b.0));
        patterns.dedup_by(|later, first| later.0 == first.0);
        let (channels, patterns) = (channels.into(), patterns.into());
        Self { channels, patterns, declines_everyone: false, user: None }
    }

    /// The same for a stream of this user, which gets what is published to everyone or does not.
    pub(crate) fn heard_by(mut self, user: Option<UserName>, hears_everyone: bool) -> Self {
        (self.user, self.declines_everyone) = (user.map(Box::new), !hears_everyone);
        self
    }

    /// The same for a stream of the same user.
    pub(crate) fn heard_as(self, other: &Self) -> Self {
        let (user, hears_everyone) = (other.user().cloned(), other.hears_everyone());
        self.heard_by(user, hears_everyone)
    }

    /// Whether what is published to everyone comes too.
    pub(crate) fn hears_everyone(&self) -> bool {
        !self.declines_everyone
    }

    /// Who listens.
    pub(crate) fn user(&self) -> Option<&UserName> {
        self.user.as_deref()
    }

    /// The exact channels.
    pub fn channels(&self) -> &[(ChannelName, Since)] {
        &self.channels
    }

    /// All channels that are followed by their names: the exact ones, and `@everyone`, unless that is declined.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ChannelName> {
        let is_implied = self.hears_everyone() && !self.is_named(everyone());
        self.channels.iter().map(|(name, _)| name).chain(is_implied.then(everyone))
    }

    /// Whether the channel is followed by its name.
    pub(crate) fn is_named(&self, name: &ChannelName) -> bool {
        self.channels.binary_search_by(|(channel, _)| channel.cmp(name)).is_ok()
    }

    /// From when on the channel is followed by its name.
    pub(crate) fn since_of(&self, name: &ChannelName) -> Option<Since> {
        let at = self.channels.binary_search_by(|(channel, _)| channel.cmp(name)).ok()?;
        self.channels.get(at).map(|(_, since)| *since)
    }

    /// The patterns.
    pub fn patterns(&self) -> &[(Pattern, Since)] {
        &self.patterns
    }

    /// The part of it that is picked.
    pub(crate) fn part(&self, channel: impl Fn(&ChannelName) -> bool, pattern: impl Fn(&Pattern) -> bool) -> Self {
        let channels = self.channels.iter().filter(|(name, _)| channel(name)).cloned().collect();
        let patterns = self.patterns.iter().filter(|(of, _)| pattern(of)).cloned().collect();
        Self::new(channels, patterns).heard_as(self)
    }

    /// What is left of it without something.
    pub(crate) fn without(&self, gone: &Self) -> Self {
        self.part(|name| !gone.is_named(name), |pattern| !gone.has(pattern))
    }

    /// Whether the pattern is one of those that are followed.
    pub(crate) fn has(&self, pattern: &Pattern) -> bool {
        self.patterns.iter().any(|(other, _)| other == pattern)
    }

    /// How many there are of both.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether nothing is followed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel is followed.
    pub fn includes(&self, name: &ChannelName) -> bool {
        self.is_named(name)
            || self.patterns.iter().any(|(pattern, _)| pattern.matches(name))
            || (self.hears_everyone() && is_everyone(name))
    }

    /// Whether an event is for who listens, if it is followed.
    pub(crate) fn is_for(&self, record: &Record) -> bool {
        record.except_user.is_none() || record.except_user.as_ref() != self.user()
    }

    /// The first of an event's channels that is followed, by its place in the record.
    pub(crate) fn channel_of(&self, record: &Record) -> Option<usize> {
        record.channels.iter().position(|name| self.includes(name))
    }

    /// From when on, if that is the same for all.
    pub(crate) fn common_since(&self) -> Option<Since> {
        let mut all = self.sinces();
        let first = all.next()?;
        all.all(|since| since == first).then_some(first)
    }

    /// From when on, of each.
    pub(crate) fn sinces(&self) -> impl Iterator<Item = Since> {
        self.channels.iter().map(|(_, since)| *since).chain(self.patterns.iter().map(|(_, since)| *since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;

    #[test]
    fn since_takes_a_count_a_start_an_id_or_a_duration() {
        let cursor = Cursor::at(Position::new(1, 2), 3);
        for (text, since) in [
            ("start", Since::Start),
            ("last:10", Since::Last(10)),
            ("5m", Since::Ago(Duration::from_mins(5))),
            ("1500ms", Since::Ago(Duration::from_millis(1500))),
            ("000001-00000003-0000000002", Since::After(cursor)),
        ] {
            assert_eq!(text.parse(), Ok(since), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "5w", "99999999999999999999d", "18446744073709551615d", "Start", "é"]
        {
            assert_eq!(text.parse::<Since>(), Err(SinceError::Form), "{text}");
        }
        for text in ["last:", "last:x", "last:1001", "last:-1"] {
            assert!(matches!(text.parse::<Since>(), Err(SinceError::Last(_))), "{text}");
        }
    }

    #[test]
    fn everyone_is_followed_unless_declined_and_named_once() {
        let name = |text: &str| ChannelName::new(text).unwrap();
        let names = |follows: &Follows| follows.names().map(ToString::to_string).collect::<Vec<_>>();
        let follows = Follows::new(vec![(name("a"), Since::Start)], vec![]);
        assert_eq!(
            (names(&follows), follows.common_since()),
            (vec!["a".into(), "@everyone".into()], Some(Since::Start))
        );
        let declining = follows.heard_by(None, false);
        assert_eq!((names(&declining), declining.includes(everyone())), (vec!["a".into()], false));
        let asked_for = Follows::new(vec![(name("@everyone"), Since::Last(3))], vec![]);
        assert_eq!(names(&asked_for), ["@everyone"]);
        assert!(size_of::<Follows>() <= 48, "it is held for each stream");
    }
}
