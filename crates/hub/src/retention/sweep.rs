//! What the writer does about once a second: looks at what is due, trims, and takes along what no publish took.

use std::ops::Bound;

use crate::channel::ChannelName;
use crate::keys::Held;
use crate::limits::{SWEEP_ENTRIES_MAX, WINDOW_AGE_MAX};
use crate::log::directory::{ChannelRow, Kind};
use crate::log::idempotency::{Published, readable};
use crate::retention::due::Due;
use crate::retention::pace::Pace;
use crate::retention::{entries_after, is_over};
use crate::rule::WhenFull;
use crate::store::tier::Tier;
use crate::store::{Batch, Order, Persist, StoreError, Table};
use crate::writer::{Commit, State, Writer};

impl Writer {
    /// Whether floors wait to be moved or made durable, or entries to be removed. The next commits take them along; on an idle hub
    /// sweeps do.
    pub(crate) fn has_removals(&self) -> bool {
        self.state == State::Open && (self.retention.has_work() || self.oldest_wanted() > 0)
    }

    /// Looks at what is due, trims, and makes floors durable that no publish took along. To be called about once a
    /// second. Returns whether more is due already.
    pub(crate) fn sweep(&mut self) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.try_sweep().unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    fn try_sweep(&mut self) -> Result<bool, StoreError> {
        // A store whose own work failed in the background takes nothing any more, which is better known before somebody
        // publishes.
        self.tiers.durable.commit(Batch::default(), Persist::Later)?;
        self.directory.make_room();
        self.mark_head();
        let now_ms = self.now_ms();
        // Nothing is due before this from now on, even if the clock goes back.
        self.time_ms = now_ms;
        self.evenness.look(&*self.clock);
        self.window.forget_before(now_ms.saturating_sub(WINDOW_AGE_MAX.as_millis() as u64));
        let mut commit = self.empty_commit();
        if self.horizon.mark(now_ms, self.last, &*self.tiers.durable, commit.batch(Tier::Durable))? {
            commit.synced = true;
        }
        self.learn_rules();
        let mut more = self.take_due(Tier::Memory, now_ms, &mut commit)?;
        if !self.space.is_scarce() {
            more |= self.review.step(now_ms, &self.rules, &mut commit.batches, &self.tiers)?;
            more |= self.take_due(Tier::Durable, now_ms, &mut commit)?;
        }
        self.trim(Pace::AT_REST)?;
        self.condemn_oldest(Pace::AT_REST)?;
        commit.synced |= self.retention.has_floors();
        self.commit(commit)?;
        Ok(more)
    }

    /// Gives channels in use their new rules, and begins a review of the others, if the rules were changed.
    fn learn_rules(&mut self) {
        if !self.review.begin(&self.rules, self.directory.next_id()) {
            return;
        }
        for (name, channel) in self.directory.in_use() {
            channel.rule = self.rules.of(name);
            if Tier::ALL.into_iter().any(|tier| is_over(channel, tier)) {
                self.retention.enqueue(name, channel);
            }
        }
    }

