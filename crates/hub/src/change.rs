//! A change of what an open stream follows, and what is known of a stream that may be changed: what it follows, and since
//! which change. Values; who applies them is the stream's shard.

use std::sync::Arc;

use crate::audience::everyone;
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::history::catchup::{Fill, Later, Resumed};
use crate::limits::{FOLLOWS_MAX, PATTERNS_MAX};
use crate::pattern::Pattern;
use crate::position::Position;
use crate::stream_id::StreamId;

pub(crate) mod remembered;
pub(crate) mod steer;

/// What is to be changed of what a stream follows. First something is removed, then something is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Followed from now on, and filled in from its `since` on. What is followed already stays as it is.
    pub add: Follows,
    /// Followed no longer. What is not followed is passed over; a `since` says nothing here. With `@everyone`, what is
    /// published to everyone is declined.
    pub remove: Follows,
}

impl Change {
    /// Whether something is added that only so many channels may match; see [`Hub::is_too_wide`](crate::Hub::is_too_wide).
    pub fn may_be_too_wide(&self) -> bool {
        self.add.patterns().iter().any(|(_, since)| matches!(since, Since::Last(_)))
    }

    /// The patterns that are followed after it by who follows this now, each with its `since`.
    pub(crate) fn patterns_after(&self, follows: &Follows) -> Follows {
        let left = follows.part(|_| false, |pattern| !self.remove.has(pattern));
        // Of one that is followed already what is followed counts.
        Follows::new(Vec::new(), [left.patterns(), self.add.patterns()].concat())
    }
}

/// Why a stream was not changed, or can't be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No stream with this id is open or remembered.
    #[error("no stream with this id is open or remembered")]
    Unknown,
    /// It would follow too much.
    #[error("a stream may follow at most {FOLLOWS_MAX} channels and patterns; these would be {0}")]
    TooMany(usize),
    /// It would follow too many patterns.
    #[error("a stream may follow at most {PATTERNS_MAX} patterns; these would be {0}")]
    TooManyPatterns(usize),
    /// A `since` names an id of another log.
    #[error("a `since` is an id that this hub's log never gave")]
    UnknownId,
    /// Too many changes wait for what is being read for the stream.
    #[error("too many changes wait for what is being read for this stream")]
    Busy,
}

/// What a stream follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The stream.
    pub stream: StreamId,
    /// Counts its changes; 0 as long as it follows what its listener asked for.
    pub revision: u32,
    /// Its cursor, as text; `None` while it isn't open.
    pub id: Option<String>,
    /// What it follows.
    pub follows: Arc<Follows>,
}

/// Since when something is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Added {
    /// Where the stream was then: up to here it is filled in.
    upto: Position,
    /// With which change, or with the last of those that were filled in together; 0 for the request itself.
    revision: u32,
}

/// What is known of a stream that was named or changed. Never changed itself: a change makes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// What it follows, each with its `since`.
    pub(crate) follows: Arc<Follows>,
    /// Of each channel, then of each pattern.
    added: Vec<Added>,
    /// The last change.
    revision: u32,
    /// Whether there has been any.
    is_changed: bool,
    /// Whether the request says nothing of when it begins.
    is_unsaid: bool,
}

/// What a change comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: Follows,
    pub(crate) removed: Follows,
    /// Whether what is published to everyone comes no longer because all streams follow it.
    pub(crate) declines: bool,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && !self.declines
    }
}

/// How a stream that is known goes on where its listener was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GoOn {
    /// What is filled in first.
    pub(crate) resumed: Option<Resumed>,
    /// What is filled in after that.
    pub(crate) next: Option<Fill>,
    /// The fill that the listener has whole, though it has nothing of what came after.
    pub(crate) done: Option<(Position, u32)>,
}

impl State {
    /// What a request asks for. `cursor` is what it comes with: ids that it may have from a stream that is forgotten must
    /// not be taken for this one's.
    pub(crate) fn new(follows: Arc<Follows>, cursor: Option<&Cursor>) -> Self {
        let added = vec![Added::default(); follows.len()];
        let revision = cursor.and_then(|cursor| cursor.fill).unwrap_or(0);
        let is_unsaid = matches!(follows.common_since(), Some(Since::Now | Since::Unsaid));
        Self { follows, added, revision, is_changed: false, is_unsaid }
    }

    /// Counts the changes, for those who listen.
    pub(crate) fn revision(&self) -> u32 {
        if self.is_changed { self.revision } else { 0 }
    }

    /// The last change, also of a stream that is forgotten.
    pub(crate) fn last(&self) -> u32 {
        self.revision
    }

