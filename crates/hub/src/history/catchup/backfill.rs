//! The part of a stream's way that ends at a fixed cursor and where each channel has a start of its own: the backfill that a
//! request asks for, or the *fill* of what was added to an open stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Catchup, CatchupError, Told, channels_of};
use crate::change::Difference;
use crate::channel::ChannelName;
use crate::follows::{Follows, Since};
use crate::history::{History, Known};
use crate::limits::LAST_CHANNELS_MAX;
use crate::log::directory::Kind;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::store::StoreError;

/// A backfill.
#[derive(Clone, Debug)]
pub(crate) struct Backfill {
    /// Where it ends, and the live part begins: the head when it began.
    pub(crate) upto: Position,
    /// Of which change of the stream it is the fill; `None` for the request's own.
    pub(crate) revision: Option<u32>,
    /// What it is of, where that isn't all that the stream follows.
    of: Option<Arc<Follows>>,
    /// What counts where nothing is said, if that is something else than ever.
    unsaid: Option<Since>,
    /// Found when its first page is read.
    pub(super) starts: Option<Starts>,
    /// What is there since then is promised. Of what is added to a stream it is known when the first page is read.
    pub(super) began: Option<Position>,
    /// What was told before it went back to fill something in: that was not of what is filled in.
    before: Option<Box<Told>>,
}

/// Where the channels of a backfill begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// Of channels that have a start of their own, by a pattern or by name. Only what is above is delivered.
    pub(super) channels: HashMap<ChannelName, Position>,
    /// Of all other channels of the patterns, in the order of the patterns.
    pub(super) patterns: Vec<Position>,
}

/// What was added to a stream and is to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// The change, or the last of several.
    pub(crate) revision: u32,
    pub(crate) of: Arc<Follows>,
}

/// A backfill that was cut and goes on, as is remembered of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    /// How far it has come.
    pub(crate) at: Position,
    /// Of which change it is; `None` for the request's own.
    pub(crate) revision: Option<u32>,
    /// What it is of.
    pub(crate) of: Arc<Follows>,
    /// Whether the request says nothing of when it begins.
    pub(crate) is_unsaid: bool,
}

impl Resumed {
    /// Whether it is only there for values of keys, of which there may be none. Then it must not be begun: its ids would be
    /// those of somebody who came with an unknown one, and gets everything.
    pub(crate) fn may_be_nothing(&self) -> bool {
        self.revision.is_none() && self.of.sinces().all(|since| since == Since::Unsaid)
    }
}

impl Catchup {
    /// A backfill up to `upto`, of which everything up to `at` was delivered before, with each channel from its own
    /// `since` on. `unsaid` is what counts where nothing is said.
    pub(crate) fn backfill(
        history: &History,
        follows: Arc<Follows>,
        (upto, at): (Position, Position),
        unsaid: Option<Since>,
    ) -> Result<Self, CatchupError> {
        let starts = Some(Starts::find(history, &follows, (upto, at == Position::ORIGIN), unsaid)?);
        let began = Some(upto);
        let backfill = Backfill { upto, revision: None, of: None, unsaid, starts, began, before: None };
        Ok(Self { backfill: Some(backfill), ..Self::resume(follows, at, false) })
    }

    /// Goes back to fill something in up to `upto`, before it goes on from there.
    pub(crate) fn fill_in(&mut self, resumed: Resumed, upto: Position, unsaid: Option<Since>) {
        let Resumed { at, revision, of, is_unsaid: _ } = resumed;
        let before = revision.is_some().then(|| Box::new(std::mem::take(&mut self.told)));
        self.at = at;
        let began = revision.is_none().then_some(upto);
        self.backfill = Some(Backfill { upto, revision, of: Some(of), unsaid, starts: None, began, before });
    }

    /// Gaps up to here were told for all that is followed, whatever is being filled in.
    pub(super) fn told_of_all(&self) -> Position {
        let before = self.backfill.as_ref().and_then(|backfill| backfill.before.as_ref());
        before.map_or(self.told.all, |before| before.all)
    }