    /// Takes up what is due in one tier. Returns whether there is more.
    fn take_due(&mut self, tier: Tier, now_ms: u64, commit: &mut Commit) -> Result<bool, StoreError> {
        let tiers = self.tiers.clone();
        // What was due before is gone; its keys lie at the table's front until they are compacted.
        let from_ms = *tier.of_pair(&mut self.swept_ms);
        let range = (Bound::Included(from_ms.to_be_bytes().to_vec()), Bound::Unbounded);
        let mut scan = tiers.scan(tier, Table::Due, range, Order::Ascending);
        for _ in 0..SWEEP_ENTRIES_MAX {
            let next = scan.next().transpose()?;
            let Some((key, _)) = next.filter(|(key, _)| Due::decode(key).is_none_or(|(at_ms, _)| at_ms <= now_ms))
            else {
                *tier.of_pair(&mut self.swept_ms) = now_ms;
                return Ok(false);
            };
            let due = Due::decode(&key);
            if let Some((at_ms, _)) = due {
                *tier.of_pair(&mut self.swept_ms) = at_ms;
            }
            match due {
                Some((_, Due::Event(position))) => self.expire(position, tier, commit)?,
                Some((_, Due::Idempotency(of))) => {
                    // The key may have been used again since, and then counts for longer.
                    let published = readable(tiers.store(tier).get(Table::Idempotency, &of), &of, &tiers)?;
                    if published.is_some_and(|value| Published::is_over(&value, now_ms)) {
                        commit.batch(tier).remove(Table::Idempotency, of);
                        self.retention.count_row(tier);
                    }
                }
                Some((at_ms, Due::Silence(name))) => match self.look_for_silence(&name, tier, at_ms, commit) {
                    // What can't be read can't be ended.
                    Err(error) if error.is_damage() => {}
                    looked => looked?,
                },
                Some((_, Due::Channel(name))) => match self.look_at(&name, tier, now_ms, commit) {
                    // Its row is damaged, so it stays as it is.
                    Err(error) if error.is_damage() => {
                        tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                    }
                    looked => looked?,
                },
                None => {}
            }
            commit.batch(tier).remove(Table::Due, key);
            self.retention.count_row(tier);
        }
        Ok(true)
    }

    /// Looks at a channel whose oldest event may be too old, and has it looked at again when that may be so next.
    fn look_at(&mut self, name: &ChannelName, tier: Tier, now_ms: u64, commit: &mut Commit) -> Result<(), StoreError> {
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        if let Some(at_ms) = channel.is_unwatched(name, now_ms) {
            Due::Silence(name.clone()).put(at_ms, commit.batch(tier));
        }
        let age_max = channel.rule.history.age_max.as_millis() as u64;
        let oldest = entries_after(channel.row.id, channel.clean, tier, &self.tiers).next();
        let mut empty_ms = now_ms.saturating_add(self.horizon.kept_for().as_millis() as u64 / 8);
        let drops_oldest = channel.row.kind == Kind::Keys && channel.rule.when_full == WhenFull::DropOldest;
        if drops_oldest {
            // What comes next is younger than this.
            empty_ms = empty_ms.min(now_ms.saturating_add(age_max));
        }
        let oldest = oldest.transpose()?;
        let batch = commit.batch(tier);
        let again_ms = match oldest {
            // Old messages go, and those that are too many since the rule is stricter.
            Some(_) if drops_oldest => {
                let next_ms = self.drop_aged(name, now_ms, commit)?.unwrap_or(empty_ms);
                if self.drop_surplus(name, commit)? { now_ms + 1 } else { next_ms }
            }
            // Values stay however old they become; they may all be deleted one day.
            Some(_) if channel.row.kind == Kind::Keys => empty_ms,
            Some((_, oldest)) if oldest.time_ms.saturating_add(age_max) > now_ms && !is_over(channel, tier) => {
                oldest.time_ms + age_max
            }
            Some(_) => {
                self.retention.enqueue(name, channel);
                now_ms + 1
            }
            // Empty. Once nobody can be from before its floor moved, nobody needs to know of it any more.
            None if channel.is_settled() && channel.row.newest() <= self.horizon.forgotten() => {
                ChannelRow::remove(name, batch);
                batch.remove(Table::Keys, Held::key(channel.row.id));
                channel.tally(tier).clear();
                if !channel.tallies.iter().any(|tally| tally.has_row) {
                    channel.row = channel.row.forgotten();
                }
                return Ok(());
            }
            None => empty_ms,
        };
        Due::Channel(name.clone()).put(again_ms.max(now_ms + 1), commit.batch(tier));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::channel::ChannelName;
    use crate::clock::ManualClock;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::follows::{Follows, Since};
    use crate::history::catchup::{Catchup, Gap, GapScope};
    use crate::limits::DISK_RESERVE_BYTES_MIN;
    use crate::pattern::Pattern;
    use crate::position::Position;
    use crate::rule::{HistoryLimits, Rule, Rules};
    use crate::space::Space;
    use crate::store::memory::MemoryStore;
    use crate::store::{Order, Store, Table, keys_with_prefix};
    use crate::window::notice::GapReason;
    use crate::writer::{Group, Writer, WriterParts};

    #[test]
    fn what_is_due_on_disk_waits_while_half_of_the_reserve_is_gone() {
        let store = Arc::new(MemoryStore::default());
        store.limit_room(Some(10 * DISK_RESERVE_BYTES_MIN));
        let space = Arc::new(Space::open(store.clone(), Some(DISK_RESERVE_BYTES_MIN), None).unwrap());
        let clock = Arc::new(ManualClock::at(1_000_000));
        let mut writer = Writer::open(WriterParts {
            space: space.clone(),
            store: store.clone(),
            rules: Arc::new(Rules::default()),
            clock: clock.clone(),
            random: Box::new(|| 7),
            window_bytes: 0,
            channels_max: 3,
            cursor_age_max: crate::limits::CURSOR_AGE_MAX,
        })
        .unwrap();
        let event = Event::text("x").ttl(Duration::from_secs(1));
        let draft = Draft::new(vec![ChannelName::new("c").unwrap()], event, Publisher::Anyone).unwrap();
        assert!(writer.append(vec![Group { drafts: vec![draft], atomic: false }])[0][0].is_ok());
        clock.advance(Duration::from_secs(2));
        for (free, kept) in [(DISK_RESERVE_BYTES_MIN / 2 - 1, 1), (DISK_RESERVE_BYTES_MIN, 0)] {
            store.limit_room(Some(free));
            space.look();
            while writer.sweep() || writer.has_removals() {}
            assert_eq!(store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending).count(), kept, "{free} free");
        }
    }