    /// About how much memory it holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let names = self.follows.channels().iter().map(|(name, _)| name.as_str().len());
        let patterns = self.follows.patterns().iter().map(|(pattern, _)| pattern.as_str().len());
        names.chain(patterns).map(|text| text + 96).sum::<usize>() + 256
    }

    /// The channels, each with when it began to be followed.
    fn channels(&self) -> impl Iterator<Item = (&(ChannelName, Since), Added)> {
        self.follows.channels().iter().zip(self.added.iter().copied())
    }

    /// The patterns, in the same way.
    fn patterns(&self) -> impl Iterator<Item = (&(Pattern, Since), Added)> {
        self.follows.patterns().iter().zip(self.added.iter().skip(self.follows.channels().len()).copied())
    }

    /// What it is after a change of a stream that was at `upto`.
    pub(crate) fn changed(&self, change: &Change, upto: Position) -> Result<(Self, Difference), ChangeError> {
        let removed = self.follows.part(|name| change.remove.is_named(name), |pattern| change.remove.has(pattern));
        let stays = |name: &ChannelName| self.follows.is_named(name) && !removed.is_named(name);
        let pattern_stays = |pattern: &Pattern| self.follows.has(pattern) && !removed.has(pattern);
        let added = change.add.part(|name| !stays(name), |pattern| !pattern_stays(pattern));
        // It is followed by those too who don't name it.
        let declines = change.remove.is_named(everyone()) && self.follows.hears_everyone();
        let difference = Difference { added, removed, declines };
        let patterns =
            self.follows.patterns().len() + difference.added.patterns().len() - difference.removed.patterns().len();
        let count = self.follows.len() + difference.added.len() - difference.removed.len();
        if count > FOLLOWS_MAX {
            return Err(ChangeError::TooMany(count));
        }
        if patterns > PATTERNS_MAX {
            return Err(ChangeError::TooManyPatterns(patterns));
        }
        if difference.is_empty() {
            return Ok((self.clone(), difference));
        }
        let new = Added { upto, revision: self.revision.saturating_add(1) };
        let (channels, patterns) = (self.channels(), self.patterns());
        let channels =
            channels.filter(|((name, _), _)| !difference.removed.is_named(name)).map(|(of, added)| (of.clone(), added));
        let patterns =
            patterns.filter(|((of, _), _)| !difference.removed.has(of)).map(|(of, added)| (of.clone(), added));
        let mut channels: Vec<_> =
            channels.chain(difference.added.channels().iter().map(|of| (of.clone(), new))).collect();
        let mut patterns: Vec<_> =
            patterns.chain(difference.added.patterns().iter().map(|of| (of.clone(), new))).collect();
        channels.sort_by(|a, b| a.0.0.cmp(&b.0.0));
        patterns.sort_by(|a, b| a.0.0.cmp(&b.0.0));
        let (channels, mut all): (Vec<_>, Vec<Added>) = channels.into_iter().unzip();
        let (patterns, of_patterns): (Vec<_>, Vec<Added>) = patterns.into_iter().unzip();
        all.extend(of_patterns);
        let (user, hears_everyone) = (self.follows.user().cloned(), self.follows.hears_everyone() && !declines);
        let follows = Arc::new(Follows::new(channels, patterns).heard_by(user, hears_everyone));
        let state = Self { follows, added: all, revision: new.revision, is_changed: true, ..*self };
        Ok((state, difference))
    }

    /// What of it reaches back and was added so that `is_wanted`, as one fill.
    fn fill(&self, is_wanted: impl Fn(Added) -> bool) -> Option<Fill> {
        let wanted = |since: Since, added: Added| since.reaches_back() && is_wanted(added);
        let (channels, patterns) = (self.channels(), self.patterns());
        let channels: Vec<_> = channels.filter(|((_, since), added)| wanted(*since, *added)).collect();
        let patterns: Vec<_> =
            patterns.filter(|((_, since), added)| *since != Since::Unsaid && wanted(*since, *added)).collect();
        let revisions =
            channels.iter().map(|(_, added)| added.revision).chain(patterns.iter().map(|(_, a)| a.revision));
        let revision = revisions.max()?;
        let channels = channels.into_iter().map(|(of, _)| of.clone()).collect();
        let patterns = patterns.into_iter().map(|(of, _)| of.clone()).collect();
        // What is for everyone is not filled in.
        let of = Follows::new(channels, patterns).heard_by(None, false);
        Some(Fill { revision, of: Arc::new(of) })
    }

    /// What was added after ids that are beyond a position where the stream is: it begins only there.
    pub(crate) fn later(&self, at: Position) -> Option<Later> {
        let is_later =
            |since: Since, added: Added| added.revision > 0 && matches!(since, Since::After(id) if id.event() > at);
        let mut all = self.follows.sinces().zip(self.added.iter().copied());
        if !all.any(|(since, added)| is_later(since, added)) {
            return None;
        }
        let part = |wanted: bool| {
            let channels = self.channels().filter(|((_, since), added)| is_later(*since, *added) == wanted);
            let patterns = self.patterns().filter(|((_, since), added)| is_later(*since, *added) == wanted);
            let channels = channels.map(|(of, _)| of.clone()).collect();
            Follows::new(channels, patterns.map(|(of, _)| of.clone()).collect())
        };
        Later::new(part(true), part(false).heard_as(&self.follows))
    }

    /// What was added after a change is filled in together, up to `upto`. Returns what that is, and the state then.
    pub(crate) fn together(&self, is_one: impl Fn(Position, u32) -> bool, upto: Position) -> (Self, Option<Fill>) {
        let is_one = |added: Added| added.revision > 0 && is_one(added.upto, added.revision);
        let Some(fill) = self.fill(is_one) else { return (self.clone(), None) };
        let added = self
            .added
            .iter()
            .map(|added| if is_one(*added) { Added { upto, revision: fill.revision } } else { *added });
        (Self { added: added.collect(), ..self.clone() }, Some(fill))
    }

    /// How its stream begins for a listener that has nothing yet, when the log's head is `head`, and the state then. What was
    /// never changed begins as its request says, which has ids of its own for that. Of what was changed, that which the request
    /// asks for, from then on, has them too: they are good wherever the request is, also where nobody remembers the stream. The
    /// rest is a fill, and comes after that.
    pub(crate) fn begin(&self, asks_for: &Follows, head: Position) -> (Self, Option<GoOn>) {
        if !self.is_changed {
            return (Self { added: vec![Added::default(); self.added.len()], ..self.clone() }, None);
        }
        let added =
            |is_own: bool| if is_own { Added::default() } else { Added { upto: head, revision: self.revision } };
        let channels = self.follows.channels().iter();
        let channels = channels.map(|(name, since)| added(asks_for.since_of(name) == Some(*since)));
        let patterns = self.follows.patterns().iter().map(|of| added(asks_for.patterns().contains(of)));
        let added = channels.chain(patterns).collect();
        let (state, next) = Self { added, is_unsaid: false, ..self.clone() }.together(|_, _| true, head);
        let own = state.fill(|added| added.revision == 0);
        let at = Position::ORIGIN;
        let resumed = own.map(|Fill { of, .. }| Resumed { at, revision: None, of, is_unsaid: false });
        (state, Some(GoOn { resumed, next, done: None }))
    }

    /// The same for a listener whose id is of no use, and that is told so.
    pub(crate) fn anew(&self) -> Self {
        let added = vec![Added::default(); self.added.len()];
        let is_unsaid = self.follows.sinces().any(|since| matches!(since, Since::Now | Since::Unsaid));
        Self { added, is_unsaid, ..self.clone() }
    }

    /// How its stream goes on for a listener that was at `cursor`, and the state then. Whatever the cursor doesn't show to
    /// be there is filled in again.
    pub(crate) fn go_on(&self, cursor: &Cursor) -> (Self, GoOn) {
        let upto = cursor.position;
        let part = |is_one: &dyn Fn(Added) -> bool| {
            let (channels, patterns) = (self.channels(), self.patterns());
            let channels = channels.filter(|(_, added)| is_one(*added)).map(|(of, _)| of.clone()).collect();
            let patterns = patterns.filter(|(_, added)| is_one(*added)).map(|(of, _)| of.clone()).collect();
            Arc::new(Follows::new(channels, patterns).heard_as(&self.follows))
        };
        // Ids of a stream that is forgotten are no better than their cursor.
        let fill = cursor.fill.filter(|revision| *revision <= self.revision);
        let (resumed, done) = match (cursor.backfill, cursor.fill, fill) {
            (Some(at), None, _) => {
                let of = part(&|added| added.revision == 0);
                let resumed = Resumed { at, revision: None, of, is_unsaid: self.is_unsaid };
                (Some(resumed).filter(|resumed| !resumed.of.is_empty()), None)
            }
            (Some(at), _, Some(revision)) => {
                let this = self.fill(|added| added.revision == revision).filter(|_| at < upto);
                let resumed =
                    this.map(|Fill { of, .. }| Resumed { at, revision: Some(revision), of, is_unsaid: false });
                let done = resumed.is_none().then_some((upto, revision));
                (resumed, done)
            }
            _ => (None, None),
        };
        let after = fill.unwrap_or(0);
        let (state, next) = self.together(|added, revision| added >= upto && revision > after, upto);
        (state, GoOn { resumed, next, done })
    }
}