    /// What the next page is of.
    pub(super) fn of(&self) -> &Arc<Follows> {
        self.backfill.as_ref().and_then(|backfill| backfill.of.as_ref()).unwrap_or(&self.follows)
    }

    /// Whether something is filled in that was added to the stream.
    pub(super) fn is_fill(&self) -> bool {
        self.backfill.as_ref().is_some_and(|backfill| backfill.revision.is_some())
    }

    /// The stream follows something else from `at` on: of a backfill under way, what was removed is left out.
    pub(crate) fn follow(&mut self, follows: Arc<Follows>, difference: &Difference, at: Position) {
        let gone = &difference.removed;
        self.owe(difference, at);
        let of = self.of().clone();
        self.follows = follows;
        let Some(backfill) = &mut self.backfill else { return };
        let rest = of.without(gone);
        if rest.len() < of.len() {
            backfill.starts = None;
        }
        if rest.is_empty() {
            self.at = backfill.upto;
        }
        backfill.of = Some(Arc::new(rest));
    }

    /// All that was read has been sent. Tells whether there is more to be filled in.
    pub(crate) fn go_on(&mut self) -> bool {
        if let Some(Backfill { before: Some(before), .. }) = self.backfill.take_if(|backfill| self.at >= backfill.upto)
        {
            self.told.add(*before);
        }
        self.backfill.is_some()
    }

    /// Finds where the channels of a backfill begin, unless that is known.
    pub(super) fn find_starts(&mut self, history: &History) -> Result<(), CatchupError> {
        let of = self.of().clone();
        let is_new = self.at == Position::ORIGIN;
        if let Some(backfill) = &mut self.backfill
            && backfill.starts.is_none()
        {
            let starts = Starts::find(history, &of, (backfill.upto, is_new), backfill.unsaid)?;
            if starts.all().all(|start| start >= backfill.upto) {
                // Nothing is wanted, however many channels there are.
                self.at = self.at.max(backfill.upto);
            }
            backfill.starts = Some(starts);
            backfill.began.get_or_insert_with(|| history.window.head().0);
        }
        Ok(())
    }

    /// Only what is above is wanted of a channel.
    pub(super) fn above(&self, name: &ChannelName) -> Position {
        let later = || self.later.as_ref().map(|later| later.above(name));
        self.start(name).or_else(later).map_or(self.at, |start| start.max(self.at))
    }

    /// Whether all that a channel has is wanted. Then nobody needs to know what it has no more.
    pub(super) fn is_whole(&self, name: &ChannelName) -> bool {
        self.start(name) == Some(Position::ORIGIN)
    }

    /// Where the backfill of a channel begins, if there is one.
    fn start(&self, name: &ChannelName) -> Option<Position> {
        let backfill = self.backfill.as_ref()?;
        let Some(starts) = &backfill.starts else { return Some(backfill.upto) };
        let by_name = starts.channels.get(name).copied();
        let by_pattern = self.of().patterns().iter().zip(&starts.patterns);
        let by_pattern = by_pattern.filter(|((pattern, _), _)| pattern.matches(name)).map(|(_, start)| *start);
        Some(by_pattern.chain(by_name).min().unwrap_or(backfill.upto))
    }
}

impl Starts {
    /// Where any of them begins.
    fn all(&self) -> impl Iterator<Item = Position> {
        self.channels.values().chain(&self.patterns).copied()
    }

