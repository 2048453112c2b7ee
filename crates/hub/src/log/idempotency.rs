//! Publishing the same thing twice by mistake. A key, scoped by publisher, is stored in the same batch as its event, so
//! it survives what the event survives.

use std::collections::HashMap;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::draft::{Draft, Publisher};
use crate::log::varint;
use crate::position::Position;
use crate::rule::Durability;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, StoreError, Table};

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// A digest of what was published.
    digest: u128,
    /// Where it went; nowhere if it was transient.
    pub(crate) position: Option<Position>,
    /// How it is kept.
    pub(crate) durability: Durability,
    /// Until when the key counts, in milliseconds since the Unix epoch.
    until_ms: u64,
}

/// What a draft's key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new.
    New,
    /// It was published before, with this outcome.
    Duplicate(Published),
    /// The key was used for something else.
    Conflict,
}

/// The keys of a commit in the making, which stand in no store yet.
#[derive(Debug, Default)]
pub(crate) struct Pending(HashMap<Vec<u8>, Published>);

/// The key as the store has it: who, then what, the length of the one before the other so that no two pairs mix.
pub(crate) fn store_key(draft: &Draft) -> Option<Vec<u8>> {
    let key = draft.event.idempotency_key.as_ref()?;
    let mut out = match &draft.publisher {
        Publisher::Anyone => vec![0],
        Publisher::Hub => vec![1],
        Publisher::Named(name) => {
            let mut out = vec![2];
            varint::write(name.len() as u64, &mut out);
            out.extend_from_slice(name.as_bytes());
            out
        }
    };
    out.extend_from_slice(key.as_bytes());
    Some(out)
}

/// A digest of everything that makes two drafts the same. Not secret and not against attackers: keys are the
/// publisher's own.
fn digest(draft: &Draft) -> u128 {
    let mut hasher = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    // Which channels a pattern meets changes; what the publisher said doesn't. No channel's name is empty.
    if let Some(pattern) = &draft.pattern {
        part(b"");
        part(pattern.as_str().as_bytes());
    }
    for channel in draft.channels.iter().filter(|_| draft.pattern.is_none()) {
        part(channel.as_str().as_bytes());
    }
    // What older hubs didn't have counts only where it is there: keys of theirs still mean the same.
    if let Some(key) = &draft.event.key {
        part(if draft.event.is_deleted { b"deletion" } else { b"key" });
        part(key.as_bytes());
    }
    if let Some(user) = &draft.except_user {
        part(b"except");
        part(user.as_str().as_bytes());
    }
    for text in [&draft.event.name, &draft.event.content_type] {
        part(&[u8::from(text.is_some())]);
        part(text.as_deref().unwrap_or_default().as_bytes());
    }
    for time in [draft.event.retry, draft.event.ttl] {
        part(&time.map_or(u128::MAX, |time| time.as_millis()).to_le_bytes());
    }
    part(&draft.event.data);
    hasher.digest128()
}

impl Published {
    /// The outcome of a draft.
    pub(crate) fn of(draft: &Draft, position: Option<Position>, durability: Durability, until_ms: u64) -> Self {
        Self { digest: digest(draft), position, durability, until_ms }
    }

    /// Whether a stored outcome counts no longer.
    pub(crate) fn is_over(value: &[u8], now_ms: u64) -> bool {
        Self::decode(value).is_none_or(|published| published.until_ms <= now_ms)
    }

    /// Until when a stored outcome counts, in milliseconds since the Unix epoch.
    pub(crate) fn until_ms(value: &[u8]) -> Option<u64> {
        Self::decode(value).map(|published| published.until_ms)
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = self.digest.to_be_bytes().to_vec();
        value.extend_from_slice(&self.position.unwrap_or_default().to_key());
        value.push(match self.durability {
            Durability::Transient => 0,
            Durability::Memory => 1,
            Durability::Durable => 2,
        });
        varint::write(self.until_ms, &mut value);
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (digest, rest) = value.split_first_chunk::<16>()?;
        let (position, rest) = rest.split_first_chunk::<8>()?;
        let (durability, mut rest) = rest.split_first()?;
        let position = Position::from_key(*position);
        Some(Self {
            digest: u128::from_be_bytes(*digest),
            position: (position != Position::ORIGIN).then_some(position),
            durability: match durability {
                0 => Durability::Transient,
                1 => Durability::Memory,
                _ => Durability::Durable,
            },
            until_ms: varint::read(&mut rest)?,
        })
    }
}

