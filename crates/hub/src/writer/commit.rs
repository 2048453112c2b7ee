//! A commit in the making: what goes to the stores together, and what is released then.

use std::sync::Arc;

use super::keyed::KeyChanges;
use crate::log::idempotency::Pending;
use crate::space::Room;
use crate::store::Batch;
use crate::store::tier::Tier;
use crate::window::entry::Entry;

/// A commit in the making.
#[derive(Default)]
pub(crate) struct Commit {
    /// Per tier.
    pub(crate) batches: [Batch; 2],
    /// What is released when it is done.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Idempotency keys.
    pub(crate) pending: Pending,
    /// What it does to values of keys.
    pub(crate) keys: KeyChanges,
    /// Whether there is a durable event, and so a need to sync.
    pub(crate) synced: bool,
    /// What its durable events may still add to the disk.
    pub(super) room: Room,
}

impl Commit {
    pub(crate) fn batch(&mut self, tier: Tier) -> &mut Batch {
        tier.of_pair(&mut self.batches)
    }
}
