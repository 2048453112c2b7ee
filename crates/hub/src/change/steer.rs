//! Steering open streams from outside: what a program asks of the hub, and which shard is asked for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::change::remembered::{Opened, Opener, Place, Remembered, Where};
use crate::change::{Change, ChangeError, Followed, State};
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::history::beginning::LastEventId;
use crate::history::catchup::{self, Resumed};
use crate::hub::Hub;
use crate::hub::subscribe::Subscribe;
use crate::limits::FOLLOWS_MAX;
use crate::position::Position;
use crate::shard::change::{Answered, Order, What};
use crate::shard::commands::Command;
use crate::stats::bump;
use crate::store::StoreError;
use crate::stream_id::StreamId;
use crate::subscription::{Steering, Subscription};

/// How often a stream is looked for that is opened anew again and again meanwhile.
const TRIES_MAX: usize = 8;

impl Hub {
    /// Whether after a change of a stream that follows this now its patterns match too many channels for `last:N`: then the
    /// change would end the stream, and it must not be made. This may read the store; see [`Change::may_be_too_wide`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn is_too_wide(&self, follows: &Follows, change: &Change) -> Result<bool, StoreError> {
        let follows = change.patterns_after(follows);
        self.patiently(|| catchup::is_too_wide(self.history(), &follows))
    }

    /// Changes what a stream follows. When this returns, nothing more is sent of what was removed. Whoever adds patterns asks
    /// before whether they are [too wide](Hub::is_too_wide).
    ///
    /// # Errors
    ///
    /// When there is no such stream, it would follow too much, or a `since` is an id of another log.
    pub async fn change_stream(&self, id: StreamId, change: Change) -> Result<Followed, ChangeError> {
        // Whatever is asked for: everybody's streams wait while it is compared.
        let longest = change.add.len().max(change.remove.len());
        if longest > FOLLOWS_MAX {
            return Err(ChangeError::TooMany(longest));
        }
        self.check_sinces(&change)?;
        let heartbeat_ms = self.heartbeat_of(&change.add).as_millis().try_into().unwrap_or(u32::MAX);
        let heartbeat_ms = if change.add.is_empty() { u32::MAX } else { heartbeat_ms };
        let change = Arc::new(change);
        for _ in 0..TRIES_MAX {
            if let Some(followed) = self.0.remembered.change(id, &change)? {
                bump(&self.0.counters.changed);
                return Ok(followed);
            }
            if let Some(followed) = self.order(id, &What::Change(change.clone(), heartbeat_ms)).await? {
                return Ok(followed);
            }
            if matches!(self.0.remembered.find(id), Where::Unknown | Where::Ended) {
                break;
            }
        }
        Err(ChangeError::Unknown)
    }

    /// What a stream follows.
    ///
    /// # Errors
    ///
    /// When there is no such stream.
    pub async fn stream(&self, id: StreamId) -> Result<Followed, ChangeError> {
        for _ in 0..TRIES_MAX {
            if let Some(followed) = self.0.remembered.look(id) {
                return Ok(followed);
            }
            if let Some(followed) = self.order(id, &What::Look).await? {
                return Ok(followed);
            }
            if matches!(self.0.remembered.find(id), Where::Unknown | Where::Ended) {
                break;
            }
        }
        Err(ChangeError::Unknown)
    }

    /// Ends a stream for good: who comes back with its id is sent away.
    ///
    /// # Errors
    ///
    /// When there is no such stream.
    pub async fn end_stream(&self, id: StreamId) -> Result<(), ChangeError> {
        let is_known = self.0.remembered.find(id) != Where::Unknown;
        // Before its shard knows: it might come back meanwhile. Of one that nobody knows its shard says so.
        let open = if is_known { self.0.remembered.end(id, None) } else { Some(id.shard()) };
        let found = match open {
            Some(shard) => self.order_at(shard, id, &What::Delete).await?,
            None => None,
        };
        if is_known || found.is_some() { Ok(()) } else { Err(ChangeError::Unknown) }
    }

    /// Whether a stream was ended for good, so that who comes back with its id is to be sent away.
    pub fn has_ended(&self, id: StreamId) -> bool {
        self.0.remembered.find(id) == Where::Ended
    }

    /// What is known of a stream whose listener asks for the same again: then that counts.
    pub(crate) fn goes_on(&self, subscribe: &Subscribe) -> Option<Arc<State>> {
        let Subscribe { stream, follows, everyone, user, device, .. } = subscribe;
        let asks_for = || follows.clone().heard_by(user.clone(), *everyone);
        stream.and_then(|id| self.0.remembered.goes_on(id, &asks_for(), device.as_ref()))
    }

    /// Tells a stream something, wherever it is open. `None` where it isn't.
    async fn order(&self, id: StreamId, what: &What) -> Result<Option<Followed>, ChangeError> {
        let shard = match self.0.remembered.find(id) {
            Where::Open(shard) => shard,
            Where::Closed | Where::Ended => return Ok(None),
            // One that was neither named nor changed is where its id says.
            Where::Unknown => id.shard(),
        };
        self.order_at(shard, id, what).await
    }

    /// Tells a stream something, if it is open in a shard.
    async fn order_at(&self, shard: usize, id: StreamId, what: &What) -> Result<Option<Followed>, ChangeError> {
        let Some(shard) = self.0.shards.get(shard) else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        shard.commands.send(Command::Order(Box::new(Order { stream: id, what: what.clone(), reply })));
        match answer.await {
            Ok(Answered::Done(followed)) => Ok(Some(followed)),
            Ok(Answered::Refused(error)) => Err(error),
            // It ended while the change waited, or the hub does.
            Ok(Answered::NotHere) | Err(_) => Ok(None),
        }
    }

    /// That ids from which on something is added are of this log.
    fn check_sinces(&self, change: &Change) -> Result<(), ChangeError> {
        let (head, _) = self.history().window.head();
        let mut sinces = change.add.sinces();
        let is_foreign = |since| matches!(since, Since::After(id) if self.history().epochs.place(&id, head).is_err());
        if sinces.any(is_foreign) { Err(ChangeError::UnknownId) } else { Ok(()) }
    }

    /// A stream is opened in a shard by the name that its listener gave it. Returns where it begins.
    pub(crate) fn open_named(
        &self,
        subscription: &mut Subscription,
        opener: Opener<'_>,
        (last, head): (LastEventId, Position),
    ) -> (LastEventId, Option<Box<Resumed>>) {
        let (head_now, _) = self.history().window.head();
        let is_good = |cursor: &Cursor| self.history().epochs.place(cursor, head_now).is_ok();
        let (last, resumed, replaced) = open_named(&self.0.remembered, subscription, opener, (last, head), is_good);
        if let Some((number, what)) = replaced
            && let Some(shard) = self.0.shards.get(number)
        {
            let (reply, _) = oneshot::channel();
            shard.commands.send(Command::Order(Box::new(Order { stream: subscription.id(), what, reply })));
        }
        let heartbeat_ms = self.heartbeat_of(subscription.follows()).as_millis().try_into().unwrap_or(u32::MAX);
        subscription.beat_at_least(heartbeat_ms);
        (last, resumed)
    }
}

