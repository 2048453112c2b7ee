//! Which gaps a stream was told on its way. Each is told once per connection.

use std::collections::{HashMap, HashSet};

use super::GapScope;
use super::damaged::DamageTold;
use crate::channel::ChannelName;
use crate::pattern::Pattern;
use crate::position::Position;

/// The gaps that were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Gaps up to here were told, for all channels.
    pub(super) all: Position,
    /// Gaps up to these were told, for single channels.
    pub(super) of: HashMap<ChannelName, Position>,
    /// The last gap told for each pattern as a whole. A page that is read again may find another channel within it.
    pub(super) patterns: HashMap<Pattern, (Position, Position)>,
    /// Patterns whose `restart` gap was told.
    pub(super) restarts: HashSet<GapScope>,
    /// What was told of damage. Unlike floors, it is told page by page.
    pub(super) damage: DamageTold,
}

impl Told {
    /// Adds what had been told before.
    pub(super) fn add(&mut self, before: Self) {
        let Self { all, of, patterns, restarts, damage } = before;
        self.all = self.all.max(all);
        for (name, told) in of {
            let known = self.of.entry(name).or_default();
            *known = told.max(*known);
        }
        for (pattern, told) in patterns {
            self.patterns.entry(pattern).or_insert(told);
        }
        self.restarts.extend(restarts);
        self.damage.add(damage);
    }
}
