//! Whether all channels of a stream have ended. Nobody counts: a stream remembers one of its channels that is open, its
//! witness. As long as that doesn't end, nothing needs to be looked at. When it does, a reader thread looks for another one.
//!
//! A stream whose channels never end (it follows patterns, or channels of the hub's own) remembers that instead, and as long
//! as no channel of the hub has ever ended nobody looks at all.

use crate::audience::is_everyone;
use crate::change::State;
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::history::History;
use crate::hub::Hub;
use crate::hub::subscribe::Subscribe;
use crate::limits::FOLLOWS_MAX;
use crate::log::record::Record;
use crate::position::Position;
use crate::stats::bump;
use crate::store::StoreError;

/// Channels of a stream that are witnesses together: so many that one byte tells all of them apart, of which every stream
/// has one.
const BENCH: usize = 16;

/// What a stream knows of whether its channels have ended, in one byte: two bits for what is known, six for a bench of
/// channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness(u8);

/// The same, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Not all of what it follows can end.
    Endless,
    /// Nobody has looked. Whoever does begins at this bench: those before have mostly ended.
    Unknown { from: u8 },
    /// Somebody looks. If something ended since that was asked, the answer is of no use.
    Asked { again: bool, from: u8 },
    /// A channel of this bench is open.
    Open { bench: u8 },
}

/// What somebody saw who looked at the channels of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The channel at this place is open.
    Open(usize),
    /// All have ended, the last of them here.
    Ended(Position),
}

/// A bench that no stream has: all of them follow fewer channels.
const NO_BENCH: u8 = 63;

const _: () = assert!(FOLLOWS_MAX.div_ceil(BENCH) <= NO_BENCH as usize, "a bench is told in six bits");

impl Witness {
    const fn new(known: Known) -> Self {
        Self(match known {
            Known::Unknown { from } => from << 2,
            Known::Asked { again: false, from } => from << 2 | 1,
            Known::Asked { again: true, from } => from << 2 | 2,
            Known::Open { bench } => bench << 2 | 3,
            Known::Endless => NO_BENCH << 2 | 3,
        })
    }

    fn known(self) -> Known {
        let bench = self.0 >> 2;
        match self.0 & 3 {
            0 => Known::Unknown { from: bench },
            1 => Known::Asked { again: false, from: bench },
            2 => Known::Asked { again: true, from: bench },
            _ if bench == NO_BENCH => Known::Endless,
            _ => Known::Open { bench },
        }
    }

    /// What is known of a stream that begins.
    pub(crate) fn of(follows: &Follows) -> Self {
        let can_end = |name: &ChannelName| !name.is_reserved();
        let mut names = follows.channels().iter().map(|(name, _)| name);
        let all = names.clone().all(|name| can_end(name) || is_everyone(name)) && follows.patterns().is_empty();
        Self::new(if all && names.any(can_end) { Known::Unknown { from: 0 } } else { Known::Endless })
    }

    /// The stream follows something else from now on. What somebody sees who looks meanwhile is of no use.
    pub(crate) fn follow(&mut self, follows: &Follows) {
        let is_asked = matches!(self.known(), Known::Asked { .. });
        *self = Self::of(follows);
        if is_asked && !self.is_endless() {
            *self = Self::new(Known::Asked { again: true, from: 0 });
        }
    }

    /// Whether not all of what it follows can end.
    pub(crate) fn is_endless(self) -> bool {
        self.known() == Known::Endless
    }

    /// The stream was sent an end, or may have missed one.
    pub(crate) fn doubt(&mut self) {
        *self = Self::new(match self.known() {
            Known::Endless => Known::Endless,
            Known::Asked { from, .. } => Known::Asked { again: true, from },
            Known::Unknown { from } | Known::Open { bench: from } => Known::Unknown { from },
        });
    }

    /// The stream was sent an event that ends a channel or opens it again. Its own witness may be concerned, and so is who
    /// looks meanwhile.
    pub(crate) fn hears(&mut self, follows: &Follows, ended: &Record) {
        if let Known::Open { bench } = self.known() {
            let (begin, channels) = (usize::from(bench) * BENCH, follows.channels());
            let bench = channels.get(begin..channels.len().min(begin + BENCH)).unwrap_or(channels);
            if !bench.iter().any(|(name, _)| ended.channels.contains(name)) {
                return;
            }
        }
        self.doubt();
    }

    /// At which channel to begin to look, if somebody should. From then on somebody does.
    pub(crate) fn ask(&mut self) -> Option<usize> {
        let Known::Unknown { from } = self.known() else { return None };
        *self = Self::new(Known::Asked { again: false, from });
        Some(usize::from(from) * BENCH)
    }

    /// Takes an answer, of a stream that has come to `cursor`.
    pub(crate) fn learn(&mut self, look: Option<Look>, cursor: Position) -> Verdict {
        let Known::Asked { again, from } = self.known() else { return Verdict::Wait };
        *self = Self::new(Known::Unknown { from });
        match look {
            _ if again => return Verdict::Ask,
            Some(Look::Open(at)) => {
                *self = Self::new(Known::Open { bench: (at / BENCH).min(usize::from(NO_BENCH) - 1) as u8 });
            }
            Some(Look::Ended(upto)) if upto <= cursor => return Verdict::Over,
            // An end that the stream has yet to be sent will have it look again.
            Some(Look::Ended(_)) | None => {}
        }
        Verdict::Wait
    }
}

/// What is to be done about a stream at whose channels somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing for now.
    Wait,
    /// Look again: it may be otherwise by now.
    Ask,
    /// End it: it was sent all there is.
    Over,
}