    /// Of a backfill up to `upto`, of which nothing was delivered yet where `is_new`.
    fn find(
        history: &History,
        follows: &Follows,
        (upto, is_new): (Position, bool),
        unsaid: Option<Since>,
    ) -> Result<Self, CatchupError> {
        let mut starts = Self::default();
        let since = |since: Since| match since {
            Since::Now | Since::Unsaid => unsaid.unwrap_or(since),
            Since::Start | Since::Last(_) | Since::After(_) | Since::Ago(_) => since,
        };
        let last = of_last(history, follows.patterns().iter().map(|(pattern, of)| (pattern, since(*of))))?;
        let mut ago: HashMap<Duration, Position> = HashMap::new();
        for (_, of) in follows.patterns() {
            if let Since::Last(_) = since(*of) {
                // Channels that appear later have nothing at or below the cursor.
                starts.patterns.push(upto);
            } else {
                starts.patterns.push(start(history, Known::default(), since(*of), (upto, is_new), &mut ago)?);
            }
        }
        for (name, (known, count)) in last {
            let start = start(history, known, Since::Last(count), (upto, is_new), &mut ago)?;
            starts.channels.insert(name, start);
        }
        for (name, of) in follows.channels() {
            let known = history.row_if_readable(name)?.unwrap_or_default();
            let start = start(history, known, since(*of), (upto, is_new), &mut ago)?;
            starts.channels.entry(name.clone()).and_modify(|other| *other = start.min(*other)).or_insert(start);
        }
        Ok(starts)
    }
}

/// The channels of those patterns that ask for the last so many events of each. A channel that several of them match is
/// looked at once, for the most that one of them asks for.
fn of_last<'a>(
    history: &History,
    patterns: impl Iterator<Item = (&'a Pattern, Since)>,
) -> Result<HashMap<ChannelName, (Known, u32)>, CatchupError> {
    let mut last: HashMap<ChannelName, (Known, u32)> = HashMap::new();
    for (pattern, since) in patterns {
        let Since::Last(count) = since else { continue };
        let channels = channels_of(history, pattern, LAST_CHANNELS_MAX)?.ok_or(CatchupError::PatternTooWide)?;
        for (name, known) in channels {
            let (_, most) = last.entry(name).or_insert((known, count));
            *most = count.max(*most);
        }
        if last.len() > LAST_CHANNELS_MAX {
            return Err(CatchupError::PatternTooWide);
        }
    }
    Ok(last)
}

/// Whether the patterns that ask for the last so many events of each of their channels match more channels than that takes.
pub(crate) fn is_too_wide(history: &History, follows: &Follows) -> Result<bool, StoreError> {
    match of_last(history, follows.patterns().iter().map(|(pattern, since)| (pattern, *since))) {
        Ok(_) => Ok(false),
        Err(CatchupError::PatternTooWide) => Ok(true),
        Err(CatchupError::Store(error)) => Err(error),
    }
}

/// Above which position a channel's backfill up to `upto` begins.
/// Where nothing of it was delivered yet, it `is_new`. What a duration means is remembered in `ago`, so that it is looked for once.
fn start(
    history: &History,
    known: Known,
    since: Since,
    (upto, is_new): (Position, bool),
    ago_known: &mut HashMap<Duration, Position>,
) -> Result<Position, StoreError> {
    let start = match since {
        // By name; no pattern has a kind.
        Since::Unsaid if known.row.kind == Kind::Keys => Position::ORIGIN,
        Since::Unsaid | Since::Now => upto,
        Since::Start => Position::ORIGIN,
        Since::Last(count) => match history.start_of_last(known, count, upto)? {
            Some(start) => start,
            // Some of them were removed after the backfill began: the gap begins before whatever is left.
            None if known.row.moved > upto => Position::ORIGIN,
            None => known.bottom(),
        },
        // Where that is another log's, it is as if there were none.
        Since::After(id) if history.epochs.place(&id, history.window.head().0).is_err() => Position::ORIGIN,
        Since::After(id) => id.event(),
        Since::Ago(ago) => {
            if let Some(start) = ago_known.get(&ago) {
                return Ok((*start).min(upto));
            }
            let start = if is_new {
                history.position_ago(ago)?
            } else {
                // When it began nobody knows any more, but not before this: a cut in the middle leaves nothing out.
                let began_ms = history.time_at(upto)?.unwrap_or_default();
                history.position_at(began_ms.saturating_sub(ago.as_millis() as u64))?
            };
            ago_known.insert(ago, start);
            start
        }
    };
    Ok(start.min(upto))
}
