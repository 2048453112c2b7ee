//! The log's one writer: gives positions, keeps the order, makes whole groups durable with one sync, releases them to the
//! window. It never waits for a reader.
//!
//! No thread and no queue here (those are [`log`](crate::log)'s), so tests and simulations drive it step by step.

use std::sync::Arc;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::clock::Clock;
use crate::damage::restore;
use crate::draft::Draft;
use crate::ending::{Deed, Endings};
use crate::history::History;
use crate::keys::HasKeys;
use crate::keys::lineage::Lineages;
use crate::limits::IDEMPOTENCY_WINDOW;
use crate::log::append_error::AppendError;
use crate::log::directory::{Directory, IndexEntry, index_key};
use crate::log::epoch::Epochs;
use crate::log::idempotency::{Published, Verdict, store_key};
use crate::log::record::Record;
use crate::log::reopening::{self, Doubtful};
use crate::position::Position;
use crate::retention::due::Due;
use crate::retention::floors::Floors;
use crate::retention::horizon::Horizon;
use crate::retention::oldest::Oldest;
use crate::retention::pace::Pace;
use crate::retention::review::Review;
use crate::retention::{Removed, Retention, is_over};
use crate::rule::{Durability, Rules};
use crate::space::{self, Space};
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Persist, Store, StoreError, Table};
use crate::window::Window;
use crate::window::entry::Entry;

mod closing;
mod commit;
pub(crate) mod damaged;
mod deeds;
mod expiring;
mod found;
mod judging;
mod keyed;
mod parts;
mod silence;

pub(crate) use self::commit::Commit;
pub(crate) use self::damaged::{LostPart, LostParts, head, lost_of, put_head};
use self::deeds::Consent;
use self::judging::Judgement;
use self::keyed::{Kept, KeyChanges, Trial};
pub(crate) use self::parts::WriterParts;
use self::silence::Evenness;

/// Drafts that are appended together, in their order.
#[derive(Debug)]
pub(crate) struct Group {
    /// What to append.
    pub(crate) drafts: Vec<Draft>,
    /// Whether one refusal refuses all.
    pub(crate) atomic: bool,
}

/// Where a draft went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its position; none if it is transient.
    pub(crate) position: Option<Position>,
    /// How it is kept.
    pub(crate) durability: Durability,
    /// Whether it had been published before.
    pub(crate) duplicate: bool,
    /// The channel's new fence, of a draft that asks for one; otherwise 0.
    pub(crate) fence: u64,
    /// The channels it went to, where its publisher named a pattern.
    pub(crate) found: Option<Vec<ChannelName>>,
}

/// What happened to the drafts of a group, in their order.
pub(crate) type Outcome = Vec<Result<Placed, AppendError>>;

/// The log's writer.
pub(crate) struct Writer {
    pub(crate) tiers: Tiers,
    pub(crate) rules: Arc<Rules>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) window: Arc<Window>,
    pub(crate) horizon: Arc<Horizon>,
    pub(crate) floors: Arc<Floors>,
    /// Whether channels have ever ended, for readers.
    pub(crate) endings: Arc<Endings>,
    /// How much room the disk has.
    pub(crate) space: Arc<Space>,
    /// What it knows of each channel.
    pub(crate) directory: Directory,
    /// What is to leave the log.
    pub(crate) retention: Retention,
    /// Which channels have yet to learn of other rules.
    pub(crate) review: Review,
    /// What came after the values that somebody holds.
    pub(crate) lineages: Arc<Lineages>,
    /// Whether there are channels with keys.
    pub(crate) has_keys: Arc<HasKeys>,
    /// What damage took of the log, for readers.
    pub(crate) lost: Arc<LostParts>,
    /// The last position of the last commit that is on disk.
    head: Position,
    /// The same, as the store was told to remember it elsewhere.
    marked: Position,
    /// What is to go when the disk limit is reached.
    pub(crate) oldest: Oldest,
    /// The last position given.
    pub(crate) last: Position,
    /// The position of the last event, which transient events after it are said to have.
    pub(crate) last_event: Position,
    /// The random part of its epoch.
    pub(crate) random: u32,
    /// Gives the random parts of further epochs.
    pub(crate) random_source: Box<dyn FnMut() -> u32 + Send>,
    /// The time of the last event, which the next one is not before.
    pub(crate) time_ms: u64,
    /// Since when the wall clock goes as the steady one does.
    pub(crate) evenness: Evenness,
    /// Per tier: up to when everything that was due has been looked at, in milliseconds since the Unix epoch.
    pub(crate) swept_ms: [u64; 2],
    /// Whether it takes anything.
    pub(crate) state: State,
    /// Whether it takes what another log kept, with deletions of values that were gone.
    pub(crate) is_import: bool,
    /// What a failed commit was to release, and to keep in memory.
    pub(crate) doubtful: Doubtful,
}