impl Look {
    /// Looks at the rows of a stream's channels, beginning at one place, until one is open.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub(crate) fn at(history: &History, follows: &Follows, from: usize) -> Result<Self, StoreError> {
        let mut upto = Position::ORIGIN;
        let (before, after) = follows.channels().split_at(from.min(follows.channels().len()));
        let places = (before.len()..).zip(after).chain((0..).zip(before));
        for (at, (name, _)) in places.filter(|(_, (name, _))| !name.is_reserved()) {
            let open = Self::Open(at);
            // Of one that can't be read nobody knows better.
            let Some(known) = history.row_if_readable(name)? else { return Ok(open) };
            let Some((position, _)) = known.row.end else { return Ok(open) };
            upto = upto.max(position);
        }
        Ok(Self::Ended(upto))
    }
}

impl Hub {
    /// Whether whoever asks has everything already: all that is followed has ended, and the cursor is at or beyond all ends.
    /// Such a stream would end as it begins, so whoever serves it can say so instead. Where the store can't be read, no.
    ///
    /// This may read the store; see [`Hub::may_be_over`].
    pub fn is_over(&self, subscribe: &Subscribe) -> bool {
        let known = self.goes_on(subscribe);
        let Some(come_to) = self.come_to(subscribe, known.as_deref()) else { return false };
        let look = Look::at(self.history(), followed(subscribe, known.as_deref()), 0);
        let is_over = matches!(look, Ok(Look::Ended(upto)) if upto <= come_to);
        if is_over {
            bump(&self.0.counters.refused_over);
        }
        is_over
    }

    /// Whether it is worth asking [`Hub::is_over`]: nothing is read for this.
    pub fn may_be_over(&self, subscribe: &Subscribe) -> bool {
        self.history().endings.any() && self.come_to(subscribe, self.goes_on(subscribe).as_deref()).is_some()
    }

    /// How far a request has come with what it follows: if its cursor is of this log, and it follows nothing that is endless
    /// and nothing whose history it has yet to be sent.
    fn come_to(&self, subscribe: &Subscribe, known: Option<&State>) -> Option<Position> {
        let follows = followed(subscribe, known);
        if Witness::of(follows).is_endless() {
            return None;
        }
        let cursor: Cursor = match subscribe.last_event_id.as_deref() {
            Some(id) if !id.is_empty() => id.parse().ok()?,
            _ if known.is_some() => return None,
            _ => match follows.common_since()? {
                Since::After(cursor) => cursor,
                _ => return None,
            },
        };
        let (head, _) = self.history().window.head();
        self.history().epochs.place(&cursor, head).ok()?;
        if known.is_some_and(|state| state.go_on(&cursor).1.next.is_some()) {
            return None;
        }
        // While something is filled in, only what came of that counts.
        Some(cursor.event())
    }
}

/// What a request follows. Of a stream that goes on, it isn't the request that says so.
fn followed<'a>(subscribe: &'a Subscribe, known: Option<&'a State>) -> &'a Follows {
    known.map_or(&subscribe.follows, |state| &state.follows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{Draft, Publisher};
    use crate::log::channel_row::EndReason;
    use crate::pattern::Pattern;

    fn follows(names: &[&str]) -> Follows {
        let channels = names.iter().map(|name| (ChannelName::new(name).unwrap(), Since::Now));
        Follows::new(channels.collect(), Vec::new())
    }

    fn end_of(name: &str) -> Record {
        let draft = Draft::ending(&ChannelName::new(name).unwrap(), EndReason::Done, None, Publisher::Anyone);
        Record::of(draft.unwrap(), 0)
    }

    #[test]
    fn a_byte_says_all_of_it() {
        for byte in 0..=u8::MAX {
            assert_eq!(Witness::new(Witness(byte).known()), Witness(byte), "{byte}");
        }
    }

    #[test]
    fn patterns_and_the_hubs_own_channels_never_end_but_that_of_everyone_is_aside() {
        assert!(!Witness::of(&follows(&["a", "b"])).is_endless());
        assert!(!Witness::of(&follows(&["a", "@everyone"])).is_endless());
        assert!(Witness::of(&follows(&["@everyone"])).is_endless());
        assert!(Witness::of(&follows(&["a", "@inbox/ada"])).is_endless());
        let pattern = (Pattern::new("b*").unwrap(), Since::Now);
        assert!(Witness::of(&Follows::new(follows(&["a"]).channels().to_vec(), vec![pattern])).is_endless());
    }

    #[test]
    fn only_an_end_beside_the_witness_has_somebody_look() {
        let names: Vec<String> = (0..40).map(|at| format!("c{at:02}")).collect();
        let follows = follows(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut witness = Witness::of(&follows);
        assert_eq!(witness.ask(), Some(0));
        assert_eq!(witness.learn(Some(Look::Open(17)), Position::ORIGIN), Verdict::Wait);
        for name in ["c00", "c15", "c32"] {
            witness.hears(&follows, &end_of(name));
            assert_eq!(witness.ask(), None, "{name}");
        }
        witness.hears(&follows, &end_of("c31"));
        assert_eq!(witness.ask(), Some(16));
        assert_eq!(witness.ask(), None, "one is enough");
    }

    #[test]
    fn an_answer_from_before_an_end_is_of_no_use() {
        let follows = follows(&["a", "b"]);
        let mut witness = Witness::of(&follows);
        let ended = Some(Look::Ended(Position::new(1, 2)));
        assert!(witness.ask().is_some());
        witness.hears(&follows, &end_of("b"));
        assert_eq!(witness.learn(Some(Look::Open(1)), Position::ORIGIN), Verdict::Ask);
        assert!(witness.ask().is_some());
        assert_eq!(witness.learn(ended, Position::new(1, 1)), Verdict::Wait, "that is yet to come");
        assert!(witness.ask().is_some());
        assert_eq!(witness.learn(ended, Position::new(1, 2)), Verdict::Over);
    }
}
