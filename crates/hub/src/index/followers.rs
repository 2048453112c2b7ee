//! The streams that follow one channel or one pattern.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::index::StreamKey;

/// Streams that follow the same thing. Most channels have one follower or very many.
#[derive(Debug)]
pub(crate) enum Followers {
    One(StreamKey),
    #[expect(clippy::box_collection, reason = "most channels have one follower, and there may be very many channels")]
    Many(Box<HashSet<StreamKey, BuildHasherDefault<KeyHasher>>>),
}

impl Followers {
    /// Adds a stream.
    pub(crate) fn insert(&mut self, key: StreamKey) {
        match self {
            Self::One(other) if *other == key => {}
            Self::One(other) => *self = Self::Many(Box::new([*other, key].into_iter().collect())),
            Self::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    /// Takes a stream out. Returns whether none is left.
    pub(crate) fn remove(&mut self, key: StreamKey) -> bool {
        match self {
            Self::One(other) => *other == key,
            Self::Many(keys) => {
                keys.remove(&key);
                if keys.capacity() > 64 && keys.len() < keys.capacity() / 8 {
                    keys.shrink_to_fit();
                }
                keys.is_empty()
            }
        }
    }

    /// Whether a stream is one of them.
    pub(crate) fn contains(&self, key: StreamKey) -> bool {
        match self {
            Self::One(other) => *other == key,
            Self::Many(keys) => keys.contains(&key),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(keys) => keys.len(),
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = StreamKey> {
        let (one, many) = match self {
            Self::One(key) => (Some(*key), None),
            Self::Many(keys) => (None, Some(keys.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Spreads keys, which the hub itself gives and nobody can choose. Always the same, so that simulations are.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        // Multiplication carries low bits upwards, rotation brings them back down; the table looks at both ends.
        self.0 = (self.0 ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_and_go() {
        let mut followers = Followers::One(7);
        followers.insert(7);
        assert_eq!(followers.len(), 1);
        (0..1000).for_each(|key| followers.insert(key));
        let mut all: Vec<StreamKey> = followers.iter().collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        for key in 0..999 {
            assert!(!followers.remove(key));
        }
        assert!(followers.remove(999));
    }
}
