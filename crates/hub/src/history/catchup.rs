//! The way of one stream through history, from where it begins to where the window takes over: which page is next, which
//! gaps are due. A stream that is live or within the window has none.
//!
//! There are two kinds of way. A *resume* is plain: everything after a cursor. A *backfill* ends at a cursor that was fixed
//! when it began, and each channel has a start of its own (`last:N`, `start`, differing `since`); its ids carry both the
//! cursor and how far it has come, so that a cut in the middle goes on from there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::audience::is_everyone;
use crate::channel::ChannelName;
use crate::follows::Follows;
use crate::history::{History, Known, Run, Source};
use crate::limits::{LAST_CHANNELS_MAX, PAGE_CHANNELS_MAX, PATTERN_GAPS_MAX};
use crate::log::directory::ChannelRow;
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::rule::{Durability, Overflow};
use crate::store::tier::Tier;
use crate::store::{StoreError, Table};
use crate::window::entry::Entry;
use crate::window::notice::{ByeReason, GapReason};

mod backfill;
mod damaged;
mod later;
mod promised;
mod told;

use self::backfill::Backfill;
pub(crate) use self::backfill::{Fill, Resumed, is_too_wide};
pub(crate) use self::later::Later;
use self::told::Told;

/// Channel rows of one pattern that are looked at to find its channels; beyond this the log is read instead.
const ROWS_SCANNED_MAX: usize = 4_096;

/// Events between two positions that can't be had any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) scope: GapScope,
    pub(crate) reason: GapReason,
    /// They are above this; `None` where the cursor was unknown.
    pub(crate) from: Option<Position>,
    /// They are not above this.
    pub(crate) to: Position,
}

/// What a gap is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GapScope {
    Channel(ChannelName),
    Pattern(Pattern),
}

/// The way of one stream through history.
#[derive(Clone, Debug)]
pub(crate) struct Catchup {
    follows: Arc<Follows>,
    /// Everything up to here was delivered, or belongs to a gap that was told.
    pub(crate) at: Position,
    /// Present until the backfill is done.
    pub(crate) backfill: Option<Backfill>,
    /// What was told.
    told: Told,
    /// What begins later than the stream, once nothing is filled in any more.
    later: Option<Box<Later>>,
    /// Gaps that are due before anything more is read, once nothing is filled in any more.
    owed: Vec<Gap>,
    /// Nothing is promised at or below this, though it is given as far as it is there.
    unpromised: Position,
    /// Whether the stream was level with the log before; a gap is then its own slowness.
    running: bool,
}

/// A channel's floor as far as it matters to a stream.
#[derive(Clone, Copy, Debug)]
struct Floor {
    position: Position,
    /// Why it is there.
    reason: GapReason,
    /// The stream was promised what is above this.
    promised: Position,
}

/// What a stream gets next.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Told before the entries.
    pub(crate) gaps: Vec<Gap>,
    /// In the log's order, each with the channel it is followed by.
    pub(crate) entries: Vec<(Arc<Entry>, usize)>,
    /// Why the stream is to end, if a rule says so.
    pub(crate) end: Option<ByeReason>,
}

impl Page {
    /// Has the stream end where it was too slow for a channel whose rule says so.
    fn end_by_rule(&mut self, history: &History, name: &ChannelName, reason: GapReason) {
        if reason == GapReason::Overflow && history.rules.of(name).overflow == Overflow::Close {
            self.end = Some(ByeReason::Overflow);
        }
    }
}

/// Why history can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatchupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a pattern matches more than {LAST_CHANNELS_MAX} channels, too many for `last:N`")]
    PatternTooWide,
}

impl Catchup {
    /// Everything after a cursor. `running` tells a stream that fell behind from one that came back.
    pub(crate) fn resume(follows: Arc<Follows>, from: Position, running: bool) -> Self {
        let (told, owed, unpromised) = (Told::default(), Vec::new(), Position::ORIGIN);
        Self { follows, at: from, backfill: None, told, later: None, owed, unpromised, running }
    }

    /// Everything after `from` that is there, from a stream that has had nothing of it.
    pub(crate) fn begin(history: &History, follows: Arc<Follows>, from: Position) -> Self {
        Self { unpromised: history.horizon.forgotten(), ..Self::resume(follows, from, false) }
    }

    /// Everything above `at` is read again.
    pub(crate) fn go_back(&mut self, at: Position) {
        self.at = self.at.min(at);
    }

