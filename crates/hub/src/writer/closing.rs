//! How the log ends in order.

use super::Writer;
use crate::directory::{ChannelRow, position_of_key};
use crate::store::{Batch, Order, Persist, Store, StoreError, Table, keys_with_prefix};
use crate::writer::{Commit, State};

impl Writer {
    /// Ends the log in order: `memory` channels get floors, so that nobody has to guess what a restart took, and the
    /// epoch is marked as closed. Nothing may be appended afterwards.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.state, State::Closed) != State::Open {
            return Ok(());
        }
        // First the floors that wait, or they would come after those made here and take them back.
        self.commit(Commit { synced: true, ..Commit::default() })?;
        let moved = self.next_position()?;
        let mut batch = Batch::default();
        for pair in self.tiers.memory.scan(Table::Channels, keys_with_prefix(b""), Order::Ascending) {
            let (key, value) = pair?;
            let Some(row) = ChannelRow::decode(&value) else { continue };
            let entries = keys_with_prefix(&row.id.to_be_bytes());
            let newest = self.tiers.memory.scan(Table::ByChannel, entries, Order::Descending).next().transpose()?;
            let newest = newest.and_then(|(key, _)| position_of_key(&key)).unwrap_or_default();
            let row = ChannelRow { floor: row.floor.max(newest), moved, ..row };
            self.floors.raise(row.floor, &mut batch);
            batch.put(Table::Channels, key, row.encode());
        }
        self.directory.store_next_id(&mut batch);
        self.tiers.durable.commit(batch, Persist::Now)?;
        self.epochs.close(&*self.tiers.durable)?;
        self.mark_head();
        Ok(())
    }
}
