//! How a stream begins: what a request says of where it was, against what the log knows.

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::history::History;
use crate::history::catchup::{Catchup, CatchupError, Gap, GapScope, Resumed};
use crate::inbox::is_private;
use crate::log::directory::Kind;
use crate::position::Position;
use crate::store::StoreError;
use crate::window::notice::GapReason;

/// How a stream begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The way through history; it may turn out to be no way at all.
    pub(crate) catchup: Catchup,
    /// Gaps that are told before anything is read.
    pub(crate) gaps: Vec<Gap>,
    /// Whether the cursor that came with the request was taken up.
    pub(crate) resumed: bool,
    /// Whether the cursor that came with it is good; if not, the stream's ids stay foreign until all gaps are told.
    pub(crate) known: bool,
}

/// What a request says of where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEventId {
    /// Nothing: a new stream.
    None,
    /// Nothing, of a stream that is known: it begins now, and what it is to be sent of before is filled in.
    Now,
    /// An id of some Fanfare log.
    Cursor(Cursor),
    /// An id of something else.
    Foreign,
}

impl LastEventId {
    /// Reads what a request says.
    pub(crate) fn of(id: Option<&str>) -> Self {
        match id {
            None | Some("") => Self::None,
            Some(id) => id.parse().map_or(Self::Foreign, Self::Cursor),
        }
    }

    /// The id for a frame that is to leave the client where it was. Without one a client would forget its own: what a response
    /// says first of ids begins with none (WHATWG HTML, section 9.2.6). Any cursor is the client's to keep, whatever it may be
    /// worth here: it may be another hub's.
    pub(crate) fn kept(self) -> Option<Cursor> {
        match self {
            Self::None | Self::Now => None,
            Self::Cursor(cursor) => Some(cursor),
            Self::Foreign => Some(Cursor::FOREIGN),
        }
    }
}

impl Beginning {
    /// A stream that begins now, when the window's head is `head`, but for what is filled in first. Nothing needs to be read to
    /// know that.
    pub(crate) fn now(follows: Arc<Follows>, head: Position, filled_in: Option<Resumed>) -> Self {
        let mut catchup = Catchup::resume(follows, head, false);
        if let Some(resumed) = filled_in {
            catchup.fill_in(resumed, head, None);
        }
        Self { catchup, gaps: Vec::new(), resumed: false, known: true }
    }

