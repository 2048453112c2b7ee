//! Gathering: what live streams get of channels whose rule has a flush interval leaves when that is over, in one write.
//!
//! A stream that gathers has its place in the window, before what it gathers, as one that is behind; only that its shard
//! keeps in order what it is to get, so that nobody has to look for it. Whoever needs the stream meanwhile may let go of
//! that: the stream then goes on from its place, and loses nothing. It counts neither as behind nor as slow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shard;
use super::pass::{Framed, NO_RUN, Passed, RunKey};
use super::streams::Gone;
use crate::index::StreamKey;
use crate::limits::GATHERED_BYTES_MAX;
use crate::portion::{Mark, Portion};
use crate::stats::{CloseReason, bump};

/// How exact ends of intervals are. They are rounded up, so that streams which began to gather at about the same time are
/// written to together.
const TICK: Duration = Duration::from_millis(10);

/// What some streams have gathered: of one pass, behind what they had gathered before. Streams that gather the same share
/// it.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Tells it from all others of its shard.
    number: u64,
    before: Option<Arc<Gathered>>,
    frames: Box<[Framed]>,
    /// About how much all of it weighs.
    bytes: usize,
    /// When it leaves.
    due: Duration,
}

impl Gathered {
    /// Puts all of it together, oldest first.
    pub(super) fn put_together(&self, portion: &mut Portion) {
        let mut chain = Vec::new();
        let mut next = Some(self);
        while let Some(gathered) = next {
            chain.push(gathered);
            next = gathered.before.as_deref();
        }
        chain.iter().rev().flat_map(|gathered| &gathered.frames).for_each(|frame| frame.push(portion));
    }

    /// Tells it from all others of its shard.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Gathered {
    /// One after the other: a chain may be long, and a stack is not.
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(gathered) = next {
            next = Arc::into_inner(gathered).and_then(|mut gathered| gathered.before.take());
        }
    }
}

/// What a shard knows of its streams that gather.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Who is written to when, if it still gathers then.
    due: BTreeMap<Duration, Vec<StreamKey>>,
    /// Counts what was gathered.
    count: u64,
    /// What was gathered last in the pass under way, and of what: the run, and the number of what was there before.
    last: Option<(RunKey, u64, Arc<Gathered>)>,
}

impl Gathering {
    /// When the next ones are written to.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first_key_value().map(|(due, _)| *due)
    }

    /// A pass is over: its runs mean nothing any more.
    pub(super) fn end_pass(&mut self) {
        self.last = None;
    }

    /// What streams have that had `before` and get this run, whose interval is `flush`.
    fn link(
        &mut self,
        before: Option<Arc<Gathered>>,
        run: RunKey,
        frames: impl FnOnce() -> Box<[Framed]>,
        (now, flush): (Duration, Duration),
    ) -> Arc<Gathered> {
        let number = before.as_ref().map_or(0, |before| before.number);
        if let Some((of_run, of, gathered)) = &self.last
            && (*of_run, *of) == (run, number)
        {
            return gathered.clone();
        }
        self.count += 1;
        let frames = frames();
        let (bytes, due) = before.as_ref().map_or((0, Duration::MAX), |before| (before.bytes, before.due));
        let bytes = bytes + frames.iter().map(Framed::weight).sum::<usize>();
        let end = if bytes > GATHERED_BYTES_MAX { now } else { rounded_up(now + flush) };
        let gathered = Arc::new(Gathered { number: self.count, before, frames, bytes, due: due.min(end) });
        self.last = Some((run, number, gathered.clone()));
        gathered
    }
}

fn rounded_up(time: Duration) -> Duration {
    TICK * u32::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
}

