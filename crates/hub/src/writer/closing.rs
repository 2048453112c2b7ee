//! How the log ends in order.

use super::Writer;
use crate::channel::ChannelName;
use crate::limits::CLOSE_FLUSH_MAX;
use crate::log::directory::{ChannelRow, position_of_key};
use crate::retention::due::Due;
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
            let name = std::str::from_utf8(&key).ok().and_then(|name| ChannelName::new(name).ok());
            let (Some(name), Some(row)) = (name, ChannelRow::decode(&value)) else { continue };
            let entries = keys_with_prefix(&row.id.to_be_bytes());
            let newest = self.tiers.memory.scan(Table::ByChannel, entries, Order::Descending).next().transpose()?;
            let newest = newest.and_then(|(key, _)| position_of_key(&key)).unwrap_or_default();
            // Where nothing is lost the floor stays, and with it when it moved: streams that began since are owed no gap.
            let row = if newest > row.floor { ChannelRow { floor: newest, moved, ..row } } else { row };
            self.floors.raise(row.floor, &mut batch);
            if ChannelRow::read(&*self.tiers.durable, &name).is_ok_and(|row| row.is_none()) {
                // It is looked at some day, and then forgotten.
                Due::Channel(name.clone()).put(self.now_ms(), &mut batch);
            }
            row.put(&name, &mut batch);
        }
        self.directory.store_next_id(&mut batch);
        self.tiers.durable.commit(batch, Persist::Now)?;
        self.epochs.close(&*self.tiers.durable)?;
        self.mark_head();
        self.flush();
        Ok(())
    }

    /// Has the next opening read less of journals. That only saves time, so the end doesn't depend on it.
    fn flush(&self) {
        if self.space.is_scarce() {
            return;
        }
        let until = self.clock.elapsed() + CLOSE_FLUSH_MAX;
        if let Err(error) = self.tiers.durable.flush(&|| self.clock.elapsed() < until) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the next start will read more of the journal");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::pattern::Pattern;
    use crate::rule::{Durability, HistoryLimits, Rule, Rules};
    use crate::space::Space;
    use crate::store::memory::MemoryStore;
    use crate::writer::{Group, WriterParts};

    #[test]
    fn an_end_in_order_leaves_a_floor_alone_below_which_all_is_gone_already() {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::at(1_000_000));
        let limits = HistoryLimits { age_max: Duration::from_secs(10), ..HistoryLimits::default() };
        let rule = Rule::new(Pattern::new("m").unwrap()).durability(Durability::Memory).history(limits);
        let open = || {
            Writer::open(WriterParts {
                space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
                store: store.clone(),
                rules: Arc::new(Rules::new(vec![rule.clone()])),
                clock: clock.clone(),
                random: Box::new(|| 7),
                window_bytes: 0,
                channels_max: 3,
                cursor_age_max: crate::limits::CURSOR_AGE_MAX,
            })
            .unwrap()
        };
        let mut writer = open();
        let name = ChannelName::new("m").unwrap();
        let draft = Draft::new(vec![name.clone()], Event::text("x"), Publisher::Anyone).unwrap();
        let outcome = writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
        clock.advance(Duration::from_secs(11));
        while writer.sweep() || writer.has_removals() {}
        let before = writer.history().row(&name).unwrap().row;
        assert_eq!(Some(before.floor), outcome[0][0].as_ref().unwrap().position);
        writer.close().unwrap();
        assert_eq!(open().history().row(&name).unwrap().row, before);
    }
}