    /// Finds where a stream begins that was opened when the window's head was `head`. Of one that is known the hub knows which
    /// backfill goes on up to the cursor.
    pub(crate) fn find(
        history: &History,
        follows: Arc<Follows>,
        last: LastEventId,
        head: Position,
        resumed_fill: Option<&Resumed>,
    ) -> Result<Self, CatchupError> {
        if last == LastEventId::Now {
            let filled_in = match resumed_fill {
                Some(resumed) if resumed.may_be_nothing() && !has_values(history, &resumed.of)? => None,
                filled_in => filled_in.cloned(),
            };
            return Ok(Self::now(follows, head, filled_in));
        }
        let (head_now, _) = history.window.head();
        let common = follows.common_since();
        let (last, is_event, resumed) = match (last, common) {
            // One id for all is a resume, too, but from the event that had it: only who comes back goes on with a backfill.
            (LastEventId::None, Some(Since::After(id))) => (LastEventId::Cursor(id), true, true),
            (LastEventId::None, _) => (last, false, false),
            (last, _) => (last, false, true),
        };
        let cursor = match last {
            LastEventId::None | LastEventId::Now => None,
            LastEventId::Cursor(cursor) if history.epochs.place(&cursor, head_now).is_err() => {
                return Self::unknown(history, follows, head);
            }
            LastEventId::Cursor(id) if is_event => Some(history.epochs.cursor(id.event(), None)),
            LastEventId::Cursor(cursor) => Some(cursor),
            LastEventId::Foreign => return Self::unknown(history, follows, head),
        };
        // A backfill of somebody who said nothing is one of values of keys, if there are any; otherwise that of an unknown
        // cursor. Where it is that of an unknown cursor all the same, a gap was told of what it leaves out.
        let has_values = has_values(history, &follows)?;
        let unsaid = if has_values { Since::Unsaid } else { Since::Start };
        let catchup = match (cursor, common) {
            // Of a fill that nobody knows of only the cursor is of use.
            (Some(cursor), _) => match cursor.backfill.filter(|_| cursor.fill.is_none()) {
                Some(at) => {
                    let unsaid = matches!(common, Some(Since::Now | Since::Unsaid)).then_some(unsaid);
                    Catchup::backfill(history, follows.clone(), (cursor.position, at), unsaid)?
                }
                None => Catchup::resume(follows.clone(), cursor.position, false),
            },
            (None, None | Some(Since::Start | Since::Last(_))) => {
                Catchup::backfill(history, follows.clone(), (head, Position::ORIGIN), None)?
            }
            (None, Some(Since::Unsaid)) if has_values => {
                Catchup::backfill(history, follows.clone(), (head, Position::ORIGIN), None)?
            }
            (None, Some(Since::Ago(ago))) => {
                Catchup::begin(history, follows.clone(), history.position_ago(ago)?.min(head))
            }
            (None, Some(Since::Unsaid | Since::Now | Since::After(_))) => Catchup::resume(follows.clone(), head, false),
        };
        let mut begun = Self { catchup, gaps: Vec::new(), resumed, known: true };
        let horizon = history.horizon.position();
        // The window alone has what follows such a cursor, but not what was to be filled in before it.
        let backfill = |cursor: Cursor| cursor.backfill.or(resumed_fill.map(|resumed| resumed.at));
        let is_in_window = |cursor: Cursor| backfill(cursor).is_none() && cursor.position >= history.window.floor();
        if let Some(cursor) = cursor
            && cursor.position < horizon
            && !is_in_window(cursor)
        {
            // Of a backfill that was cut, what it had not come to yet is missing too.
            let from = backfill(cursor).map_or(cursor.position, |at| at.min(cursor.position));
            begun.gaps = gaps_for_all(&follows, GapReason::Expired, Some(from), horizon);
            // Beyond the horizon floors are known, and their gaps are told as they come.
            begun.catchup = begun.catchup.told(horizon);
        }
        if let (Some(cursor), Some(resumed)) = (cursor, resumed_fill) {
            begun.catchup.fill_in(resumed.clone(), cursor.position, resumed.is_unsaid.then_some(unsaid));
        }
        Ok(begun)
    }

    /// Begins anew after a cursor that is of no use: a gap for each channel and pattern, then as `since` says; where it
    /// says nothing, from where history begins.
    fn unknown(history: &History, follows: Arc<Follows>, head: Position) -> Result<Self, CatchupError> {
        let gaps = gaps_for_all(&follows, GapReason::Unknown, None, head);
        let catchup = Catchup::backfill(history, follows, (head, Position::ORIGIN), Some(Since::Start))?.told(head);
        Ok(Self { catchup, gaps, resumed: false, known: false })
    }
}

/// Whether a stream that says nothing of when it begins, begins now, and nothing needs to be read to know that.
pub(crate) fn is_now(history: &History, follows: &Follows) -> bool {
    match follows.common_since() {
        Some(Since::Now) => true,
        Some(Since::Unsaid) => !may_have_values(history, follows),
        _ => false,
    }
}

/// Whether something that is followed by name may hold values of keys, as far as is known without reading.
fn may_have_values(history: &History, follows: &Follows) -> bool {
    history.has_keys.get() && !follows.channels().is_empty()
        || follows.channels().iter().any(|(name, _)| is_private(name))
}

