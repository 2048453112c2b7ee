//! Which streams of a shard follow which channel. The shard writes it; receipts are counted from it.

use std::collections::{HashMap, HashSet};

use crate::channel::ChannelName;
use crate::follows::Follows;
use crate::pattern::Pattern;

/// A stream within its shard. Never used for another stream.
pub(crate) type StreamKey = u64;

/// Channel → streams.
#[derive(Debug, Default)]
pub(crate) struct Index {
    channels: HashMap<ChannelName, Vec<StreamKey>>,
    patterns: HashMap<Pattern, Vec<StreamKey>>,
}

impl Index {
    /// Adds a stream.
    pub(crate) fn insert(&mut self, key: StreamKey, follows: &Follows) {
        for (name, _) in follows.channels() {
            self.channels.entry(name.clone()).or_default().push(key);
        }
        for (pattern, _) in follows.patterns() {
            self.patterns.entry(pattern.clone()).or_default().push(key);
        }
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, key: StreamKey, follows: &Follows) {
        fn take<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<StreamKey>>, name: &K, key: StreamKey) {
            let Some(keys) = map.get_mut(name) else { return };
            if let Some(at) = keys.iter().rposition(|other| *other == key) {
                keys.swap_remove(at);
            }
            if keys.is_empty() {
                map.remove(name);
            }
        }
        for (name, _) in follows.channels() {
            take(&mut self.channels, name, key);
        }
        for (pattern, _) in follows.patterns() {
            take(&mut self.patterns, pattern, key);
        }
    }

    /// The streams that follow a channel, by name or by pattern. One that does so twice is there twice.
    pub(crate) fn followers(&self, name: &ChannelName) -> impl Iterator<Item = StreamKey> {
        let by_name = self.channels.get(name).into_iter();
        let by_pattern = self.patterns.iter().filter(|(pattern, _)| pattern.matches(name)).map(|(_, keys)| keys);
        by_name.chain(by_pattern).flatten().copied()
    }

    /// How many streams follow any of these channels.
    pub(crate) fn count(&self, names: &[ChannelName]) -> usize {
        if let [name] = names
            && self.patterns.is_empty()
        {
            return self.channels.get(name).map_or(0, Vec::len);
        }
        names.iter().flat_map(|name| self.followers(name)).collect::<HashSet<_>>().len()
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
