//! Which streams of a shard follow which channel. The shard writes it; receipts are counted from it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::channel::ChannelName;
use crate::followers::Followers;
use crate::follows::Follows;
use crate::pattern_index::PatternIndex;

/// A stream within its shard. Never used for another stream.
pub(crate) type StreamKey = u64;

/// Channel → streams.
#[derive(Debug, Default)]
pub(crate) struct Index {
    channels: HashMap<ChannelName, Followers>,
    patterns: PatternIndex,
}

impl Index {
    /// Adds a stream.
    pub(crate) fn insert(&mut self, key: StreamKey, follows: &Follows) {
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

    /// Whether it is known which patterns match a channel.
    pub(crate) fn knows(&self, name: &ChannelName) -> bool {
        self.patterns.knows(name)
    }

    /// Remembers which patterns match a channel.
    pub(crate) fn learn(&mut self, name: &ChannelName) {
        self.patterns.learn(name);
    }

    /// The streams that follow a channel: those that do so by name, then those of each pattern. One that does so twice is
    /// there twice.
    pub(crate) fn followers(&self, name: &ChannelName) -> impl Iterator<Item = &Followers> {
        self.channels.get(name).into_iter().chain(self.patterns.followers(name))
    }

    /// How many streams follow any of these channels.
    pub(crate) fn count(&self, names: &[ChannelName]) -> usize {
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
    use crate::pattern::Pattern;

    #[test]
    fn streams_are_found_by_name_and_by_pattern_and_counted_once() {
        let name = |text| ChannelName::new(text).unwrap();
        let both = Follows::new(vec![(name("a:1"), Since::Now)], vec![(Pattern::new("a:*").unwrap(), Since::Now)]);
        let one = Follows::new(vec![(name("a:1"), Since::Now), (name("b"), Since::Now)], vec![]);
        let mut index = Index::default();
        index.insert(1, &both);
        index.insert(2, &one);
        assert_eq!(index.count(&[name("a:1")]), 2);
        assert_eq!(index.count(&[name("a:2")]), 1);
        assert_eq!(index.count(&[name("a:2"), name("b")]), 2);
        index.remove(1, &both);
        assert_eq!(index.count(&[name("a:1")]), 1);
        index.remove(2, &one);
        assert_eq!(index.count(&[name("a:1")]), 0);
        assert!(index.channels.is_empty() && index.patterns.is_empty(), "an empty channel costs nothing");
    }
}