impl Shard {
    /// Sends a live stream what it gets from a pass, or has it gather that. The portion holds the run `together`.
    pub(super) fn deliver(
        &mut self,
        key: StreamKey,
        passed: &Passed<'_>,
        together: &mut RunKey,
        now: Duration,
    ) -> Result<(), Gone> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let run = std::mem::replace(&mut stream.run, NO_RUN);
        if let Some(flush) = self.pass.flush_of(run) {
            self.gather(key, run, flush, passed, now);
            return Ok(());
        }
        self.give_way.wrote();
        let gathered = stream.gathered.take();
        if gathered.is_some() || run != *together {
            self.portion.clear();
            if let Some(gathered) = &gathered {
                gathered.put_together(&mut self.portion);
            }
            self.pass.put_together(run, passed, &mut self.portion);
            *together = if gathered.is_some() { NO_RUN } else { run };
        }
        self.write_all(key, now)?;
        if gathered.is_some() {
            self.ask_for_end(key);
        }
        Ok(())
    }

    /// Has a stream gather what it gets from a pass, for `flush` at most.
    pub(super) fn gather(&mut self, key: StreamKey, run: RunKey, flush: Duration, passed: &Passed<'_>, now: Duration) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let before = stream.gathered.take();
        let due_before = before.as_ref().map(|before| before.due);
        if before.is_none() {
            stream.subscription.fall_behind(Mark { next: passed.slot, sent: passed.position });
        }
        let frames = || self.pass.frames(run, passed);
        let gathered = self.gathering.link(before, run, frames, (now, flush));
        if due_before.is_none_or(|before| gathered.due < before) {
            self.gathering.due.entry(gathered.due).or_default().push(key);
        }
        stream.gathered = Some(gathered);
    }

    /// Writes to the streams whose interval is over.
    pub(crate) fn flush(&mut self, now: Duration) {
        let mut together = None;
        let mut flushed = 0;
        while let Some(due) = self.gathering.next().filter(|due| *due <= now) {
            for key in self.gathering.due.remove(&due).unwrap_or_default() {
                let Some(stream) = self.streams.get_mut(key) else { continue };
                let Some(gathered) = stream.gathered.take_if(|gathered| gathered.due <= now) else { continue };
                self.give_way.wrote();
                flushed += 1;
                if together.replace(gathered.number) != Some(gathered.number) {
                    self.portion.clear();
                    gathered.put_together(&mut self.portion);
                }
                match self.write_all(key, now) {
                    Ok(()) => self.ask_for_end(key),
                    Err(Gone) => self.close(key, CloseReason::Left),
                }
            }
        }
        if flushed > 0 {
            self.counters.flushed.fetch_add(flushed, Ordering::Relaxed);
        }
    }

    /// Writes the portion, which is all that a stream has yet to get: it is where its shard is, if there is room for it.
    pub(super) fn write_all(&mut self, key: StreamKey, now: Duration) -> Result<(), Gone> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.send(&self.portion, now)? {
            stream.subscription.was_sent(&self.portion, self.log.position);
        } else {
            bump(&self.counters.fell_behind);
            stream.count_behind(&self.counters, true);
        }
        Ok(())
    }

    /// Writes what a stream has gathered, which is about to end.
    pub(super) fn flush_last(&mut self, key: StreamKey) {
        let Some(gathered) = self.streams.get_mut(key).and_then(|stream| stream.gathered.take()) else { return };
        self.portion.clear();
        gathered.put_together(&mut self.portion);
        // Whether anybody is there shows when it is closed.
        let _ = self.write_all(key, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::beginning::LastEventId;
    use crate::channel::ChannelName;
    use crate::clock::{Clock, ManualClock};
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::follows::{Follows, Since};
    use crate::mailbox::{BodyInlet, mailbox};
    use crate::outlet::Outlet;
    use crate::pattern::Pattern;
    use crate::remembered::Remembered;
    use crate::rule::{Rule, Rules};
    use crate::shard::{Opening, ShardSettings};
    use crate::space::Space;
    use crate::stats::Counters;
    use crate::store::memory::MemoryStore;
    use crate::stream_id::StreamId;
    use crate::subscription::{Style, Subscription};
    use crate::writer::{Group, Writer, WriterParts};

    /// A shard with streams, of a log whose channels `f*` gather for 100 ms.
    struct Scene {
        writer: Writer,
        shard: Shard,
        clock: Arc<ManualClock>,
        inlets: Vec<BodyInlet>,
        /// What each stream was sent and is no whole block yet.
        begun: Vec<String>,
    }

    impl Scene {
        fn of_streams(count: usize) -> Self {
            let store = Arc::new(MemoryStore::default());
            let clock = Arc::new(ManualClock::at(1_000));
            let flush = Duration::from_millis(100);
            let writer = Writer::open(WriterParts {
                store: store.clone(),
                rules: Arc::new(Rules::new(vec![Rule { flush, ..Rule::new(Pattern::new("f*").unwrap()) }])),
                clock: clock.clone(),
                random: Box::new(|| 7),
                window_bytes: 1 << 20,
                channels_max: 6,
                cursor_age_max: Duration::from_hours(1),
                space: Arc::new(Space::open(store, None, None).unwrap()),
            })
            .unwrap();
            let second = Duration::from_secs(1);
            let settings = ShardSettings {
                stall_max: second * 30,
                rate_min: 0,
                slow_max: second * 60,
                age_max: None,
                retry: (second, second),
                bye_retry: (second, second),
            };
            let (window, epochs) = (writer.window.clone(), writer.epochs.clone());
            let counted = (Arc::<Counters>::default(), writer.endings.clone());
            let remembered = Arc::new(Remembered::new(clock.clone(), Arc::default()));
            let mut shard =
                Shard::new(window, epochs, counted, (0, remembered), settings, Box::new(|| 0.5), clock.elapsed());
            let follows = ["f", "a"].map(|name| (ChannelName::new(name).unwrap(), Since::Now));
            let follows = Arc::new(Follows::new(follows.to_vec(), vec![]));
            let mut inlets = Vec::new();
            for number in 0..count {
                let (form, hello, beat) = Default::default();
                let style = Style { stream: StreamId(number as u128), form, hello, beat, heartbeat_ms: 60_000 };
                let (outlet, inlet) = mailbox();
                let (head, slot) = writer.window.head();
                let subscription = Subscription::new(follows.clone(), style, slot, b":\n");
                let outlet = Outlet::Body(outlet);
                shard.open(
                    Opening {
                        subscription,
                        outlet,
                        last: LastEventId::None,
                        resumed: None,
                        head,
                        place: None,
                        is_now: true,
                    },
                    clock.elapsed(),
                );
                inlets.push(inlet);
            }
            let mut scene = Self { writer, shard, clock, inlets, begun: vec![String::new(); count] };
            // Until everyone is greeted and live.
            for _ in 0..10 {
                (0..count).for_each(|stream| drop(scene.take(stream)));
                scene.shard.turn(scene.clock.elapsed());
            }
            scene
        }

        fn publish(&mut self, channel: &str, data: &str) {
            let channels = vec![ChannelName::new(channel).unwrap()];
            let draft = Draft::new(channels, Event::text(data.to_owned()), Publisher::Anyone).unwrap();
            self.writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
            self.shard.pass(self.clock.elapsed());
        }

        /// So long passes, as far as intervals are concerned.
        fn wait(&mut self, ms: u64) {
            self.clock.advance(Duration::from_millis(ms));
            self.shard.flush(self.clock.elapsed());
        }

        /// The data that a stream was sent since this was asked last.
        fn take(&mut self, stream: usize) -> Vec<String> {
            match self.inlets[stream].poll_take(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(taken)) => {
                    if taken.tell_room {
                        self.shard.ready(self.shard.streams.keys()[stream]);
                    }
                    let begun = &mut self.begun[stream];
                    begun.push_str(std::str::from_utf8(&taken.bytes).unwrap());
                    let whole = begun.rfind("\n\n").map_or(0, |end| end + 2);
                    let text: String = begun.drain(..whole).collect();
                    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
                }
                Poll::Ready(None) => panic!("the stream goes on"),
                Poll::Pending => Vec::new(),
            }
        }
    }

    #[test]
    fn what_comes_within_an_interval_leaves_in_one_write() {
        let mut scene = Scene::of_streams(2);
        let (mut writes, mut heard) = ([0; 2], [Vec::new(), Vec::new()]);
        // Three to an interval: a mailbox of these tests holds no more.
        for n in 0..240 {
            scene.publish("f", &n.to_string());
            scene.wait(40);
            // A write can't hide behind another one: each is taken before the next.
            for stream in 0..2 {
                let taken = scene.take(stream);
                writes[stream] += usize::from(!taken.is_empty());
                heard[stream].extend(taken);
            }
        }
        let all: Vec<String> = (0..240).map(|n| n.to_string()).collect();
        assert_eq!(heard, [all.clone(), all], "all of it, in order");
        assert_eq!(writes, [80; 2]);
        assert_eq!(scene.shard.counters.flushed.load(Ordering::Relaxed), 160);
        assert_eq!(scene.shard.counters.fell_behind.load(Ordering::Relaxed), 0, "nobody is behind");
    }

    #[test]
    fn an_event_that_is_not_to_wait_takes_what_is_gathered_along() {
        let mut scene = Scene::of_streams(1);
        scene.publish("f", "1");
        scene.wait(10);
        assert!(scene.take(0).is_empty());
        scene.publish("a", "2");
        assert_eq!(scene.take(0), ["1", "2"]);
        scene.publish("f", "3");
        scene.wait(90);
        assert!(scene.take(0).is_empty(), "a new interval, whatever is left of the old one");
        scene.wait(30);
        assert_eq!(scene.take(0), ["3"]);
    }

    #[test]
    fn who_is_needed_meanwhile_or_ends_loses_nothing() {
        let mut scene = Scene::of_streams(2);
        let keys = scene.shard.streams.keys();
        scene.publish("f", "1");
        scene.shard.pump(keys[0], scene.clock.elapsed());
        assert_eq!(scene.take(0), ["1"], "it goes on from its place");
        scene.publish("f", "2");
        scene.shard.drain(scene.clock.elapsed(), Duration::ZERO);
        assert_eq!(scene.take(0)[0], "2");
        assert_eq!(scene.take(1)[..2], ["1", "2"]);
    }

    #[test]
    fn what_is_gathered_is_bounded_and_a_reader_that_is_full_gets_the_rest_later() {
        let mut scene = Scene::of_streams(1);
        let mut heard = Vec::new();
        for n in 0..50 {
            scene.publish("f", &format!("{n:0>40}"));
            scene.shard.flush(scene.clock.elapsed());
        }
        heard.extend(scene.take(0));
        assert!(!heard.is_empty(), "though no interval was over");
        for _ in 0..100 {
            let now = scene.clock.elapsed();
            scene.shard.turn(now);
            scene.wait(100);
            heard.extend(scene.take(0));
        }
        let all: Vec<String> = (0..50).map(|n| format!("{n:0>40}")).collect();
        assert_eq!(heard, all);
    }
}
