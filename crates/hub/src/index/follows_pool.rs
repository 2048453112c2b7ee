//! What streams follow, held once for all streams that follow the same: ten thousand pages with one list of channels need
//! one list.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::follows::Follows;

/// Entries up to which nobody looks for those that are of no use any more.
const TIDY_MIN: usize = 1024;

/// What open streams follow.
#[derive(Debug, Default)]
pub(crate) struct FollowsPool(Mutex<Pool>);

#[derive(Debug, Default)]
struct Pool {
    entries: HashSet<Entry>,
    /// Names come from anybody, who must not be able to choose their hashes.
    keys: RandomState,
    /// How many entries there may be before the dead ones are cleared away.
    tidy_at: usize,
}

/// What some streams follow, or followed.
#[derive(Debug)]
struct Entry {
    /// Of the content; an entry can be looked up when its content is gone.
    hash: u64,
    follows: Weak<Follows>,
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && match (self.follows.upgrade(), other.follows.upgrade()) {
                (Some(this), Some(other)) => this == other,
                (None, None) => self.follows.ptr_eq(&other.follows),
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}

impl Eq for Entry {}

impl FollowsPool {
    /// The one that all share.
    pub(crate) fn share(&self, follows: Follows) -> Arc<Follows> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = Arc::new(follows);
        let entry = Entry { hash: pool.keys.hash_one(&*follows), follows: Arc::downgrade(&follows) };
        if let Some(shared) = pool.entries.get(&entry).and_then(|entry| entry.follows.upgrade()) {
            return shared;
        }
        if pool.entries.len() >= pool.tidy_at.max(TIDY_MIN) {
            pool.entries.retain(|entry| entry.follows.strong_count() > 0);
            pool.entries.shrink_to(TIDY_MIN);
            pool.tidy_at = pool.entries.len() * 2;
        }
        pool.entries.insert(entry);
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::follows::Since;

    fn follows(name: &str) -> Follows {
        Follows::new(vec![(ChannelName::new(name).unwrap(), Since::Now)], vec![])
    }

    #[test]
    fn what_is_the_same_is_held_once_and_let_go_in_time() {
        let pool = FollowsPool::default();
        let first = pool.share(follows("a"));
        assert!(Arc::ptr_eq(&first, &pool.share(follows("a"))));
        assert!(!Arc::ptr_eq(&first, &pool.share(follows("b"))));
        for n in 0..10 * TIDY_MIN {
            drop(pool.share(follows(&n.to_string())));
        }
        assert!(pool.0.lock().unwrap().entries.len() <= TIDY_MIN);
        assert!(Arc::ptr_eq(&first, &pool.share(follows("a"))));
    }
}
