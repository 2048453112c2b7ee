//! Which gaps a stream was told on its way. Each is told once per connection.

use std::collections::{HashMap, HashSet};

use super::damaged::DamageTold;
use super::{Catchup, Gap, GapScope, Page};
use crate::change::Difference;
use crate::channel::ChannelName;
use crate::history::History;
use crate::history::beginning::gaps_for_all;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::window::notice::GapReason;

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
    /// Of what is to be filled in after an id that is too old or of no use, up to where that was told.
    pub(super) sinces: HashMap<GapScope, Position>,
    /// What was told of damage. Unlike floors, it is told page by page.
    pub(super) damage: DamageTold,
}

impl Told {
    /// Above which position nothing was told of a `since` that is a position itself.
    pub(super) fn not_told(&self, since: Position, scope: impl Fn() -> GapScope) -> Position {
        if self.sinces.is_empty() { since } else { self.sinces.get(&scope()).map_or(since, |told| since.max(*told)) }
    }

    /// Adds what had been told before.
    pub(super) fn add(&mut self, before: Self) {
        let Self { all, of, patterns, restarts, sinces, damage } = before;
        // What was told of all that is filled in was not told of all that is followed.
        self.all = all;
        for (name, told) in of {
            let known = self.of.entry(name).or_default();
            *known = told.max(*known);
        }
        for (pattern, told) in patterns {
            self.patterns.entry(pattern).or_insert(told);
        }
        self.restarts.extend(restarts);
        self.sinces.extend(sinces);
        self.damage.add(damage);
    }
}

impl Catchup {
    /// What a change at `at` adds was not followed when a gap was told of everything: how old the cursor was that the stream
    /// came with counts for it, too.
    pub(super) fn owe(&mut self, difference: &Difference, at: Position) {
        let Difference { added, removed, .. } = difference;
        self.owed.retain(|gap| match &gap.scope {
            GapScope::Channel(name) => !removed.is_named(name),
            GapScope::Pattern(pattern) => !removed.has(pattern),
        });
        let told = self.told_of_all();
        if told > at {
            let channels = added.channels().iter().map(|(name, _)| GapScope::Channel(name.clone()));
            let patterns = added.patterns().iter().map(|(pattern, _)| GapScope::Pattern(pattern.clone()));
            let gap = |scope| Gap { scope, reason: GapReason::Expired, from: Some(at), to: told };
            self.owed.extend(channels.chain(patterns).map(gap));
        }
    }

    /// Tells a stream that reads so far back that floors are forgotten there, though it began in time: some of what it was
    /// promised may be gone without a trace. Floors were read before this.
    pub(super) fn tell_forgotten(&mut self, history: &History, from: Position, page: &mut Page) {
        // What was gone when a backfill began was never promised.
        let began = self.backfill.as_ref().and_then(|backfill| backfill.began);
        let promised = began.unwrap_or(self.unpromised).max(self.told.all);
        if from.max(promised) < history.horizon.forgotten() {
            let horizon = history.horizon.position();
            page.gaps.extend(gaps_for_all(self.of(), GapReason::Expired, Some(from.max(self.told.all)), horizon));
            self.told.all = horizon;
        }
    }

    /// Tells what is owed, of what lies above `from`. A backfill comes first: it ends where those gaps begin.
    pub(super) fn tell_owed(&mut self, from: Position, page: &mut Page) {
        if self.backfill.is_some() {
            return;
        }
        let owed = std::mem::take(&mut self.owed).into_iter().filter(|gap| gap.to > from);
        let owed = owed.map(|gap| Gap { from: gap.from.max(Some(from)), ..gap });
        page.gaps.splice(0..0, owed);
    }
}