/// Opens a stream by its name: it follows what is remembered of it, if its listener asks for the same again. Returns where it
/// begins, the backfill that goes on, and what is to be told to which shard.
pub(crate) fn open_named(
    remembered: &Arc<Remembered>,
    subscription: &mut Subscription,
    by: Opener<'_>,
    (last, head): (LastEventId, Position),
    is_good: impl Fn(&Cursor) -> bool,
) -> (LastEventId, Option<Box<Resumed>>, Option<(usize, What)>) {
    let place = match &last {
        LastEventId::Cursor(cursor) if is_good(cursor) => Place::At(cursor),
        LastEventId::Cursor(_) | LastEventId::Foreign => Place::Elsewhere,
        LastEventId::None | LastEventId::Now => Place::Nowhere(head),
    };
    let opened = remembered.open(subscription.id(), by, subscription.follows().clone(), place);
    let Opened { state, token, mut go_on, replaced } = opened;
    let resumed = go_on.as_mut().and_then(|go_on| go_on.resumed.take()).map(Box::new);
    let last = match last {
        // What of a backfill is to be done is known better here.
        LastEventId::Cursor(cursor) if go_on.is_some() => {
            LastEventId::Cursor(Cursor { backfill: None, fill: None, ..cursor })
        }
        LastEventId::None if go_on.is_some() => LastEventId::Now,
        last => last,
    };
    subscription.steer(Steering::new(remembered.clone(), state, token, go_on));
    (last, resumed, replaced.map(|(shard, token)| (shard, What::Replace(token))))
}