    /// The same way for a stream that was level with the log meanwhile, from `at` on.
    pub(crate) fn resumed(mut self: Box<Self>, at: Position) -> Box<Self> {
        self.at = at;
        self.running = true;
        self
    }

    /// The same way, with gaps up to `position` being told already.
    pub(crate) fn told(mut self, position: Position) -> Self {
        self.told.all = position;
        self
    }

    /// From here on something begins later than the stream.
    pub(crate) fn begins_later(&mut self, later: Option<Later>) {
        self.later = later.map(Box::new);
    }

    /// The first of an event's channels by which it is still to come, by its place in the record: that is followed, has begun,
    /// and no gap was told that covers the event.
    pub(crate) fn channel_of(&self, record: &Record, position: Position) -> Option<usize> {
        // Values of keys are good as long as they are there.
        let is_buried = |name| record.key.is_none() && self.told.of.get(name).is_some_and(|told| *told >= position);
        let has_begun = |name| self.later.as_ref().is_none_or(|later| position > later.above(name));
        let mut channels = record.channels.iter();
        channels.position(|name| self.follows.includes(name) && !is_buried(name) && has_begun(name))
    }

    /// Whether what was told still counts for a stream that has come to `sent`, and goes on in the window.
    pub(crate) fn counts_from(&self, sent: Position) -> bool {
        self.buried_upto().max(self.told.all) > sent || !self.owed.is_empty()
    }

    /// The end of the last gap of a channel that was told, and of what comes before something begins.
    pub(crate) fn buried_upto(&self) -> Position {
        let later = self.later.as_ref().map(|later| later.upto());
        self.told.of.values().copied().chain(later).max().unwrap_or_default()
    }

    /// Reads the next page, up to `upto` at most. Where that fails, nothing of it counts as read or told.
    pub(crate) fn page(&mut self, history: &History, upto: Position) -> Result<Page, CatchupError> {
        let upto = self.backfill.as_ref().map_or(upto, |backfill| backfill.upto);
        self.find_starts(history)?;
        let of = self.of().clone();
        let from = self.at;
        let known = self.known_channels(history)?;
        let (names, merged) = match known {
            Some(channels) => {
                let above = |name: &ChannelName| self.above(name);
                let sources: Vec<Source> =
                    channels.iter().map(|(name, known)| Source { ids: known.ids, above: above(name) }).collect();
                match history.merge(&sources, upto) {
                    // An index is damaged: the log itself says whose events are whose.
                    Err(error) if error.is_damage() => (Vec::new(), None),
                    run => (channels.into_keys().collect(), Some(run?)),
                }
            }
            None => (Vec::new(), None),
        };
        let run = match merged {
            Some(run) => run,
            None => history.scan(from, upto, |record, position| {
                record.channels.iter().any(|name| of.includes(name) && position > self.above(name))
            })?,
        };
        // Floors are read after the events: what was removed meanwhile lies below a floor that is seen now.
        let mut page = Page::default();
        let damaged = self.damaged(history, &run, &names, from)?;
        self.tell_sinces(history, from, &mut page);
        let mut floors = self.floors(history, from, &mut page)?;
        if self.backfill.is_some() {
            self.find_bottoms(history, &run, &mut floors)?;
        }
        self.tell_forgotten(history, from, &mut page);
        for entry in run.entries {
            let kept = |name: &ChannelName| {
                let above = floors.get(name).copied().unwrap_or_default();
                let is_left = entry.position > above || entry.record.key.is_some();
                let is_needed = !entry.record.is_deleted || !self.is_whole(name);
                of.includes(name) && is_left && is_needed && entry.position > self.above(name)
            };
            if let Some(channel) = entry.record.channels.iter().position(kept)
                && self.follows.is_for(&entry.record)
            {
                page.entries.push((entry, channel));
            }
        }
        self.tell_damaged(&damaged, &floors, from, &mut page);
        self.tell_owed(from, &mut page);
        self.at = run.covered.max(from);
        Ok(page)
    }