    #[test]
    fn a_channel_is_not_forgotten_while_a_backfill_may_ask_for_old_events_that_were_removed_lately() {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::at(1_000_000));
        let name = ChannelName::new("c").unwrap();
        let limits = HistoryLimits { age_max: Duration::from_secs(1_000), ..HistoryLimits::default() };
        let mut writer = Writer::open(WriterParts {
            space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
            store: store.clone(),
            rules: Arc::new(Rules::new(vec![Rule::new(Pattern::new("c").unwrap()).history(limits)])),
            clock: clock.clone(),
            random: Box::new(|| 7),
            window_bytes: 0,
            channels_max: 3,
            cursor_age_max: Duration::from_secs(400),
        })
        .unwrap();
        let history = writer.history();
        let draft = Draft::new(vec![name.clone()], Event::text("x"), Publisher::Anyone).unwrap();
        let outcome = writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
        let position = outcome[0][0].as_ref().unwrap().position.unwrap();
        let mut wait = |all: &[u64]| {
            for seconds in all {
                clock.advance(Duration::from_secs(*seconds));
                while writer.sweep() || writer.has_removals() {}
            }
        };
        wait(&[0, 500]);
        assert!(history.horizon.position() >= position, "the event is older than cursors may be");
        let follows = Arc::new(Follows::new(vec![(name.clone(), Since::Start)], Vec::new()));
        let (head, _) = history.window.head();
        let mut catchup = Catchup::backfill(&history, follows, (head, Position::ORIGIN), Some(Since::Start)).unwrap();
        wait(&[501, 1, 60]);
        let page = catchup.page(&history, head).unwrap();
        let gap = Gap {
            scope: GapScope::Channel(name.clone()),
            reason: GapReason::Trimmed,
            from: Some(Position::ORIGIN),
            to: position,
        };
        assert_eq!((page.gaps, page.entries.len()), (vec![gap], 0));
        wait(&[400]);
        let known = history.row(&name).unwrap();
        assert!(known.ids[0].is_some() && known.row.moved <= history.horizon.position(), "some may be reading still");
        wait(&[400]);
        assert_eq!(history.row(&name).unwrap().ids, [None, None], "in the end it is forgotten");
    }
}
