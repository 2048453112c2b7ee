//! A pass over what is new in the window: which live streams get which entries. Streams that get the same share one *run*,
//! whose bytes are put together once.
//!
//! Entries of one channel, for the same streams, that follow each other are a *group*: its followers are looked up once.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use crate::audience::is_everyone;
use crate::index::followers::{Followers, KeyHasher};
use crate::index::{Index, StreamKey};
use crate::position::Position;
use crate::shard::portion::{Mark, Portion};
use crate::window::entry::Entry;
use crate::window::frame::Form;
use std::time::Duration;

use super::streams::{Stream, Streams};

/// A run within its pass.
pub(super) type RunKey = u32;

/// The run of a stream that gets nothing yet.
pub(super) const NO_RUN: RunKey = RunKey::MAX;

/// Runs, and streams, for which a pass keeps its memory.
const KEPT_MAX: usize = 16 * 1024;

/// What some streams get from a pass: what another run has, and a group's entries, or some of them.
#[derive(Debug)]
struct Run {
    from: RunKey,
    entries: Range<usize>,
    /// The place, in the entries' records, of the channel by which they are followed.
    channel: usize,
    form: Form,
    /// How long all of it may be gathered, in milliseconds; 0 where some of it leaves at once.
    flush_ms: u32,
}

/// What is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed<'a> {
    pub(super) entries: &'a [Arc<Entry>],
    /// The slot of the first of them.
    pub(super) slot: u64,
    /// The position of what came before.
    pub(super) position: Position,
}

/// An entry as some streams get it.
#[derive(Debug)]
pub(super) struct Framed {
    entry: Arc<Entry>,
    channel: usize,
    form: Form,
    mark: Mark,
}

impl Framed {
    /// Adds its frame, unless nobody gets it any more.
    pub(super) fn push(&self, portion: &mut Portion, time_ms: u64) {
        push(&self.entry, self.channel, self.form, self.mark, (portion, time_ms));
    }

    /// About how many bytes its frame has.
    pub(super) fn weight(&self) -> usize {
        self.entry.record.data.len() + 128
    }
}

/// Adds an entry's frame, unless nobody gets it any more: what was deleted before it was passed on, or is out of time, is
/// nobody's.
fn push(entry: &Entry, channel: usize, form: Form, mark: Mark, (portion, time_ms): (&mut Portion, u64)) {
    if !entry.is_gone(time_ms) {
        portion.push_frame(&entry.frame(form, channel).bytes, mark, entry.id().is_some());
    }
}

/// A pass under way. Kept between passes for its memory.
#[derive(Debug, Default)]
pub(super) struct Pass {
    runs: Vec<Run>,
    /// Of the group under way: what a stream has and by which channel and in which form it gets the group → its run then.
    steps: HashMap<u64, RunKey, BuildHasherDefault<KeyHasher>>,
    /// The last of them: streams with the same history in this pass mostly come one after the other.
    last_step: Option<(u64, RunKey)>,
    /// The streams that get something.
    touched: Vec<StreamKey>,
    /// The runs of a chain, while they are put together.
    chain: Vec<RunKey>,
}

impl Pass {
    /// Finds out who gets what of `entries`, the first of which is at `slot`.
    pub(super) fn offer(&mut self, index: &Index, streams: &mut Streams, slot: u64, entries: &[Arc<Entry>]) {
        let mut begin = 0;
        for group in entries.chunk_by(|a, b| a.is_for_the_same(b)) {
            self.offer_group(index, streams, slot, (begin, group));
            begin += group.len();
        }
    }

    /// The same of a group, which begins at this place among what is passed over. Which of it is withdrawn may change at any
    /// time, and is asked of each entry when it is put together.
    pub(super) fn offer_group(
        &mut self,
        index: &Index,
        streams: &mut Streams,
        slot: u64,
        (begin, group): (usize, &[Arc<Entry>]),
    ) {
        let Some(first) = group.first() else { return };
        let range = begin..begin + group.len();
        self.steps.clear();
        self.last_step = None;
        let group_slot = slot + range.start as u64;
        let is_for_all = first.is_for_all();
        for (channel, name) in first.record.channels.iter().enumerate() {
            let everyone = if is_everyone(name) { streams.hearing_everyone() } else { Vec::new() };
            for key in index.followers(name).flat_map(Followers::iter).chain(everyone) {
                let Some(stream) = streams.get_mut(key) else { continue };
                if !is_for_all && !stream.subscription.is_for(first) {
                    continue;
                }
                // What follows several of the event's channels gets it once.
                if !(stream.subscription.is_live() || stream.gathered.is_some())
                    || std::mem::replace(&mut stream.offered, group_slot + 1) > group_slot
                {
                    continue;
                }
                let before = stream.run;
                let form = stream.subscription.form();
                if stream.subscription.was_there(group_slot) {
                    stream.run = self.step(stream.run, &range, channel, form, first.flush_ms);
                } else {
                    for (at, entry) in range.clone().zip(group) {
                        if entry.id().is_some() || stream.subscription.was_there(slot + at as u64) {
                            stream.run = self.new_run(stream.run, at..at + 1, channel, form, first.flush_ms);
                        }
                    }
                }
                if before == NO_RUN && stream.run != NO_RUN {
                    self.touched.push(key);
                }
            }
        }
    }

