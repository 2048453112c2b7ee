//! What a stream is told of events that can't be read: a gap with the reason `damaged`, for the channel where it is known,
//! and then it goes on.

use std::collections::{HashMap, HashSet};

use super::{Catchup, Gap, GapScope, Page, channels_of};
use crate::channel::ChannelName;
use crate::history::{History, Known, Run, Unread, index_range};
use crate::limits::PATTERN_GAPS_MAX;
use crate::log::directory::position_of_key;
use crate::position::Position;
use crate::store::tier::Tier;
use crate::store::{Order, StoreError, Table};
use crate::window::notice::GapReason;

/// What a stream was told of damage.
#[derive(Clone, Debug, Default)]
pub(super) struct DamageTold {
    /// Events that can't be read were told of up to here. A page that is read again doesn't tell them again.
    events: Position,
    /// Channels and patterns that were told of floors that can't be read.
    floors: HashSet<GapScope>,
}

impl DamageTold {
    /// Adds what had been told before.
    pub(super) fn add(&mut self, before: Self) {
        self.events = self.events.max(before.events);
        self.floors.extend(before.floors);
    }
}

impl Catchup {
    /// Tells of floors that can't be read: something may have been removed below one that is as high as they may be.
    pub(super) fn tell_lost_floor(&mut self, to: Position, scope: GapScope, from: Position, page: &mut Page) {
        let promised = match &scope {
            GapScope::Channel(name) => self.promised(name, self.began_before(to)),
            GapScope::Pattern(pattern) => self.promised_of_pattern(pattern, self.began_before(to)),
        };
        let Some(promised) = promised else { return };
        let from = from.max(self.told.all).max(promised);
        if to > from && self.told.damage.floors.insert(scope.clone()) {
            page.gaps.push(Gap { scope, reason: GapReason::Damaged, from: Some(from), to });
        }
    }

    /// What of a page that was read from a position can't be had, and whose it may be. `names` are the sources that were read,
    /// if there were any.
    pub(super) fn damaged(
        &self,
        history: &History,
        run: &Run,
        names: &[ChannelName],
        from: Position,
    ) -> Result<Vec<(Unread, Vec<GapScope>)>, StoreError> {
        let told = self.told.damage.events;
        let mut damaged = Vec::new();
        for part in history.lost.parts() {
            if part.to <= from.max(told) || part.from >= run.covered {
                continue;
            }
            let unread = Unread { source: None, from: part.from, to: part.to };
            // What was lost with its index may be anybody's.
            let lacks = |ids| lacks_any(history, ids, part.from, part.to);
            let scopes = if part.is_indexed { self.concerned(history, lacks)? } else { self.all() };
            damaged.push((unread, scopes));
        }
        for unread in run.damaged.iter().filter(|unread| unread.to > told) {
            let scopes = match unread.source.and_then(|source| names.get(source)) {
                Some(name) => vec![GapScope::Channel(name.clone())],
                None => self.concerned(history, |ids| history.has_any(ids, unread.from, unread.to))?,
            };
            damaged.push((*unread, scopes));
        }
        Ok(damaged)
    }

    /// Tells of what a page that was read from a position can't have.
    pub(super) fn tell_damaged(
        &mut self,
        damaged: &[(Unread, Vec<GapScope>)],
        floors: &HashMap<ChannelName, Position>,
        page_from: Position,
        page: &mut Page,
    ) {
        let mut gaps: Vec<Gap> = Vec::new();
        for (unread, scopes) in damaged {
            for scope in scopes {
                let floor = match scope {
                    GapScope::Channel(name) => floors.get(name).copied().unwrap_or_default().max(self.above(name)),
                    GapScope::Pattern(_) => page_from,
                };
                let (from, to) = (unread.from.max(floor), unread.to);
                // What retention removed is told by another gap, or wasn't asked for.
                if to <= from {
                    continue;
                }
                match gaps.iter_mut().rev().find(|gap| gap.scope == *scope) {
                    Some(gap) if gap.to >= from => gap.to = gap.to.max(to),
                    _ => gaps.push(Gap { scope: scope.clone(), reason: GapReason::Damaged, from: Some(from), to }),
                }
            }
            self.told.damage.events = self.told.damage.events.max(unread.to);
        }
        page.gaps.append(&mut gaps);
    }

    /// All channels and patterns.
    fn all(&self) -> Vec<GapScope> {
        let channels = self.of().names().map(|name| GapScope::Channel(name.clone()));
        let patterns = self.of().patterns().iter().map(|(pattern, _)| GapScope::Pattern(pattern.clone()));
        channels.chain(patterns).collect()
    }

    /// Whose events may be among those of a part of the log that can't be read, where that is so of the channels with these
    /// ids.
    fn concerned(
        &self,
        history: &History,
        is_concerned: impl Fn([Option<u64>; 2]) -> Result<bool, StoreError>,
    ) -> Result<Vec<GapScope>, StoreError> {
        let may_have = |known: Option<Known>| match known {
            Some(Known { ids, .. }) => is_concerned(ids),
            None => Ok(true),
        };
        let mut scopes = Vec::new();
        for name in self.of().names() {
            if may_have(history.row_if_readable(name)?)? {
                scopes.push(GapScope::Channel(name.clone()));
            }
        }
        for (pattern, _) in self.of().patterns() {
            let channels = channels_of(history, pattern, PATTERN_GAPS_MAX)?;
            let channels = channels.filter(|_| !history.tiers.damage.is_in(Table::Channels));
            let Some(channels) = channels else {
                scopes.push(GapScope::Pattern(pattern.clone()));
                continue;
            };
            for (name, known) in channels {
                if may_have(Some(known))? {
                    scopes.push(GapScope::Channel(name));
                }
            }
        }
        Ok(scopes)
    }
}

/// Whether the log lacks an event on disk that a channel's index has above one position, up to another.
fn lacks_any(history: &History, ids: [Option<u64>; 2], above: Position, upto: Position) -> Result<bool, StoreError> {
    /// With more events than this to be looked at, one is taken to be lacking.
    const LOOKED_AT_MAX: usize = 4096;
    let [Some(id), _] = ids else { return Ok(false) };
    let mut entries =
        history.tiers.scan(Tier::Durable, Table::ByChannel, index_range(id, above, upto), Order::Ascending);
    for pair in entries.by_ref().take(LOOKED_AT_MAX) {
        let Some(position) = position_of_key(&pair?.0) else { continue };
        match history.tiers.durable.get(Table::Log, &position.to_key()) {
            Ok(Some(_)) => {}
            Err(error) if !error.is_damage() => return Err(error),
            Ok(None) | Err(_) => return Ok(true),
        }
    }
    Ok(entries.next().is_some() || !entries.holes.is_empty())
}