    /// All channels that are followed and known, or `None` where they are too many to be read one by one, or can't be.
    fn known_channels(&self, history: &History) -> Result<Option<HashMap<ChannelName, Known>>, StoreError> {
        if self.of().channels().len() > PAGE_CHANNELS_MAX {
            return Ok(None);
        }
        let mut channels = HashMap::new();
        for name in self.of().names() {
            let Some(known) = history.row_if_readable(name)? else { return Ok(None) };
            // Most hubs never publish to everyone: then there is one channel less to merge.
            if !is_everyone(name) || known.ids.iter().any(Option::is_some) {
                channels.insert(name.clone(), known);
            }
        }
        for (pattern, _) in self.of().patterns() {
            let Some(of_pattern) = channels_of(history, pattern, PAGE_CHANNELS_MAX)? else { return Ok(None) };
            channels.extend(of_pattern);
            // Those that can't be read may match, too. The log knows their events.
            if history.tiers.damage.is_in(Table::Channels) {
                return Ok(None);
            }
        }
        Ok((channels.len() <= PAGE_CHANNELS_MAX).then_some(channels))
    }

    /// The floors that matter, with the gaps that are due for them.
    fn floors(
        &mut self,
        history: &History,
        from: Position,
        page: &mut Page,
    ) -> Result<HashMap<ChannelName, Position>, StoreError> {
        let mut floors = HashMap::new();
        let follows = self.of().clone();
        // All is read before any of it counts as told: a page whose reading failed is read again.
        let rows = follows.names().map(|name| history.row_if_readable(name));
        let rows: Vec<Option<Known>> = rows.collect::<Result<_, StoreError>>()?;
        let due = follows.patterns().iter().map(|(pattern, _)| self.due(history, pattern, from));
        let due: Vec<_> = due.collect::<Result<_, StoreError>>()?;
        for (name, row) in follows.names().zip(rows) {
            let Some(Known { row, .. }) = row else {
                self.tell_lost_floor(history.floors.highest(), GapScope::Channel(name.clone()), from, page);
                continue;
            };
            let floor = self.crash_floor(history, name, row, from).or_else(|| self.floor(history, name, row));
            self.tell(history, name, floor, from, &mut floors, page);
        }
        for ((pattern, _), due) in follows.patterns().iter().zip(due) {
            if due.len() <= PATTERN_GAPS_MAX {
                for (name, floor) in due {
                    self.tell(history, &name, Some(floor), from, &mut floors, page);
                }
            } else {
                self.tell_pattern(history, pattern, due, from, &mut floors, page);
            }
            self.tell_restart(history, pattern, from, page);
            // Of channels whose rows are lost nobody knows what they are called.
            if history.tiers.damage.is_in(Table::Channels) {
                self.tell_lost_floor(history.floors.highest(), GapScope::Pattern(pattern.clone()), from, page);
            } else if history.floors.unknown() > from {
                self.tell_lost_floor(history.floors.unknown(), GapScope::Pattern(pattern.clone()), from, page);
            }
        }
        Ok(floors)
    }

    /// Adds below what the channels of some events keep nothing, where that was not promised either: an event may be there all
    /// the same, as another channel keeps it, or as it is yet to be removed.
    fn find_bottoms(
        &self,
        history: &History,
        run: &Run,
        floors: &mut HashMap<ChannelName, Position>,
    ) -> Result<(), StoreError> {
        for name in run.entries.iter().flat_map(|entry| &entry.record.channels) {
            if self.of().includes(name)
                && !floors.contains_key(name)
                && let Some(known) = history.row_if_readable(name)?
            {
                floors.insert(name.clone(), known.bottom());
            }
        }
        Ok(())
    }

    /// The channels of a pattern whose floors lie above `from`, with those.
    fn due(
        &self,
        history: &History,
        pattern: &Pattern,
        from: Position,
    ) -> Result<Vec<(ChannelName, Floor)>, StoreError> {
        let mut due = Vec::new();
        if history.floors.highest() > from {
            for row in history.rows(pattern) {
                let (name, row, _) = row?;
                if let Some(floor) = self.floor(history, &name, row).filter(|floor| floor.position > from) {
                    due.push((name, floor));
                }
            }
        }
        Ok(due)
    }

    /// The end of what a crash may have taken of a `memory` channel, where no floor is known beyond it.
    fn crash_floor(&self, history: &History, name: &ChannelName, row: ChannelRow, from: Position) -> Option<Floor> {
        let position = history.epochs.crashed();
        let is_due = position > row.floor.max(from) && history.rules.of(name).durability == Durability::Memory;
        let promised =
            self.promised(name, self.began_before(position)).filter(|promised| is_due && position > *promised)?;
        Some(Floor { position, reason: GapReason::Restart, promised })
    }

