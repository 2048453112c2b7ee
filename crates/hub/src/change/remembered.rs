//! The streams that their listeners named, or that were changed: where they are open, what they follow, and for a while
//! what they followed last. Bounded: of those that are not open the oldest is forgotten first, and before that the oldest of
//! an owner who has many.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::change::{Change, ChangeError, Followed, GoOn, State};
use crate::clock::Clock;
use crate::cursor::Cursor;
use crate::follows::Follows;
use crate::inbox::device::DeviceName;
use crate::limits::{
    REMEMBERED_AGE_MAX, REMEMBERED_BYTES_MAX, REMEMBERED_MAX, REMEMBERED_OF_ONE_BYTES_MAX, REMEMBERED_OF_ONE_MAX,
};
use crate::position::Position;
use crate::stats::{Counters, bump};
use crate::stream_id::StreamId;

/// Tells the openings of streams with the same id apart.
pub(crate) type Token = u64;

/// What a request asks for, to tell whether another one asks for the same: a hash under a key that only this process has.
/// It takes eight bytes where a second list of names might take as much as all else. Whoever found two requests with the same
/// hash would come back to what the stream's id lets anybody read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked(u64);

/// Who opens a stream, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opener<'a> {
    /// The number of the shard.
    pub(crate) shard: usize,
    /// Who it is; 0 for nobody in particular.
    pub(crate) owner: u64,
    /// The device that acknowledges by coming back.
    pub(crate) device: Option<&'a DeviceName>,
}

/// What is known of a stream.
#[derive(Debug)]
struct Known {
    /// What it follows; `None` where it was ended for good.
    state: Option<Arc<State>>,
    /// What its listener asked for. It counts for whoever asks for the same again.
    asked: Asked,
    /// The last opening, or whatever else put it here.
    token: Token,
    /// The number of the shard where it is open.
    shard: Option<usize>,
    /// Who opened it; 0 for nobody in particular.
    owner: u64,
}

/// Streams in the order in which they were closed, with since when. One that is open again is there in vain.
type Closed = VecDeque<(Duration, StreamId, Token)>;

/// What is remembered of one owner's streams that are not open.
#[derive(Debug, Default)]
struct Share {
    closed: Closed,
    count: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Memory {
    streams: HashMap<StreamId, Known>,
    /// Those that are not open, the oldest first.
    closed: Closed,
    /// The same by owner, where that is known.
    shares: HashMap<u64, Share>,
    /// How many of those there are that are not here in vain, and what they weigh.
    count: usize,
    bytes: usize,
    /// Counts openings.
    tokens: Token,
}

/// The streams that were named or changed.
pub(crate) struct Remembered {
    memory: Mutex<Memory>,
    /// The key of [`Asked`].
    key: RandomState,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// Where a listener says that it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// At a cursor of this log.
    At(&'a Cursor),
    /// It says nothing: it begins, at the head.
    Nowhere(Position),
    /// At something that is of no use.
    Elsewhere,
}

/// What has become of an opening since its stream was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the stream of that id.
    Counts,
    /// The stream was opened anew.
    Replaced,
    /// The stream was ended for good.
    Ended,
}

/// A stream that was opened by its name.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) state: Arc<State>,
    pub(crate) token: Token,
    /// How it goes on; `None` where it begins as its `since` says.
    pub(crate) go_on: Option<GoOn>,
    /// The shard where it was open until now, and its opening there.
    pub(crate) replaced: Option<(usize, Token)>,
}

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Open, in this shard.
    Open(usize),
    /// Not open, but remembered.
    Closed,
    /// Ended for good.
    Ended,
    /// Nobody knows; if it is open, it was neither named nor changed.
    Unknown,
}

