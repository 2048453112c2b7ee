//! What has to be looked at at some time: keys of the table `due`, which sort by that time.

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::position::Position;
use crate::store::{Batch, Table};

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A channel whose oldest event may be too old, or which may be forgotten.
    Channel(ChannelName),
    /// An event whose time to live has run out.
    Event(Position),
    /// An idempotency key that counts no longer.
    Idempotency(Vec<u8>),
    /// A channel whose producer may have fallen silent.
    Silence(ChannelName),
}

impl Due {
    fn key(&self, at_ms: u64) -> Bytes {
        let mut key = at_ms.to_be_bytes().to_vec();
        match self {
            Self::Channel(name) => {
                key.push(0);
                key.extend_from_slice(name.as_str().as_bytes());
            }
            Self::Event(position) => {
                key.push(1);
                key.extend_from_slice(&position.to_key());
            }
            Self::Idempotency(of) => {
                key.push(2);
                key.extend_from_slice(of);
            }
            Self::Silence(name) => {
                key.push(3);
                key.extend_from_slice(name.as_str().as_bytes());
            }
        }
        key.into()
    }

    /// Has it looked at at `at_ms`.
    pub(crate) fn put(&self, at_ms: u64, batch: &mut Batch) {
        batch.put(Table::Due, self.key(at_ms), Bytes::new());
    }

    /// Reads a key: when, and what.
    pub(crate) fn decode(key: &[u8]) -> Option<(u64, Self)> {
        let (at, rest) = key.split_first_chunk::<8>()?;
        let (kind, subject) = rest.split_first()?;
        let due = match kind {
            0 => Self::Channel(ChannelName::new(std::str::from_utf8(subject).ok()?).ok()?),
            1 => Self::Event(Position::from_key(subject.try_into().ok()?)),
            2 => Self::Idempotency(subject.to_vec()),
            3 => Self::Silence(ChannelName::new(std::str::from_utf8(subject).ok()?).ok()?),
            _ => return None,
        };
        Some((u64::from_be_bytes(*at), due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_survive() {
        let dues = [
            Due::Idempotency(vec![1, 2]),
            Due::Channel(ChannelName::new("chat").unwrap()),
            Due::Event(Position::new(1, 9)),
            Due::Silence(ChannelName::new("job").unwrap()),
        ];
        let keys: Vec<_> = dues.iter().zip([5, 6, 300, 301]).map(|(due, at)| due.key(at)).collect();
        assert!(keys.is_sorted());
        for ((key, due), at) in keys.iter().zip(&dues).zip([5, 6, 300, 301]) {
            assert_eq!(Due::decode(key), Some((at, due.clone())));
        }
        assert_eq!(Due::decode(b"short"), None);
    }
}