/// Whether something that is followed by name holds values of keys.
fn has_values(history: &History, follows: &Follows) -> Result<bool, StoreError> {
    if may_have_values(history, follows) {
        for (name, _) in follows.channels() {
            if history.row_if_readable(name)?.is_some_and(|known| known.row.kind == Kind::Keys) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The same gap for each channel and pattern.
pub(crate) fn gaps_for_all(follows: &Follows, reason: GapReason, from: Option<Position>, to: Position) -> Vec<Gap> {
    let channels = follows.names().map(|name| GapScope::Channel(name.clone()));
    let patterns = follows.patterns().iter().map(|(pattern, _)| GapScope::Pattern(pattern.clone()));
    channels.chain(patterns).map(|scope| Gap { scope, reason, from, to }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::change::Difference;
    use crate::channel::ChannelName;
    use crate::clock::ManualClock;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::rule::Rules;
    use crate::space::Space;
    use crate::store::memory::MemoryStore;
    use crate::writer::{Group, Writer, WriterParts};

    /// A log whose only event is of the channel `c` and older than cursors may be; with the event's position.
    fn old_log(window_bytes: usize) -> (Writer, Position) {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::at(1_000_000));
        let mut writer = Writer::open(WriterParts {
            space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
            store,
            rules: Arc::new(Rules::default()),
            clock: clock.clone(),
            random: Box::new(|| 7),
            window_bytes,
            channels_max: 3,
            cursor_age_max: Duration::from_secs(400),
        })
        .unwrap();
        let draft = Draft::new(vec![channel("c")], Event::text("x"), Publisher::Anyone).unwrap();
        assert!(writer.append(vec![Group { drafts: vec![draft], atomic: false }])[0][0].is_ok());
        let (head, _) = writer.window.head();
        writer.want_oldest(u64::MAX);
        // The last of them until the channel is looked at, as its event might be too old.
        for seconds in [0, 1, 500, 500, 7 * 24 * 3600] {
            clock.advance(Duration::from_secs(seconds));
            while writer.sweep() || writer.has_removals() {}
        }
        (writer, head)
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    fn follows(name: &str) -> Arc<Follows> {
        Arc::new(Follows::new(vec![(channel(name), Since::Start)], Vec::new()).heard_by(None, false))
    }

    #[test]
    fn a_backfill_that_comes_back_too_late_is_told_so_also_where_the_window_begins_at_its_end() {
        let (writer, head) = old_log(1 << 20);
        let history = writer.history();
        assert!(head >= history.window.floor() && head < history.horizon.position());
        let gaps = |backfill| {
            let last = LastEventId::Cursor(Cursor { backfill, ..Cursor::at(head, 7) });
            let head = history.window.head().0;
            let begun = Beginning::find(&history, follows("c"), last, head, None).unwrap();
            begun.gaps.iter().map(|gap| (gap.reason, gap.from)).collect::<Vec<_>>()
        };
        assert_eq!(gaps(Some(Position::ORIGIN)), [(GapReason::Expired, Some(Position::ORIGIN))]);
        assert_eq!(gaps(None), [], "whoever had all of it lacks nothing");
    }

    #[test]
    fn an_id_as_since_means_its_event_also_where_it_is_asked_whether_that_is_too_old() {
        let (writer, head) = old_log(1 << 20);
        let history = writer.history();
        let follow = |position, random| {
            let cursor = Cursor { backfill: Some(position), ..Cursor::at(head, random) };
            let follows = Follows::new(vec![(channel("c"), Since::After(cursor))], Vec::new()).heard_by(None, false);
            let head = history.window.head().0;
            Beginning::find(&history, Arc::new(follows), LastEventId::None, head, None).unwrap()
        };
        let begun = follow(head, 7);
        assert_eq!((begun.catchup.at, begun.catchup.backfill.is_none(), begun.resumed), (head, true, true));
        assert_eq!(begun.gaps, [], "the window has all after the event");
        let begun = follow(head.before(), 7);
        let gaps: Vec<_> = begun.gaps.iter().map(|gap| (gap.reason, gap.from)).collect();
        assert_eq!((begun.catchup.at, gaps), (head.before(), vec![(GapReason::Expired, Some(head.before()))]));
        let foreign = follow(head, 8);
        assert_eq!((foreign.gaps.first().map(|gap| gap.reason), foreign.known), (Some(GapReason::Unknown), false));
    }

    #[test]
    fn an_id_of_one_channel_that_is_too_old_is_told_so_whatever_else_is_followed_from_elsewhere() {
        let (writer, head) = old_log(0);
        let history = writer.history();
        let after = Since::After(history.epochs.cursor(head.before(), None));
        let follows = Follows::new(vec![(channel("c"), after), (channel("d"), Since::Start)], Vec::new());
        let now = history.window.head().0;
        let mut begun = Beginning::find(&history, Arc::new(follows), LastEventId::None, now, None).unwrap();
        let mut told = || {
            let page = begun.catchup.page(&history, Position::LAST).unwrap();
            page.gaps.into_iter().map(|gap| (gap.scope, gap.reason, gap.from, gap.to)).collect::<Vec<_>>()
        };
        let (scope, horizon) = (GapScope::Channel(channel("c")), history.horizon.position());
        assert_eq!(told(), [(scope, GapReason::Expired, Some(head.before()), horizon)]);
        assert_eq!(told(), [], "once");
    }

    #[test]
    fn who_began_in_the_window_and_falls_out_of_it_when_floors_are_forgotten_is_told_so() {
        let (writer, head) = old_log(1 << 20);
        let history = writer.history();
        assert!(head < history.horizon.forgotten(), "of {head:?} nobody knows floors");
        let last = LastEventId::Cursor(Cursor::at(head, 7));
        let mut begun = Beginning::find(&history, follows("d"), last, history.window.head().0, None).unwrap();
        assert_eq!(begun.gaps, [], "the window has all that it missed");
        let told = |catchup: &mut Catchup| {
            let page = catchup.page(&history, Position::LAST).unwrap();
            page.gaps.into_iter().map(|gap| (gap.scope, gap.reason, gap.from)).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut begun.catchup), [(GapScope::Channel(channel("d")), GapReason::Expired, Some(head))]);
        assert!(begun.catchup.counts_from(head), "that it was told is not forgotten in the window");
        begun.catchup.go_back(head);
        assert_eq!(told(&mut begun.catchup), [], "once");
        let mut ago = Catchup::begin(&history, follows("d"), head);
        assert_eq!(told(&mut ago), [], "who had nothing was promised nothing of that");
    }

    #[test]
    fn what_is_added_to_a_stream_that_came_back_too_late_is_told_so() {
        let (writer, _) = old_log(0);
        let history = writer.history();
        let old = Position::new(1, 0);
        assert!(old < history.window.floor() && old < history.horizon.position());
        assert_eq!(history.row(&channel("c")).unwrap().row.floor, Position::ORIGIN, "the channel is forgotten");
        let last = LastEventId::Cursor(Cursor::at(old, 7));
        let head = history.window.head().0;
        let mut catchup = Beginning::find(&history, follows("d"), last, head, None).unwrap().catchup;
        let change = |added: &str, removed: &str| Difference {
            added: Follows::clone(&follows(added)),
            removed: Follows::clone(&follows(removed)),
            declines: false,
        };
        catchup.follow(follows("e"), &change("e", "d"), old);
        catchup.follow(follows("c"), &change("c", "e"), old);
        let told = |catchup: &mut Catchup| {
            let page = catchup.page(&history, Position::LAST).unwrap();
            page.gaps.into_iter().map(|gap| (gap.scope, gap.reason, gap.from)).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut catchup), [(GapScope::Channel(channel("c")), GapReason::Expired, Some(old))]);
        assert_eq!(told(&mut catchup), [], "once");
    }
}