/// Whether a writer takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does.
    Open,
    /// A commit failed, and the store must be reopened first.
    Failed,
    /// Never again.
    Closed,
}

impl Writer {
    /// Opens the log in a store: begins a new epoch, durably.
    ///
    /// # Errors
    ///
    /// When the store failed or is of a newer format.
    pub(crate) fn open(mut parts: WriterParts) -> Result<Self, StoreError> {
        let opened = match Self::try_open(&mut parts) {
            // It is mended when the store is opened again.
            Err(error) if error.is_damage() => {
                parts.store.reopen()?;
                Self::try_open(&mut parts)
            }
            opened => opened,
        };
        opened.map_err(StoreError::at_opening)
    }

    fn try_open(parts: &mut WriterParts) -> Result<Self, StoreError> {
        let tiers = Tiers::new(parts.store.clone());
        restore::restore(&tiers, &mut parts.random)?;
        crate::log::format::check(&*parts.store)?;
        let now_ms = parts.clock.unix_ms();
        let epochs = Arc::new(Epochs::open(&*parts.store, now_ms, (parts.random)())?);
        let epoch = epochs.current();
        let last = Position::new(epoch.ordinal, 0);
        let floors = Arc::new(Floors::open(&*parts.store)?);
        let endings = Arc::new(Endings::open(&*parts.store)?);
        let head = damaged::head(&*parts.store)?;
        let lost_parts =
            damaged::lost(&tiers, head, Position::new(epoch.ordinal.saturating_sub(1), Position::SEQUENCE_MAX))?;
        let directory = Directory::open(&*parts.store, parts.channels_max)?;
        Ok(Self {
            lineages: Arc::default(),
            has_keys: Arc::new(HasKeys::open(&*parts.store)?),
            lost: Arc::new(LostParts::new(lost_parts)),
            head,
            marked: Position::ORIGIN,
            review: Review::open(&*parts.store, &parts.rules, directory.next_id())?,
            directory,
            horizon: Arc::new(Horizon::open(&*parts.store, now_ms, parts.cursor_age_max)?),
            time_ms: damaged::time_of_last(&tiers)?,
            evenness: Evenness::new(&*parts.clock),
            tiers,
            rules: parts.rules.clone(),
            clock: parts.clock.clone(),
            epochs,
            window: Arc::new(Window::new(last, parts.window_bytes)),
            retention: Retention::new(floors.clone()),
            oldest: Oldest::default(),
            floors,
            endings,
            space: parts.space.clone(),
            last,
            last_event: last,
            random: epoch.random,
            // Nothing can fail from here on, so it isn't asked for again.
            random_source: std::mem::replace(&mut parts.random, Box::new(|| 0)),
            swept_ms: [0; 2],
            state: State::Open,
            is_import: false,
            doubtful: Doubtful::default(),
        })
    }

    /// Appends groups with one commit and releases them. Gives an outcome for each group, in their order.
    pub(crate) fn append(&mut self, groups: Vec<Group>) -> Vec<Outcome> {
        let refusal = match self.state {
            State::Open => None,
            State::Failed => Some(AppendError::Reopening),
            State::Closed => Some(AppendError::Closed),
        };
        if let Some(refusal) = refusal {
            return groups.iter().map(|group| refuse_all(group, refusal)).collect();
        }
        let sizes: Vec<usize> = groups.iter().map(|group| group.drafts.len()).collect();
        let mut outcomes = Vec::with_capacity(sizes.len());
        if let Err(error) = self.try_append(groups, &mut outcomes) {
            self.fail(&error);
            reopening::doubt(&mut outcomes, &sizes);
        }
        outcomes
    }

    /// A commit to be filled, with as much room as there is.
    pub(crate) fn empty_commit(&self) -> Commit {
        Commit { room: self.space.room(), ..Commit::default() }
    }

    /// What was removed since this was asked last.
    pub(crate) fn take_removed(&mut self) -> Removed {
        self.retention.take_removed()
    }

    /// What reads the log that this writes.
    pub(crate) fn history(&self) -> History {
        History {
            tiers: self.tiers.clone(),
            rules: self.rules.clone(),
            epochs: self.epochs.clone(),
            window: self.window.clone(),
            horizon: self.horizon.clone(),
            lost: self.lost.clone(),
            floors: self.floors.clone(),
            endings: self.endings.clone(),
            lineages: self.lineages.clone(),
            has_keys: self.has_keys.clone(),
            clock: self.clock.clone(),
        }
    }

