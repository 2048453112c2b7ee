//! Whom an event is for, where its publisher names no channels: everyone, or whoever follows the channels of a pattern.
//!
//! The channels of a pattern are those that open streams follow by name when it is published; the event then names them all,
//! so a stream that follows several gets it once, and who comes later finds it in each channel's history.
//!
//! Everyone is the channel `@everyone`, which every stream follows that doesn't decline. Nobody but this room publishes to
//! it, so that what holds for it (a key, say, would turn it into a channel of keys) is decided in one place.

use std::collections::BTreeSet;
use std::sync::{LazyLock, PoisonError};

use crate::channel::ChannelName;
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;
use crate::hub::Hub;
use crate::limits::PATTERN_CHANNELS_MAX;
use crate::pattern::Pattern;

/// The channel that every stream follows, unless it declines.
pub const EVERYONE: &str = "@everyone";

/// The channel that every stream follows, unless it declines.
#[expect(clippy::expect_used, reason = "the literal is a valid name")]
pub(crate) fn everyone() -> &'static ChannelName {
    static NAME: LazyLock<ChannelName> = LazyLock::new(|| ChannelName::new(EVERYONE).expect("a valid name"));
    &NAME
}

/// Whether a channel is the one that every stream follows.
pub(crate) fn is_everyone(name: &ChannelName) -> bool {
    name.as_str() == EVERYONE
}

/// Why an event can't be published to the channels of a pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// The pattern is one for the hub's own channels.
    #[error("`to.pattern` {0:?} begins with `@`; those channels are the hub's own and can't be published to")]
    Reserved(Pattern),
    /// Too many channels match.
    #[error("`to.pattern` {0:?} matches more than {PATTERN_CHANNELS_MAX} channels that open streams follow by name")]
    TooMany(Pattern),
    /// The event is not as it must be.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// The channels of a pattern that open streams followed by name when it was asked.
#[derive(Clone, Debug)]
pub struct PatternChannels {
    pattern: Pattern,
    /// In the order of their names.
    channels: Vec<ChannelName>,
}

impl Hub {
    /// Looks for the channels of a pattern that open streams follow by name at this moment. All names that are followed are
    /// looked at, some tens of nanoseconds each, so whoever has several events for a pattern asks once.
    ///
    /// # Errors
    ///
    /// When the pattern begins with `@` or matches too many.
    pub fn channels_of(&self, pattern: &Pattern) -> Result<PatternChannels, PatternError> {
        if pattern.as_str().starts_with('@') {
            return Err(PatternError::Reserved(pattern.clone()));
        }
        let channels = self.names_of(pattern).ok_or_else(|| PatternError::TooMany(pattern.clone()))?;
        Ok(PatternChannels { pattern: pattern.clone(), channels: channels.into_iter().collect() })
    }

    /// Checks an event for the channels of a pattern that open streams follow by name at this moment. There may be none: then
    /// nothing will be published, and the receipt says so.
    ///
    /// # Errors
    ///
    /// When the pattern begins with `@` or matches too many, or the event is not as it must be.
    pub fn to_pattern(&self, pattern: &Pattern, event: Event, publisher: Publisher) -> Result<Draft, PatternError> {
        Ok(Draft::to_channels_of(&self.channels_of(pattern)?, event, publisher)?)
    }

    /// The channels of a pattern that open streams follow by name; `None` where they are too many.
    fn names_of(&self, pattern: &Pattern) -> Option<BTreeSet<ChannelName>> {
        let mut channels = BTreeSet::new();
        for shard in &self.0.shards {
            let index = shard.index.read().unwrap_or_else(PoisonError::into_inner);
            for name in index.names_of(pattern) {
                channels.insert(name.clone());
                if channels.len() > PATTERN_CHANNELS_MAX {
                    return None;
                }
            }
        }
        Some(channels)
    }
}

impl Draft {
    /// Checks an event for every stream that doesn't decline; it goes to the channel `@everyone`.
    ///
    /// # Errors
    ///
    /// When the name, the data or an option is not as it must be; the error names it.
    pub fn to_everyone(event: Event, publisher: Publisher) -> Result<Self, DraftError> {
        if event.key.is_some() {
            return Err(DraftError::KeyOfTo);
        }
        Self::of(vec![everyone().clone()], event, publisher)
    }

    /// Checks an event for the channels of a pattern, as they were found. There may be none: then nothing will be published,
    /// and the receipt says so.
    ///
    /// # Errors
    ///
    /// When the name, the data or an option is not as it must be; the error names it.
    pub fn to_channels_of(met: &PatternChannels, event: Event, publisher: Publisher) -> Result<Self, DraftError> {
        if event.key.is_some() {
            return Err(DraftError::KeyOfTo);
        }
        let draft = Self::of(met.channels.clone(), event, publisher)?;
        Ok(Self { pattern: Some(met.pattern.clone()), ..draft })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_everyone_has_one_channel_and_no_key() {
        let draft = Draft::to_everyone(Event::text("x"), Publisher::Anyone).unwrap();
        assert_eq!(draft.channels, [everyone().clone()]);
        let keyed = Draft::to_everyone(Event::text("x").keyed("k"), Publisher::Anyone);
        assert!(matches!(keyed, Err(DraftError::KeyOfTo)));
        let named = Draft::new(vec![everyone().clone()], Event::text("x"), Publisher::Anyone);
        assert!(matches!(named, Err(DraftError::ReservedChannel(_))), "by its name it stays the hub's own");
    }
}
