//! Pattern → streams. Which patterns match a channel is computed once and remembered; a pattern that comes or goes touches
//! the remembered channels that begin as it does, or has all of them forgotten where they are many.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use slab::Slab;

use crate::channel::ChannelName;
use crate::index::StreamKey;
use crate::index::followers::Followers;
use crate::limits::{MATCHED_CHANNELS_MAX, MATCHES_MAX};
use crate::pattern::Pattern;

/// Remembered channels that a pattern which comes or goes touches at most; beyond that all are forgotten, which costs less
/// than looking at each.
const TOUCHED_MAX: usize = if cfg!(test) { 3 } else { 1_000 };

/// A pattern within the index.
type PatternKey = usize;

/// Pattern → streams.
#[derive(Debug, Default)]
pub(crate) struct PatternIndex {
    patterns: Slab<(Pattern, Followers)>,
    keys: HashMap<Pattern, PatternKey>,
    /// Literal prefix → the patterns that have it.
    by_prefix: HashMap<Box<str>, Vec<PatternKey>>,
    /// Lengths of literal prefixes, in bytes, and how many of them there are.
    prefix_lengths: BTreeMap<usize, usize>,
    /// Channels whose patterns are known.
    matched: BTreeMap<ChannelName, Vec<PatternKey>>,
    /// How many patterns they have together, counting those that were taken out since.
    matches: usize,
}

impl PatternIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Adds a stream.
    pub(crate) fn insert(&mut self, pattern: &Pattern, key: StreamKey) {
        if let Some(at) = self.keys.get(pattern).copied() {
            if let Some((_, followers)) = self.patterns.get_mut(at) {
                followers.insert(key);
            }
            return;
        }
        let at = self.patterns.insert((pattern.clone(), Followers::One(key)));
        self.keys.insert(pattern.clone(), at);
        let prefix = pattern.literal_prefix();
        let of_prefix = self.by_prefix.entry(prefix.into()).or_default();
        if of_prefix.is_empty() {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
        of_prefix.push(at);
        let mut touched = 0;
        for (name, keys) in beginning_with(&mut self.matched, prefix) {
            touched += 1;
            if pattern.matches(name) {
                keys.push(at);
                self.matches += 1;
            }
            if touched > TOUCHED_MAX {
                break;
            }
        }
        if touched > TOUCHED_MAX || self.matches > MATCHES_MAX {
            self.forget();
        }
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, pattern: &Pattern, key: StreamKey) {
        let Some(at) = self.keys.get(pattern).copied() else { return };
        if !self.patterns.get_mut(at).is_some_and(|(_, followers)| followers.remove(key)) {
            return;
        }
        self.patterns.remove(at);
        if self.patterns.is_empty() {
            *self = Self::default();
            return;
        }
        self.keys.remove(pattern);
        let prefix = pattern.literal_prefix();
        if let Some(of_prefix) = self.by_prefix.get_mut(prefix) {
            of_prefix.retain(|other| *other != at);
            if of_prefix.is_empty() {
                self.by_prefix.remove(prefix);
                if let Some(count) = self.prefix_lengths.get_mut(&prefix.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
        }
        let mut touched = 0;
        for (_, keys) in beginning_with(&mut self.matched, prefix).take(TOUCHED_MAX + 1) {
            touched += 1;
            keys.retain(|other| *other != at);
        }
        if touched > TOUCHED_MAX {
            self.forget();
        }
    }

    /// Forgets which patterns match which channels, to compute it again where it is needed.
    fn forget(&mut self) {
        self.matched = BTreeMap::new();
        self.matches = 0;
    }

    /// Whether it is known, or needless to know, which patterns match a channel.
    pub(crate) fn knows(&self, name: &ChannelName) -> bool {
        self.is_empty() || self.matched.contains_key(name)
    }

    /// Remembers which patterns match a channel.
    pub(crate) fn learn(&mut self, name: &ChannelName) {
        if self.knows(name) {
            return;
        }
        let matching = self.matching(name);
        if self.matched.len() >= MATCHED_CHANNELS_MAX || self.matches + matching.len() > MATCHES_MAX {
            self.forget();
        }
        if matching.len() <= MATCHES_MAX {
            self.matches += matching.len();
            self.matched.insert(name.clone(), matching);
        }
    }

    /// The patterns that match a channel.
    fn matching(&self, name: &ChannelName) -> Vec<PatternKey> {
        let lengths = self.prefix_lengths.keys().take_while(|length| **length <= name.as_str().len());
        // A prefix that ends within a character is no prefix of a text.
        let prefixes = lengths.filter_map(|length| name.as_str().get(..*length));
        let candidates = prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten().copied();
        candidates.filter(|at| self.patterns.get(*at).is_some_and(|(pattern, _)| pattern.matches(name))).collect()
    }

    /// The streams of each pattern that matches a channel.
    pub(crate) fn followers(&self, name: &ChannelName) -> impl Iterator<Item = &Followers> {
        let known = self.matched.get(name);
        let computed = if known.is_some() || self.is_empty() { Vec::new() } else { self.matching(name) };
        let keys = known.into_iter().flatten().copied().chain(computed);
        keys.filter_map(|at| self.patterns.get(at)).map(|(_, followers)| followers)
    }
}

/// The remembered channels that begin with a prefix.
fn beginning_with<'a>(
    matched: &'a mut BTreeMap<ChannelName, Vec<PatternKey>>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a ChannelName, &'a mut Vec<PatternKey>)> {
    matched
        .range_mut::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(name, _)| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_trying_all_patterns_one_by_one_finds(
            steps in proptest::collection::vec((0..4u8, "[ab*]{1,3}", 0..5u64, "[ab]{1,4}"), 1..60),
        ) {
            let mut index = PatternIndex::default();
            let mut all: BTreeSet<(Pattern, StreamKey)> = BTreeSet::new();
            for (what, pattern, key, name) in steps {
                let pattern = Pattern::new(&pattern).unwrap();
                let name = ChannelName::new(&name).unwrap();
                match what {
                    0 => {
                        index.insert(&pattern, key);
                        all.insert((pattern, key));
                    }
                    1 => {
                        index.remove(&pattern, key);
                        all.remove(&(pattern, key));
                    }
                    2 => index.learn(&name),
                    _ => {}
                }
                let found: BTreeSet<StreamKey> = index.followers(&name).flat_map(Followers::iter).collect();
                let expected = all.iter().filter(|(p, _)| p.matches(&name)).map(|(_, key)| *key).collect();
                prop_assert_eq!(found, expected);
            }
            for (pattern, key) in all {
                index.remove(&pattern, key);
            }
            prop_assert!(index.is_empty() && index.by_prefix.is_empty() && index.prefix_lengths.is_empty());
            prop_assert!(index.matched.is_empty());
        }
    }
}