impl Remembered {
    pub(crate) fn new(clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Self {
        Self { memory: Mutex::default(), key: RandomState::new(), clock, counters }
    }

    /// What is remembered, after what is too old was forgotten.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        while memory.closed.front().is_some_and(|(since, ..)| now.saturating_sub(*since) >= REMEMBERED_AGE_MAX) {
            memory.forget_oldest();
        }
        memory
    }

    /// Where a stream is.
    pub(crate) fn find(&self, id: StreamId) -> Where {
        match self.lock().streams.get(&id) {
            None => Where::Unknown,
            Some(Known { state: None, .. }) => Where::Ended,
            Some(Known { shard: Some(shard), .. }) => Where::Open(*shard),
            Some(Known { shard: None, .. }) => Where::Closed,
        }
    }

    fn asked(&self, asks_for: &Follows, device: Option<&DeviceName>) -> Asked {
        Asked(self.key.hash_one((asks_for, device.map(DeviceName::as_str))))
    }

    /// What is known of a stream whose listener asked for the same, so that this counts and not what is asked for.
    pub(crate) fn goes_on(&self, id: StreamId, asks_for: &Follows, device: Option<&DeviceName>) -> Option<Arc<State>> {
        let asked = self.asked(asks_for, device);
        self.lock().streams.get(&id).filter(|known| known.asked == asked).and_then(|known| known.state.clone())
    }

    /// How many streams are remembered that are not open.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// What has become of an opening. Its shard asks when it takes the stream, since until then nobody could tell it.
    pub(crate) fn standing(&self, id: StreamId, token: Token) -> Standing {
        match self.lock().streams.get(&id) {
            Some(known) if known.state.is_none() => Standing::Ended,
            Some(known) if known.token == token => Standing::Counts,
            Some(_) | None => Standing::Replaced,
        }
    }

    /// Opens a stream. One that was ended for good stays so. `place` is where its listener says that it was. If that asks for
    /// the same as before, what the stream followed last counts, otherwise what it asks for.
    pub(crate) fn open(
        &self,
        id: StreamId,
        Opener { shard, owner, device }: Opener<'_>,
        asks_for: Arc<Follows>,
        place: Place<'_>,
    ) -> Opened {
        let mut memory = self.lock();
        if memory.streams.get(&id).is_some_and(|known| known.state.is_none()) {
            let state = Arc::new(State::new(asks_for, None));
            return Opened { state, token: memory.next_token(), go_on: None, replaced: None };
        }
        memory.take_up(id);
        let token = memory.next_token();
        let known = memory.streams.remove(&id);
        let replaced = known.as_ref().and_then(|known| known.shard.map(|shard| (shard, known.token)));
        let asked = self.asked(&asks_for, device);
        let known = known.filter(|known| known.asked == asked).and_then(|known| known.state);
        let (state, go_on) = match (known, place) {
            (None, Place::At(cursor)) => (State::new(asks_for, Some(cursor)), None),
            (None, Place::Nowhere(_) | Place::Elsewhere) => (State::new(asks_for, None), None),
            (Some(state), Place::At(cursor)) => {
                let (state, go_on) = state.go_on(cursor);
                (state, Some(go_on))
            }
            (Some(state), Place::Nowhere(head)) => state.begin(&asks_for, head),
            (Some(state), Place::Elsewhere) => (state.anew(), None),
        };
        let state = Arc::new(state);
        memory.streams.insert(id, Known { state: Some(state.clone()), asked, token, shard: Some(shard), owner });
        drop(memory);
        if replaced.is_some() {
            bump(&self.counters.replaced);
        }
        Opened { state, token, go_on, replaced }
    }

    /// An open stream is about to be changed for the first time. `None` where its name was taken meanwhile.
    pub(crate) fn register(&self, id: StreamId, opener: Opener<'_>, state: Arc<State>) -> Option<Token> {
        let Opener { shard, owner, device } = opener;
        let asked = self.asked(&state.follows, device);
        let mut memory = self.lock();
        if memory.streams.contains_key(&id) {
            return None;
        }
        let token = memory.next_token();
        memory.streams.insert(id, Known { state: Some(state), asked, token, shard: Some(shard), owner });
        Some(token)
    }

    /// An open stream was changed. Whether it is still the one that counts; if not, it must not be changed.
    pub(crate) fn keep(&self, id: StreamId, token: Token, state: &Arc<State>) -> bool {
        match self.lock().streams.get_mut(&id) {
            Some(known) if known.token == token && known.state.is_some() => {
                known.state = Some(state.clone());
                true
            }
            Some(_) | None => false,
        }
    }

    /// A stream is not open any more.
    pub(crate) fn closed(&self, id: StreamId, token: Token) {
        let mut memory = self.lock();
        let Some(known) = memory.streams.get_mut(&id).filter(|known| known.token == token) else { return };
        if known.shard.take().is_some() && known.state.is_some() {
            self.put_by(&mut memory, id);
        }
    }

    /// Keeps a stream that is not open, and forgets others where there is no room.
    fn put_by(&self, memory: &mut Memory, id: StreamId) {
        let Some(known) = memory.streams.get(&id) else { return };
        let (token, weight, owner) = (known.token, known.weight(), known.owner);
        let closed = (self.clock.elapsed(), id, token);
        memory.closed.push_back(closed);
        memory.count += 1;
        memory.bytes += weight;
        let forgotten = if owner == 0 { 0 } else { memory.put_by_owner(owner, closed, weight) };
        self.counters.forgotten.fetch_add(forgotten, Ordering::Relaxed);
        while memory.count > REMEMBERED_MAX || memory.bytes > REMEMBERED_BYTES_MAX {
            let before = memory.count;
            if !memory.forget_oldest() {
                break;
            }
            if memory.count < before {
                bump(&self.counters.forgotten);
            }
        }
        // Those that are here in vain.
        if memory.closed.len() > 2 * memory.count + 1024 {
            let Memory { closed, streams, .. } = &mut *memory;
            closed.retain(|(_, id, token)| streams.get(id).is_some_and(|known| known.is_put_by(*token)));
        }
    }

    /// Changes what is remembered of a stream that is not open.
    pub(crate) fn change(&self, id: StreamId, change: &Change) -> Result<Option<Followed>, ChangeError> {
        let mut memory = self.lock();
        let Some(Known { state: Some(state), shard: None, owner, asked, .. }) = memory.streams.get(&id) else {
            return Ok(None);
        };
        let (owner, asked) = (*owner, *asked);
        // Wherever its listener was: what is added has not come.
        let (state, _) = state.changed(change, Position::LAST)?;
        let state = Arc::new(state);
        memory.take_up(id);
        let token = memory.next_token();
        memory.streams.insert(id, Known { state: Some(state.clone()), asked, token, shard: None, owner });
        self.put_by(&mut memory, id);
        Ok(Some(Followed { stream: id, revision: state.revision(), id: None, follows: state.follows.clone() }))
    }

    /// What is remembered of a stream that is not open.
    pub(crate) fn look(&self, id: StreamId) -> Option<Followed> {
        let memory = self.lock();
        let Some(Known { state: Some(state), shard: None, .. }) = memory.streams.get(&id) else { return None };
        Some(Followed { stream: id, revision: state.revision(), id: None, follows: state.follows.clone() })
    }

    /// Ends a stream for good. Returns the shard where it is open. With an owner that of a stream that is not known yet.
    pub(crate) fn end(&self, id: StreamId, owner: Option<u64>) -> Option<usize> {
        let mut memory = self.lock();
        let known = memory.streams.get(&id);
        if known.is_some_and(|known| known.state.is_none()) {
            return None;
        }
        let open = known.and_then(|known| known.shard);
        let owner = known.map(|known| known.owner).or(owner).unwrap_or(0);
        memory.take_up(id);
        let token = memory.next_token();
        // Whatever is asked for.
        memory.streams.insert(id, Known { state: None, asked: Asked(0), token, shard: None, owner });
        self.put_by(&mut memory, id);
        open
    }
}

