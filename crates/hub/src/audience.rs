//! Whom an event is for, where its publisher names no channels: everyone, or whoever follows the channels of a pattern.
//!
//! Everyone is the channel `@everyone`, which every stream follows that doesn't decline. Nobody but this room publishes to
//! it, so that what holds for it (a key, say, would turn it into a channel of keys) is decided in one place.

use std::sync::LazyLock;

use crate::channel::ChannelName;
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;

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