    /// The floor of a channel as far as it matters to this stream.
    fn floor(&self, history: &History, name: &ChannelName, row: ChannelRow) -> Option<Floor> {
        let was_there = self.backfill.as_ref().is_none_or(|backfill| row.moved > backfill.upto);
        let promised = self.promised(name, was_there).filter(|promised| row.floor > *promised)?;
        let of_before = history.epochs.is_of_before(row.floor);
        let reason = if of_before && history.rules.of(name).durability == Durability::Memory {
            GapReason::Restart
        } else if self.running && !self.is_fill() {
            GapReason::Overflow
        } else {
            GapReason::Trimmed
        };
        Some(Floor { position: row.floor, reason, promised })
    }

    /// Tells a channel's gap, if there is one that was not told.
    fn tell(
        &mut self,
        history: &History,
        name: &ChannelName,
        floor: Option<Floor>,
        from: Position,
        floors: &mut HashMap<ChannelName, Position>,
        page: &mut Page,
    ) {
        let Some(Floor { position: floor, reason, promised }) = floor else { return };
        let told = self.told.of.get(name).copied().unwrap_or_default().max(self.told.all).max(promised).max(from);
        let seen = floors.entry(name.clone()).or_default();
        *seen = floor.max(*seen);
        if floor <= told {
            return;
        }
        page.end_by_rule(history, name, reason);
        self.told.of.insert(name.clone(), floor);
        page.gaps.push(Gap { scope: GapScope::Channel(name.clone()), reason, from: Some(told), to: floor });
    }

    /// Tells one gap for many channels of a pattern.
    fn tell_pattern(
        &mut self,
        history: &History,
        pattern: &Pattern,
        due: Vec<(ChannelName, Floor)>,
        from: Position,
        floors: &mut HashMap<ChannelName, Position>,
        page: &mut Page,
    ) {
        let mut gap: Option<Gap> = None;
        for (name, Floor { position: floor, reason, promised }) in due {
            let told = self.told.of.get(&name).copied().unwrap_or_default().max(self.told.all).max(promised);
            // A channel may have a row in each tier, and be followed by name, too.
            let seen = floors.entry(name.clone()).or_default();
            *seen = floor.max(*seen);
            if floor > told {
                page.end_by_rule(history, &name, reason);
                self.told.of.insert(name, floor);
                let scope = GapScope::Pattern(pattern.clone());
                let told = told.max(from);
                let gap = gap.get_or_insert(Gap { scope, reason, from: Some(told), to: floor });
                gap.from = gap.from.min(Some(told));
                gap.to = gap.to.max(floor);
            }
        }
        let is_new = |gap: &Gap| {
            let covers = |(from, to): &(Position, Position)| gap.from.is_some_and(|at| *from <= at) && gap.to <= *to;
            !self.told.patterns.get(pattern).is_some_and(covers)
        };
        if let Some(gap) = gap.filter(is_new) {
            self.told.patterns.insert(pattern.clone(), (gap.from.unwrap_or_default(), gap.to));
            page.gaps.push(gap);
        }
    }

    /// Tells, once, that a crash took what channels of a pattern had in memory. Which channels those were nobody knows.
    fn tell_restart(&mut self, history: &History, pattern: &Pattern, from: Position, page: &mut Page) {
        let crashed = history.epochs.crashed();
        let may_be_memory =
            || history.rules.of_pattern(pattern).iter().any(|rule| rule.durability == Durability::Memory);
        let scope = GapScope::Pattern(pattern.clone());
        let Some(promised) = self.promised_of_pattern(pattern, self.began_before(crashed)) else { return };
        let from = from.max(self.told.all).max(promised);
        if crashed > from && may_be_memory() && self.told.restarts.insert(scope.clone()) {
            page.gaps.push(Gap { scope, reason: GapReason::Restart, from: Some(from), to: crashed });
        }
    }
}

/// The channels of a pattern, or `None` where they are more than `count_max` or too costly to find.
fn channels_of(
    history: &History,
    pattern: &Pattern,
    count_max: usize,
) -> Result<Option<HashMap<ChannelName, Known>>, StoreError> {
    let rows = history.rows(pattern).take(ROWS_SCANNED_MAX.max(count_max * 2) + 1);
    let rows: Vec<(ChannelName, ChannelRow, Tier)> = rows.collect::<Result<_, _>>()?;
    let channels = History::known(rows.into_iter());
    Ok((channels.len() <= count_max).then_some(channels))
}

#[cfg(test)]
mod tests;
