//! The streams of a shard apart from what they follow: how many there are, which of them don't want what is for everyone,
//! and whose they are. A stream that neither declines nor has a user costs nothing here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;

use crate::follows::Follows;
use crate::index::StreamKey;
use crate::index::followers::{Followers, KeyHasher};
use crate::user::UserName;

/// The streams of a shard.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// How many there are.
    count: usize,
    /// Those that don't get what is for everyone.
    declining: HashSet<StreamKey, BuildHasherDefault<KeyHasher>>,
    /// Those that have a user.
    users: HashMap<UserName, Followers>,
}

impl Listeners {
    /// Adds a stream.
    pub(crate) fn insert(&mut self, key: StreamKey, follows: &Follows) {
        self.count += 1;
        if !follows.hears_everyone() {
            self.declining.insert(key);
        }
        if let Some(user) = follows.user() {
            match self.users.entry(user.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(Followers::One(key));
                }
                Entry::Occupied(mut entry) => entry.get_mut().insert(key),
            }
        }
    }

    /// A stream doesn't get what is for everyone any more.
    pub(crate) fn decline_everyone(&mut self, key: StreamKey) {
        self.declining.insert(key);
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, key: StreamKey, follows: &Follows) {
        self.count = self.count.saturating_sub(1);
        self.declining.remove(&key);
        if let Some(user) = follows.user()
            && self.users.get_mut(user).is_some_and(|streams| streams.remove(key))
        {
            self.users.remove(user);
        }
        if self.count == 0 {
            *self = Self::default();
        }
    }

    /// Whether a stream of this shard gets what is for everyone.
    pub(crate) fn hears_everyone(&self, key: StreamKey) -> bool {
        !self.declining.contains(&key)
    }

    /// How many streams get what is for everyone.
    pub(crate) fn everyone(&self) -> usize {
        self.count.saturating_sub(self.declining.len())
    }

    /// The streams of a user.
    pub(crate) fn of_user(&self, user: &UserName) -> impl Iterator<Item = StreamKey> {
        self.users.get(user).into_iter().flat_map(Followers::iter)
    }
}