impl Known {
    fn weight(&self) -> usize {
        self.state.as_ref().map_or(256, |state| state.weight())
    }

    fn is_put_by(&self, token: Token) -> bool {
        self.token == token && self.shard.is_none()
    }
}

impl Memory {
    fn next_token(&mut self) -> Token {
        self.tokens += 1;
        self.tokens
    }

    /// A stream that was put by is so no longer; it stays known.
    fn take_up(&mut self, id: StreamId) {
        if let Some(known) = self.streams.get(&id).filter(|known| known.shard.is_none()) {
            let weight = known.weight();
            self.count -= 1;
            self.bytes -= weight;
            if let Some(share) = self.shares.get_mut(&known.owner) {
                share.count -= 1;
                share.bytes -= weight;
                if share.count == 0 {
                    self.shares.remove(&known.owner);
                }
            }
        }
    }

    /// Keeps an owner's stream within the owner's share, of which the oldest is forgotten. Returns how many were.
    fn put_by_owner(&mut self, owner: u64, closed: (Duration, StreamId, Token), weight: usize) -> u64 {
        let share = self.shares.entry(owner).or_default();
        share.closed.push_back(closed);
        share.count += 1;
        share.bytes += weight;
        let mut forgotten = 0;
        while let Some(share) = self.shares.get_mut(&owner)
            && (share.count > REMEMBERED_OF_ONE_MAX || share.bytes > REMEMBERED_OF_ONE_BYTES_MAX)
            && let Some((_, id, token)) = share.closed.pop_front()
        {
            forgotten += u64::from(self.forget(id, token));
        }
        // Those that are there in vain.
        if let Some(share) = self.shares.get_mut(&owner).filter(|share| share.closed.len() > 2 * share.count + 64) {
            let streams = &self.streams;
            share.closed.retain(|(_, id, token)| streams.get(id).is_some_and(|known| known.is_put_by(*token)));
        }
        forgotten
    }

    /// Forgets a stream, unless it was opened or changed since. Whether it was there.
    fn forget(&mut self, id: StreamId, token: Token) -> bool {
        let is_put_by = self.streams.get(&id).is_some_and(|known| known.is_put_by(token));
        if is_put_by {
            self.take_up(id);
            self.streams.remove(&id);
        }
        is_put_by
    }

    /// Forgets the stream that was closed first. Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, id, token)) = self.closed.pop_front() else { return false };
        self.forget(id, token);
        true
    }
}

#[cfg(test)]
mod tests;
