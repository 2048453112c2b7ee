//! Orders for single streams: to follow something else, to say what they follow, to end. A stream is found by its id: those
//! that were named or changed through a map, all others at the place that the hub put into their id.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Shard, place};
use crate::change::remembered::{Standing, Token};
use crate::change::{Change, ChangeError, Followed, State};
use crate::index::StreamKey;
use crate::limits::CHANGES_WAITING_MAX;
use crate::stats::{CloseReason, bump};
use crate::stream_id::StreamId;
use crate::subscription::Steering;
use crate::window::notice::ByeReason;

/// What a stream is told to do.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) stream: StreamId,
    pub(crate) what: What,
    pub(crate) reply: oneshot::Sender<Answered>,
}

/// What it is told.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// To follow something else, and to beat at least so often, in milliseconds.
    Change(Arc<Change>, u32),
    /// To say what it follows.
    Look,
    /// To end for good.
    Delete,
    /// To end since its listener opened it anew. This opening of it is meant.
    Replace(Token),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It was done.
    Done(Followed),
    /// There is no such stream here.
    NotHere,
    /// It can't be done.
    Refused(ChangeError),
}

/// A change that waits for what is being read for its stream.
#[derive(Debug)]
pub(super) struct Waiting {
    key: StreamKey,
    change: Arc<Change>,
    heartbeat_ms: u32,
    reply: oneshot::Sender<Answered>,
}

impl Shard {
    /// Does what a stream is told to do, now or when nothing is read for it any more. Who asked is answered then.
    pub(crate) fn order(&mut self, order: Order, now: Duration) {
        let Order { stream: id, what, reply } = order;
        let Some(key) = self.key_of(id) else {
            let _ = reply.send(Answered::NotHere);
            return;
        };
        match what {
            What::Look => {
                let view = self.log.view();
                let followed = self.streams.get_mut(key).map(|stream| stream.subscription.followed(&view));
                let _ = reply.send(followed.map_or(Answered::NotHere, Answered::Done));
            }
            What::Change(change, heartbeat_ms) => self.change(Waiting { key, change, heartbeat_ms, reply }, now),
            What::Delete => {
                // Where it was named or changed this is known already.
                let owner = self.streams.get_mut(key).map_or(0, |stream| stream.owner());
                self.remembered.end(id, Some(owner));
                self.end_one(key, ByeReason::Deleted, CloseReason::Deleted, reply);
            }
            What::Replace(token) => {
                let is_meant = |stream: &mut super::Stream| {
                    stream.subscription.steering().is_some_and(|steering| steering.token() == token)
                };
                if self.streams.get_mut(key).is_some_and(is_meant) {
                    self.end_one(key, ByeReason::Replaced, CloseReason::Replaced, reply);
                }
            }
        }
    }

    fn end_one(&mut self, key: StreamKey, bye: ByeReason, close: CloseReason, reply: oneshot::Sender<Answered>) {
        let view = self.log.view();
        let followed = self.streams.get_mut(key).map(|stream| stream.subscription.followed(&view));
        self.end(key, bye, close);
        let _ = reply.send(followed.map_or(Answered::NotHere, Answered::Done));
    }

    /// The stream with an id.
    fn key_of(&mut self, id: StreamId) -> Option<StreamKey> {
        let known = self.steered.get(&id).copied().or_else(|| self.streams.key_at(id.place()))?;
        self.streams.get_mut(known).filter(|stream| stream.subscription.id() == id).map(|stream| stream.key)
    }

    /// Has a new stream found by its id: one that its listener named if this opening still counts, which is returned, all
    /// others at their place.
    pub(super) fn name(&mut self, key: StreamKey) -> Standing {
        let Some(stream) = self.streams.get_mut(key) else { return Standing::Counts };
        let Some(steering) = stream.subscription.steering() else {
            stream.subscription.is_at(self.number, place(key));
            return Standing::Counts;
        };
        let id = stream.subscription.id();
        let standing = self.remembered.standing(id, steering.token());
        if standing == Standing::Counts
            && let Some(older) = self.steered.insert(id, key)
        {
            // Whoever opened it anew in between has yet to say so, and then it isn't found any more.
            self.end(older, ByeReason::Replaced, CloseReason::Replaced);
        }
        standing
    }

    fn change(&mut self, waiting: Waiting, now: Duration) {
        let key = waiting.key;
        let before = self.waiting.iter().filter(|other| other.key == key).count();
        let Some(stream) = self.streams.get_mut(key) else { return };
        if before >= CHANGES_WAITING_MAX {
            let _ = waiting.reply.send(Answered::Refused(ChangeError::Busy));
        } else if before > 0 || !stream.subscription.is_changeable() {
            self.waiting.push(waiting);
        } else {
            self.change_now(waiting);
            self.pump(key, now);
        }
    }

    /// Makes the changes that have waited for what was read for a stream.
    pub(super) fn change_at_last(&mut self, key: StreamKey) {
        if self.waiting.is_empty() {
            return;
        }
        let (these, others) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.key == key);
        self.waiting = others;
        for waiting in Vec::<Waiting>::from_iter(these) {
            self.change_now(waiting);
        }
    }

    fn change_now(&mut self, waiting: Waiting) {
        let Waiting { key, change, heartbeat_ms, reply } = waiting;
        let view = self.log.view();
        let Some(stream) = self.streams.get_mut(key) else { return };
        // It goes on from before what it gathers.
        stream.gathered = None;
        let id = stream.subscription.id();
        if stream.subscription.steering().is_none() {
            let state = Arc::new(State::new(stream.subscription.follows().clone(), None));
            let Some(token) = self.remembered.register(id, stream.opener(self.number), state.clone()) else {
                let _ = reply.send(Answered::NotHere);
                return;
            };
            stream.subscription.steer(Steering::new(self.remembered.clone(), state, token, None));
            self.steered.insert(id, key);
        }
        let subscription = &mut stream.subscription;
        let answer = match subscription.change(&change, &view) {
            Ok(Some(difference)) => {
                let followed = subscription.followed(&view);
                if !difference.is_empty() {
                    subscription.beat_at_least(heartbeat_ms);
                    bump(&self.counters.changed);
                    let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
                    index.unfollow(key, &difference.removed);
                    index.follow(key, &difference.added);
                    if difference.declines {
                        index.decline_everyone(key);
                    }
                }
                Answered::Done(followed)
            }
            // It was opened anew, elsewhere.
            Ok(None) => Answered::NotHere,
            Err(error) => Answered::Refused(error),
        };
        let _ = reply.send(answer);
    }

    /// A stream that was named or changed is gone, and with it what waits for it.
    pub(super) fn forget(&mut self, key: StreamKey, stream: &super::Stream) {
        let id = stream.subscription.id();
        self.waiting.retain(|waiting| waiting.key != key);
        if let Some(steering) = stream.subscription.steering() {
            steering.closed(id);
            if self.steered.get(&id) == Some(&key) {
                self.steered.remove(&id);
            }
        }
    }
}