    /// The run of streams that have `from` and get the whole group.
    fn step(&mut self, from: RunKey, entries: &Range<usize>, channel: usize, form: Form, flush_ms: u32) -> RunKey {
        let step = u64::from(from) << 32 | (channel as u64) << 1 | u64::from(form == Form::Json);
        if let Some((_, run)) = self.last_step.filter(|(last, _)| *last == step) {
            return run;
        }
        let run = match self.steps.get(&step).copied() {
            Some(run) => run,
            None => self.new_run(from, entries.clone(), channel, form, flush_ms),
        };
        self.steps.insert(step, run);
        self.last_step = Some((step, run));
        run
    }

    fn new_run(&mut self, from: RunKey, entries: Range<usize>, channel: usize, form: Form, flush_ms: u32) -> RunKey {
        let flush_ms = self.runs.get(from as usize).map_or(flush_ms, |before| before.flush_ms.min(flush_ms));
        self.runs.push(Run { from, entries, channel, form, flush_ms });
        (self.runs.len() - 1) as RunKey
    }

    /// How long a run may be gathered, if at all.
    pub(super) fn flush_of(&self, run: RunKey) -> Option<Duration> {
        let flush_ms = self.runs.get(run as usize)?.flush_ms;
        (flush_ms > 0).then(|| Duration::from_millis(flush_ms.into()))
    }

    /// The streams that get something, those of one run behind each other, and among them those that gathered the same.
    pub(super) fn take_touched(&mut self, streams: &mut Streams) -> Vec<StreamKey> {
        let mut touched = std::mem::take(&mut self.touched);
        if self.runs.iter().any(|run| run.flush_ms > 0) {
            let number = |stream: &Stream| stream.gathered.as_ref().map_or(0, |gathered| gathered.number());
            let of = |key: &StreamKey| streams.get_mut(*key).map(|stream| (stream.run, number(stream)));
            touched.sort_by_cached_key(of);
        } else {
            touched.sort_by_cached_key(|key| streams.get_mut(*key).map_or(NO_RUN, |stream| stream.run));
        }
        touched
    }

    /// Puts a run's bytes together, behind what the portion has.
    pub(super) fn put_together(&mut self, run: RunKey, passed: &Passed<'_>, portion: &mut Portion, time_ms: u64) {
        self.each(run, passed, |entry, channel, form, mark| push(entry, channel, form, mark, (portion, time_ms)));
    }

    /// A run's frames, to be put together later.
    pub(super) fn frames(&mut self, run: RunKey, passed: &Passed<'_>) -> Box<[Framed]> {
        let mut frames = Vec::new();
        self.each(run, passed, |entry, channel, form, mark| {
            frames.push(Framed { entry: entry.clone(), channel, form, mark });
        });
        frames.into()
    }

    /// Goes through a run: each entry, the channel by which it is followed, its form, and where a stream stands behind it.
    fn each(&mut self, run: RunKey, passed: &Passed<'_>, mut take: impl FnMut(&Arc<Entry>, usize, Form, Mark)) {
        let Passed { entries, slot, position } = *passed;
        self.chain.clear();
        let mut next = run;
        while let Some(run) = self.runs.get(next as usize) {
            self.chain.push(next);
            next = run.from;
        }
        let mut sent = position;
        for run in self.chain.iter().rev().filter_map(|run| self.runs.get(*run as usize)) {
            let group = entries.get(run.entries.clone()).unwrap_or_default();
            for (at, entry) in run.entries.clone().zip(group) {
                sent = sent.max(entry.position);
                let mark = Mark { next: slot + at as u64 + 1, sent };
                take(entry, run.channel, run.form, mark);
            }
        }
    }

    /// Forgets all of it, and keeps some memory for the next.
    pub(super) fn end(&mut self, mut touched: Vec<StreamKey>) {
        touched.clear();
        touched.shrink_to(KEPT_MAX);
        self.touched = touched;
        self.runs.clear();
        self.runs.shrink_to(KEPT_MAX);
        self.steps.clear();
        self.steps.shrink_to(KEPT_MAX);
    }
}
