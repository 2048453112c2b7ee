//! What was added to a stream after an id that is beyond where the stream is: until it comes there, nothing of it comes by
//! what was added. Whoever says an id has everything up to there.

use crate::channel::ChannelName;
use crate::follows::{Follows, Since};
use crate::position::Position;

/// What of a stream begins later than the stream itself.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    /// What begins after an id.
    later: Follows,
    /// What is followed beside that.
    others: Follows,
}

impl Later {
    /// What begins later, if anything does, and what doesn't.
    pub(crate) fn new(later: Follows, others: Follows) -> Option<Self> {
        (!later.is_empty()).then_some(Self { later, others })
    }

    /// Only what is above is to come of a channel.
    pub(super) fn above(&self, name: &ChannelName) -> Position {
        if self.others.includes(name) {
            return Position::ORIGIN;
        }
        let by_name = self.later.since_of(name);
        let by_pattern = self.later.patterns().iter().filter(|(pattern, _)| pattern.matches(name));
        by_pattern.map(|(_, since)| *since).chain(by_name).map(begin).min().unwrap_or_default()
    }

    /// From here on all of it comes.
    pub(super) fn upto(&self) -> Position {
        self.later.sinces().map(begin).max().unwrap_or_default()
    }
}

fn begin(since: Since) -> Position {
    match since {
        Since::After(id) => id.event(),
        Since::Unsaid | Since::Now | Since::Start | Since::Last(_) | Since::Ago(_) => Position::ORIGIN,
    }
}
