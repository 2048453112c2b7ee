//! What a stream was promised: of what is gone, that is what it is told of. A backfill has what was there when it began, from
//! its start on. Only where everything after an id or a time is asked for, what was gone by then is missing, too.

use super::{Catchup, Gap, GapScope, Page};
use crate::channel::ChannelName;
use crate::follows::Since;
use crate::history::History;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::window::notice::GapReason;

impl Catchup {
    /// Whether the stream was there, or its backfill had begun, before something happened at a position.
    pub(super) fn began_before(&self, position: Position) -> bool {
        self.backfill.as_ref().is_none_or(|backfill| backfill.upto <= position)
    }

    /// Above which position the stream was promised what a channel had; `None` where it was promised nothing. `was_there` says
    /// whether that was still there when a backfill began.
    pub(super) fn promised(&self, name: &ChannelName, was_there: bool) -> Option<Position> {
        if was_there {
            return Some(self.above(name));
        }
        let starts = self.backfill.as_ref()?.starts.as_ref()?;
        let by_name = self.of().since_of(name).filter(|since| asks_for_all_after(*since));
        let by_name = by_name.and_then(|_| starts.channels.get(name));
        let by_name = by_name.map(|start| self.told.not_told(*start, || GapScope::Channel(name.clone())));
        let by_pattern = self.of().patterns().iter().zip(&starts.patterns);
        let by_pattern = by_pattern.filter(|((of, since), _)| asks_for_all_after(*since) && of.matches(name));
        let by_pattern =
            by_pattern.map(|((of, _), start)| self.told.not_told(*start, || GapScope::Pattern(of.clone())));
        by_pattern.chain(by_name).min().map(|promised| promised.max(self.at))
    }

    /// The same for the channels of a pattern, whichever those are.
    pub(super) fn promised_of_pattern(&self, pattern: &Pattern, was_there: bool) -> Option<Position> {
        if was_there {
            return Some(self.at);
        }
        let starts = self.backfill.as_ref()?.starts.as_ref()?;
        let mut all = self.of().patterns().iter().zip(&starts.patterns);
        let (_, start) = all.find(|((of, since), _)| of == pattern && asks_for_all_after(*since))?;
        Some(self.told.not_told(*start, || GapScope::Pattern(pattern.clone())).max(self.at))
    }

    /// Tells, of what is to be filled in after an id, that the id is too old, or of no use.
    pub(super) fn tell_sinces(&mut self, history: &History, from: Position, page: &mut Page) {
        let Some(upto) = self.backfill.as_ref().map(|backfill| backfill.upto) else { return };
        let (head, _) = history.window.head();
        let horizon = history.horizon.position().min(upto);
        let of = self.of().clone();
        let channels = of.channels().iter().map(|(name, since)| (since, Some(name), None));
        let patterns = of.patterns().iter().map(|(pattern, since)| (since, None, Some(pattern)));
        for (since, channel, pattern) in channels.chain(patterns) {
            let Since::After(id) = since else { continue };
            let (reason, above, to) = match history.epochs.place(id, head) {
                Ok(()) => (GapReason::Expired, Some(id.event().max(from).max(self.told.all)), horizon),
                Err(_) => (GapReason::Unknown, None, upto),
            };
            let scope = channel.cloned().map(GapScope::Channel).or_else(|| pattern.cloned().map(GapScope::Pattern));
            if let Some(scope) = scope
                && to > self.told.all.max(above.unwrap_or_default())
                && !self.told.sinces.contains_key(&scope)
            {
                self.told.sinces.insert(scope.clone(), to);
                page.gaps.push(Gap { scope, reason, from: above, to });
            }
        }
    }
}

/// Whether what is asked for is told to be missing, however long it was gone.
fn asks_for_all_after(since: Since) -> bool {
    match since {
        Since::After(_) | Since::Ago(_) => true,
        Since::Unsaid | Since::Now | Since::Start | Since::Last(_) => false,
    }
}