    fn try_append(&mut self, groups: Vec<Group>, outcomes: &mut Vec<Outcome>) -> Result<(), StoreError> {
        self.directory.make_room();
        let mut commit = self.empty_commit();
        for group in groups {
            outcomes.push(self.place_group(group, &mut commit)?);
        }
        let pace = Pace::of(&commit);
        self.commit(commit)?;
        // Floors go with the next commit, so publishers wait for no further sync.
        if let Err(error) = self.trim(pace).and_then(|()| self.condemn_oldest(pace)) {
            // What was appended is there all the same.
            self.fail(&error);
        }
        Ok(())
    }

    /// Makes a commit, releases its entries.
    pub(crate) fn commit(&mut self, mut commit: Commit) -> Result<(), StoreError> {
        self.write_held(&mut commit)?;
        let pace = Pace::of(&commit);
        let removals = self.retention.fill(&mut commit.batches, &self.tiers, pace)?;
        if commit.synced && self.retention.has_floors() {
            let moved = self.next_position()?;
            let Self { retention, directory, rules, tiers, .. } = self;
            retention.fill_floors(&mut commit.batches, moved, directory, rules, tiers)?;
        }
        let Commit { batches: [mut durable, memory], entries, keys: KeyChanges { gone, successions, .. }, .. } = commit;
        if commit.synced {
            damaged::put_head(self.last, &mut durable);
        }
        if !durable.is_empty() || commit.synced {
            let (bytes, persist) =
                (space::bytes_of(&durable), if commit.synced { Persist::Now } else { Persist::Later });
            if let Err(error) = self.tiers.durable.commit(durable, persist) {
                let head = (commit.synced && self.last > self.head).then_some(self.last);
                self.doubtful = Doubtful { head, entries, memory, gone, successions };
                return Err(error);
            }
            self.space.spend(bytes);
        }
        // Last, as it can't fail: a group is kept whole or not at all.
        self.tiers.memory.commit(memory, Persist::Later)?;
        self.retention.filled(removals);
        if commit.synced {
            self.retention.synced();
            self.head = self.last;
        }
        // Before anybody sees what came after them.
        self.lineages.succeed(successions);
        self.window.append(entries, self.last);
        Ok(())
    }

    /// Moves the floors of channels that are beyond their limits.
    pub(crate) fn trim(&mut self, pace: Pace) -> Result<(), StoreError> {
        if !self.retention.has_queue() {
            return Ok(());
        }
        let now_ms = self.now_ms();
        self.retention.step(&mut self.directory, &self.rules, &self.tiers, (now_ms, pace))
    }

