//! Which streams of a shard follow which channel. The shard writes it; receipts are counted from it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use self::followers::Followers;
use self::listeners::Listeners;
use self::pattern_index::PatternIndex;
use crate::audience::is_everyone;
use crate::channel::ChannelName;
use crate::follows::Follows;
use crate::pattern::Pattern;
use crate::user::UserName;

pub(crate) mod followers;
pub(crate) mod follows_pool;
pub(crate) mod listeners;
pub(crate) mod pattern_index;

/// A stream within its shard. Never used for another stream.
pub(crate) type StreamKey = u64;

/// Channel → streams.
#[derive(Debug, Default)]
pub(crate) struct Index {
    channels: HashMap<ChannelName, Followers>,
    patterns: PatternIndex,
    listeners: Listeners,
}

impl Index {
    /// Adds a stream.
    pub(crate) fn insert(&mut self, key: StreamKey, follows: &Follows) {
        self.listeners.insert(key, follows);
        self.follow(key, follows);
    }

    /// A stream follows these, too.
    pub(crate) fn follow(&mut self, key: StreamKey, follows: &Follows) {
        for (name, _) in follows.channels() {
            match self.channels.entry(name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(Followers::One(key));
                }
                Entry::Occupied(mut entry) => entry.get_mut().insert(key),
            }
        }
        for (pattern, _) in follows.patterns() {
            self.patterns.insert(pattern, key);
        }
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, key: StreamKey, follows: &Follows) {
        self.listeners.remove(key, follows);
        self.unfollow(key, follows);
    }

    /// A stream follows these no longer.
    pub(crate) fn unfollow(&mut self, key: StreamKey, follows: &Follows) {
        for (name, _) in follows.channels() {
            if self.channels.get_mut(name).is_some_and(|followers| followers.remove(key)) {
                self.channels.remove(name);
                if self.channels.capacity() > 1024 && self.channels.len() < self.channels.capacity() / 8 {
                    self.channels.shrink_to_fit();
                }
            }
        }
        for (pattern, _) in follows.patterns() {
            self.patterns.remove(pattern, key);
        }
    }

    /// A stream doesn't get what is for everyone any more, unless it follows that by name.
    pub(crate) fn decline_everyone(&mut self, key: StreamKey) {
        self.listeners.decline_everyone(key);
    }

    /// Whether it is known which patterns match a channel.
    pub(crate) fn knows(&self, name: &ChannelName) -> bool {
        self.patterns.knows(name)
    }

    /// Remembers which patterns match a channel.
    pub(crate) fn learn(&mut self, name: &ChannelName) {
        self.patterns.learn(name);
    }

    /// The streams that follow a channel: those that do so by name, then those of each pattern. One that does so twice is
    /// there twice. Those that follow `@everyone` because all do are not there.
    pub(crate) fn followers(&self, name: &ChannelName) -> impl Iterator<Item = &Followers> {
        self.channels.get(name).into_iter().chain(self.patterns.followers(name))
    }

    /// The channels of a pattern that streams follow by name.
    pub(crate) fn names_of(&self, pattern: &Pattern) -> impl Iterator<Item = &ChannelName> {
        self.channels.keys().filter(|name| pattern.matches(name))
    }

    /// How many streams follow any of these channels, those of one user aside.
    pub(crate) fn count(&self, names: &[ChannelName], except: Option<&UserName>) -> usize {
        let is_for_everyone = names.iter().any(is_everyone);
        let all = if is_for_everyone { self.count_everyone(names) } else { self.count_followers(names) };
        let hears = |key: &StreamKey| {
            (is_for_everyone && self.listeners.hears_everyone(*key))
                || names.iter().flat_map(|name| self.followers(name)).any(|followers| followers.contains(*key))
        };
        let excepted = except.into_iter().flat_map(|user| self.listeners.of_user(user)).filter(hears).count();
        all.saturating_sub(excepted)
    }

    /// How many streams there are, without those that decline and don't follow by name or pattern either.
    fn count_everyone(&self, names: &[ChannelName]) -> usize {
        let followers = names.iter().flat_map(|name| self.followers(name)).flat_map(Followers::iter);
        let others: HashSet<_> = followers.filter(|key| !self.listeners.hears_everyone(*key)).collect();
        self.listeners.everyone() + others.len()
    }

    /// How many streams follow any of these channels by name or by pattern.
    fn count_followers(&self, names: &[ChannelName]) -> usize {
        let mut all = names.iter().flat_map(|name| self.followers(name));
        let (first, second) = (all.next(), all.next());
        match (first, second) {
            (None, _) => 0,
            (Some(only), None) => only.len(),
            (Some(first), Some(second)) => {
                let keys = [first, second].into_iter().chain(all).flat_map(Followers::iter);
                keys.collect::<HashSet<_>>().len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follows::Since;

    #[test]
    fn streams_are_found_by_name_and_by_pattern_and_counted_once() {
        let name = |text| ChannelName::new(text).unwrap();
        let both = Follows::new(vec![(name("a:1"), Since::Now)], vec![(Pattern::new("a:*").unwrap(), Since::Now)]);
        let one = Follows::new(vec![(name("a:1"), Since::Now), (name("b"), Since::Now)], vec![]);
        let mut index = Index::default();
        index.insert(1, &both);
        index.insert(2, &one);
        assert_eq!(index.count(&[name("a:1")], None), 2);
        assert_eq!(index.count(&[name("a:2")], None), 1);
        assert_eq!(index.count(&[name("a:2"), name("b")], None), 2);
        index.remove(1, &both);
        assert_eq!(index.count(&[name("a:1")], None), 1);
        index.remove(2, &one);
        assert_eq!(index.count(&[name("a:1")], None), 0);
        assert!(index.channels.is_empty() && index.patterns.is_empty(), "an empty channel costs nothing");
    }

    #[test]
    fn everyone_is_counted_without_those_who_decline_and_a_user_is_left_out_once() {
        let name = |text| ChannelName::new(text).unwrap();
        let to_all = [name("@everyone")];
        let a = || Follows::new(vec![(name("a"), Since::Now)], vec![(Pattern::new("a*").unwrap(), Since::Now)]);
        let ada = UserName::new("ada").unwrap();
        let mut index = Index::default();
        index.insert(1, &a());
        index.insert(2, &a().heard_by(Some(ada.clone()), true));
        index.insert(3, &a().heard_by(Some(ada.clone()), false));
        let by_name = Follows::new(vec![(name("@everyone"), Since::Now)], vec![]).heard_by(None, false);
        index.insert(4, &by_name);
        let counts = |index: &Index, names: &[ChannelName]| (index.count(names, None), index.count(names, Some(&ada)));
        assert_eq!(counts(&index, &to_all), (3, 2));
        assert_eq!(counts(&index, &[name("a")]), (3, 1));
        assert_eq!(counts(&index, &[name("a"), name("b")]), (3, 1));
        index.remove(2, &a().heard_by(Some(ada.clone()), true));
        index.remove(4, &by_name);
        assert_eq!(counts(&index, &to_all), (1, 1));
    }
}