/// What a key stands for in a store; nothing where that is damaged: then the same may be published twice.
pub(crate) fn readable(
    found: Result<Option<Bytes>, StoreError>,
    key: &[u8],
    tiers: &Tiers,
) -> Result<Option<Bytes>, StoreError> {
    match found {
        Err(error) if error.is_damage() => {
            tiers.damage.found(Table::Idempotency, key, &error);
            Ok(None)
        }
        found => found,
    }
}

impl Pending {
    /// What the key of `draft` says, among the stored ones and those of this commit.
    pub(crate) fn judge(&self, key: &[u8], draft: &Draft, now_ms: u64, tiers: &Tiers) -> Result<Verdict, StoreError> {
        let mut found = self.0.get(key).copied();
        for tier in Tier::ALL {
            if found.is_none() {
                let value = readable(tiers.store(tier).get(Table::Idempotency, key), key, tiers)?;
                found = value.and_then(|value| Published::decode(&value)).filter(|before| before.until_ms > now_ms);
            }
        }
        Ok(match found {
            None => Verdict::New,
            Some(before) if before.digest == digest(draft) => Verdict::Duplicate(before),
            Some(_) => Verdict::Conflict,
        })
    }

    /// Remembers the outcome of a draft with this key, in the same batch as its event.
    pub(crate) fn remember(&mut self, key: Vec<u8>, published: Published, batch: &mut Batch) {
        batch.put(Table::Idempotency, Bytes::copy_from_slice(&key), published.encode());
        self.0.insert(key, published);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::event::Event;

    fn draft(publisher: Publisher, key: &str, data: &str) -> Draft {
        let event = Event::text(data.to_owned()).idempotency_key(key);
        Draft::new(vec![ChannelName::new("c").unwrap()], event, publisher).unwrap()
    }

    #[test]
    fn keys_of_different_publishers_never_mix() {
        let named = |name: &str| Publisher::Named(name.into());
        let keys = [
            store_key(&draft(Publisher::Anyone, "ab", "x")),
            store_key(&draft(named("a"), "b", "x")),
            store_key(&draft(named("ab"), "b", "x")),
            store_key(&draft(named("a"), "bb", "x")),
            store_key(&draft(Publisher::Hub, "ab", "x")),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(key.is_some());
            assert!(!keys[at + 1..].contains(key));
        }
    }

    #[test]
    fn the_same_key_is_a_duplicate_with_the_same_content_and_a_conflict_with_other_content() {
        let tiers = Tiers::new(std::sync::Arc::new(crate::store::memory::MemoryStore::default()));
        let first = draft(Publisher::Anyone, "k", "x");
        let key = store_key(&first).unwrap();
        let published = Published::of(&first, Some(Position::new(1, 1)), Durability::Durable, 100);
        let mut batch = Batch::default();
        let mut pending = Pending::default();
        pending.remember(key.clone(), published, &mut batch);
        tiers.durable.commit(batch, crate::store::Persist::Now).unwrap();
        for pending in [pending, Pending::default()] {
            let judge = |data, now| pending.judge(&key, &draft(Publisher::Anyone, "k", data), now, &tiers).unwrap();
            assert_eq!(judge("x", 50), Verdict::Duplicate(published));
            assert_eq!(judge("y", 50), Verdict::Conflict);
        }
        let later = Pending::default().judge(&key, &first, 100, &tiers).unwrap();
        assert_eq!(later, Verdict::New, "the window is over");
    }
}