    /// Now, but never before the last event.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.unix_ms().max(self.time_ms)
    }

    /// Gives the next position; begins the next epoch where this one is full.
    fn next_position(&mut self) -> Result<Position, StoreError> {
        let next = if let Some(next) = self.last.next() {
            next
        } else {
            let epoch = self.epochs.begin(&*self.tiers.durable, self.clock.unix_ms(), (self.random_source)())?;
            self.random = epoch.random;
            Position::new(epoch.ordinal, 1)
        };
        self.last = next;
        Ok(next)
    }

    /// Judges the drafts of a group, then places those that are good.
    fn place_group(&mut self, group: Group, commit: &mut Commit) -> Result<Outcome, StoreError> {
        if group.atomic {
            match self.judge_all(&group, commit)? {
                Judgement::Refused(refused, why) => {
                    let outcome = |at| if at == refused { why } else { AppendError::Batch(refused) };
                    return Ok((0..group.drafts.len()).map(|at| Err(outcome(at))).collect());
                }
                Judgement::Costs(bytes) if !commit.room.has(bytes) => {
                    self.space.refuse();
                    return Ok(refuse_all(&group, AppendError::DiskFull));
                }
                Judgement::Costs(_) => {}
            }
        }
        let mut outcome = Vec::with_capacity(group.drafts.len());
        for draft in group.drafts {
            outcome.push(self.place(draft, commit)?);
        }
        Ok(outcome)
    }

    /// Gives a draft its place in a commit.
    fn place(&mut self, mut draft: Draft, commit: &mut Commit) -> Result<Result<Placed, AppendError>, StoreError> {
        if self.is_damaged(&draft)? {
            return Ok(Err(AppendError::Damaged));
        }
        let now_ms = self.now_ms();
        let key = store_key(&draft);
        if let Some(key) = &key {
            match commit.pending.judge(key, &draft, now_ms, &self.tiers)? {
                Verdict::New => {}
                Verdict::Conflict => return Ok(Err(AppendError::Conflict)),
                Verdict::Duplicate(published) => return Ok(Ok(self.placed_before(draft, published, commit)?)),
            }
        }
        self.leave_out(&mut draft, &Trial::default())?;
        if draft.channels.is_empty() {
            return Ok(Ok(Placed::nowhere()));
        }
        if let Err(refusal) = self.admit(&draft, commit, &mut Trial::default())? {
            return Ok(Err(refusal));
        }
        self.time_ms = now_ms;
        let durability = match self.consent(&draft)? {
            Consent::Given(durability) => durability,
            Consent::Done(placed) => return Ok(Ok(placed)),
            Consent::Refused(refusal) => return Ok(Err(refusal)),
        };
        if durability == Durability::Durable && !commit.room.take(space::cost(&draft)) {
            self.space.refuse();
            return Ok(Err(AppendError::DiskFull));
        }
        if draft.deed == Deed::Fence {
            return Ok(Ok(self.give_fence(&draft, durability, commit)?));
        }
        let position = match Tier::of(durability) {
            Some(_) => Some(self.next_position()?),
            None => None,
        };
        if let Some(key) = key {
            let until_ms = now_ms.saturating_add(IDEMPOTENCY_WINDOW.as_millis() as u64);
            let published = Published::of(&draft, position, durability, until_ms);
            let Commit { batches, pending, .. } = commit;
            let batch = Tier::of(durability).unwrap_or(Tier::Memory).of_pair(batches);
            Due::Idempotency(key.clone()).put(until_ms, batch);
            pending.remember(key, published, batch);
        }
        let deed = draft.deed;
        let (except_stream, flush_ms) = (draft.except_stream, self.flush_ms(&draft)?);
        let is_message = draft.is_message;
        let found = draft.pattern.is_some().then(|| draft.channels.clone());
        let mut record = Record::of(draft, now_ms);
        if let Some(position) = position.filter(|_| is_message) {
            record.key = Some(self.epochs.cursor(position, None).to_text());
        }
        if record.is_deleted || self.is_aside(&record, deed)? {
            // Once nobody can come back from before it, nobody needs to know.
            record.expires_ms = Some(now_ms.saturating_add(self.horizon.kept_for().as_millis() as u64));
        }
        let mut lineage = None;
        if let (Some(position), Some(tier)) = (position, Tier::of(durability)) {
            commit.synced |= tier == Tier::Durable;
            self.decide_kind(&record, deed, commit)?;
            let kept = self.keep(position, tier, &record, commit.batch(tier))?;
            lineage = self.keep_value(&record, position, (tier, kept), commit)?;
            self.do_deed(deed, &record.channels, position, commit)?;
            self.hear_of(&record, commit.batch(tier))?;
        }
        self.last_event = position.unwrap_or(self.last_event);
        let is_conflated = self.is_conflated(&record);
        let entry = Entry::new(self.last_event, self.random, durability, record).except(except_stream);
        commit.entries.push(Arc::new(entry.with_lineage(lineage, is_conflated).flushed_after(flush_ms)));
        Ok(Ok(Placed { position, durability, duplicate: false, fence: 0, found }))
    }

    /// Adds a record to a tier's batch: log, index, and the rows of channels that are new there.
    fn keep(&mut self, position: Position, tier: Tier, record: &Record, batch: &mut Batch) -> Result<Kept, StoreError> {
        let bytes = record.encode(position);
        let size = bytes.len() as u64;
        let mut kept = Kept { bytes: size, puts: [batch.changes.len(); 2] };
        batch.put(Table::Log, Bytes::copy_from_slice(&position.to_key()), bytes);
        if let Some(at_ms) = record.expires_ms {
            Due::Event(position).put(at_ms, batch);
        }
        let mut is_new = false;
        for name in &record.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            let age_max = channel.rule.history.age_max.as_millis() as u64;
            let row = channel.row;
            let tally = channel.tally(tier);
            if tally.count() == 0 {
                Due::Channel(name.clone()).put(record.time_ms.saturating_add(age_max), batch);
            }
            if !std::mem::replace(&mut tally.has_row, true) {
                row.put(name, batch);
                is_new = true;
            }
            let entry = IndexEntry {
                number: tally.next_number,
                bytes_before: tally.bytes_ever,
                bytes: size,
                time_ms: record.time_ms,
                shared: record.channels.len() > 1,
                is_deleted: record.is_deleted,
            };
            tally.next_number += 1;
            tally.bytes_ever += size;
            let [_, of_index] = &mut kept.puts;
            *of_index = batch.changes.len();
            batch.put(Table::ByChannel, index_key(row.id, position), entry.encode());
            if is_over(channel, tier) {
                self.retention.enqueue(name, channel);
            }
        }
        if is_new && tier == Tier::Durable {
            self.directory.store_next_id(batch);
        }
        Ok(kept)
    }
}

/// The same refusal for each draft of a group.
fn refuse_all(group: &Group, error: AppendError) -> Outcome {
    vec![Err(error); group.drafts.len()]
}
