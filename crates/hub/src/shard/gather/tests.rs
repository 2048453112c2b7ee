//! A shard whose streams gather, driven step by step.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::change::Change;
use crate::change::remembered::Remembered;
use crate::channel::ChannelName;
use crate::clock::{Clock, ManualClock};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::follows::{Follows, Since};
use crate::history::beginning::LastEventId;
use crate::outlet::Outlet;
use crate::outlet::mailbox::{BodyInlet, mailbox};
use crate::pattern::Pattern;
use crate::rule::{Rule, Rules};
use crate::shard::change::{Answered, Order, What};
use crate::shard::{Opening, ShardSettings};
use crate::space::Space;
use crate::stats::Counters;
use crate::store::memory::MemoryStore;
use crate::stream_id::StreamId;
use crate::subscription::{Style, Subscription};
use crate::user::UserName;
use crate::window::Slots;
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
        Self::gathering_for(Duration::from_millis(100), count, Duration::ZERO)
    }

    /// Streams with heartbeats of 3 s of a hub that has been up for so long.
    fn gathering_for(flush: Duration, count: usize, uptime: Duration) -> Self {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::at(1_000));
        clock.advance(uptime);
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
        let follows = Follows::new(follows.to_vec(), vec![]);
        let follows = Arc::new(follows.heard_by(Some(UserName::new("ada").unwrap()), true));
        let mut inlets = Vec::new();
        for number in 0..count {
            let (form, hello, beat) = Default::default();
            let style =
                Style { stream: StreamId(number as u128), form, hello, beat, heartbeat_ms: 3_000, device: None };
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
        self.append(channel, Event::text(data.to_owned()));
        self.shard.pass(self.clock.elapsed());
    }

    /// Publishes what the shard has yet to look at.
    fn append(&mut self, channel: &str, event: Event) {
        let channels = vec![ChannelName::new(channel).unwrap()];
        let draft = Draft::new(channels, event, Publisher::Anyone).unwrap();
        assert!(self.writer.append(vec![Group { drafts: vec![draft], atomic: false }])[0][0].is_ok());
    }

    /// So long passes, as far as intervals are concerned.
    fn wait(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.shard.set_time(self.clock.unix_ms());
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
fn a_value_that_is_deleted_while_it_is_passed_on_takes_no_other_along() {
    for channel in ["a", "f"] {
        let mut scene = Scene::of_streams(1);
        let value = |key: &str| Event::text(key.to_owned()).keyed(key);
        // One group, of which the writer withdraws the first once it is put together.
        let slot = scene.shard.log.slot;
        scene.append(channel, value("1"));
        scene.append(channel, value("2"));
        let Slots::Entries(group) = scene.writer.window.entries(slot, 2, 1_000) else { panic!("it is there") };
        assert!(group[0].is_for_the_same(&group[1]));
        scene.append(channel, Event::deletion("1"));
        assert!(group[0].is_withdrawn());
        let Shard { pass, index, streams, portion, log, .. } = &mut scene.shard;
        let index = index.read().unwrap();
        pass.offer_group(&index, streams, slot, (0, &group));
        let touched = pass.take_touched(streams);
        assert_eq!(touched, streams.keys());
        let (run, position) = (streams.get_mut(touched[0]).unwrap().run, log.position);
        let passed = Passed { entries: &group, slot, position };
        portion.clear();
        pass.put_together(run, &passed, portion, 0);
        let sent = String::from_utf8(portion.bytes().to_vec()).unwrap();
        assert!(sent.contains("data: 2\n") && !sent.contains("data: 1\n"), "{sent}");
        portion.clear();
        pass.frames(run, &passed).iter().for_each(|frame| frame.push(portion, 0));
        assert_eq!(portion.bytes(), sent.as_bytes());
    }
}

#[test]
fn what_is_deleted_before_it_is_passed_on_is_not_sent_and_all_else_is() {
    for (channel, wait_ms) in [("a", 0), ("f", 200)] {
        let mut scene = Scene::of_streams(1);
        for event in [Event::text("1").keyed("1"), Event::text("2").keyed("2"), Event::deletion("1")] {
            scene.append(channel, event);
        }
        scene.shard.pass(scene.clock.elapsed());
        scene.wait(wait_ms);
        let heard = scene.take(0);
        assert_eq!((heard.len(), heard[0].as_str()), (2, "2"), "{heard:?}");
        assert!(heard[1].contains(r#""key":"1""#), "{heard:?}");
    }
}

#[test]
fn what_is_out_of_time_when_it_leaves_is_not_sent_and_all_else_is() {
    for channel in ["a", "f"] {
        let mut scene = Scene::gathering_for(Duration::from_secs(10), 1, Duration::ZERO);
        scene.append(channel, Event::text("late").ttl(Duration::from_secs(1)));
        scene.append(channel, Event::text("in time").ttl(Duration::from_mins(1)));
        if channel == "f" {
            scene.shard.pass(scene.clock.elapsed());
        }
        scene.clock.advance(Duration::from_secs(9));
        scene.wait(1_000);
        scene.shard.pass(scene.clock.elapsed());
        assert_eq!(scene.take(0), ["in time"], "{channel}");
    }
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

#[test]
fn who_gathers_for_longer_than_a_heartbeat_is_sent_something_in_that_time() {
    let mut scene = Scene::gathering_for(Duration::from_secs(10), 1, Duration::ZERO);
    let (mut heard, mut silent_ms) = (Vec::new(), 0);
    for n in 0..300 {
        if n % 10 == 0 {
            scene.publish("f", &(n / 10).to_string());
        }
        scene.wait(100);
        scene.shard.tick(scene.clock.elapsed());
        let taken = scene.take(0);
        silent_ms = if taken.is_empty() { silent_ms + 100 } else { 0 };
        assert!(silent_ms <= 3_700, "silent for {silent_ms} ms");
        heard.extend(taken);
    }
    let all: Vec<String> = (0..heard.len()).map(|n| n.to_string()).collect();
    assert!(heard.len() >= 25);
    assert_eq!(heard, all, "all of it, in order, and no heartbeat between");
}

#[test]
fn who_is_written_to_early_time_and_again_costs_no_more_than_who_is_not() {
    let mut scene = Scene::gathering_for(Duration::from_secs(10), 2, Duration::ZERO);
    for n in 0..1_000 {
        scene.publish("f", &n.to_string());
        scene.publish("a", &n.to_string());
        scene.wait(5);
        for stream in 0..2 {
            assert_eq!(scene.take(stream), [n.to_string(), n.to_string()]);
        }
        let Gathering { due, entries, .. } = &scene.shard.gathering;
        assert_eq!(*entries, due.values().map(Vec::len).sum::<usize>());
        assert!(*entries <= 2 * 2 + 64, "{entries} entries after {n} events");
    }
}

#[test]
fn intervals_are_as_long_after_years() {
    let mut scene = Scene::gathering_for(Duration::from_millis(100), 1, Duration::from_hours(24 * 800));
    scene.publish("f", "1");
    scene.wait(90);
    assert!(scene.take(0).is_empty());
    scene.wait(20);
    assert_eq!(scene.take(0), ["1"]);
}

#[test]
fn a_stream_that_is_changed_while_it_gathers_is_sent_nothing_more_of_what_was_removed() {
    let mut scene = Scene::of_streams(2);
    let key = scene.shard.streams.keys()[0];
    scene.publish("f", "1");
    let id = scene.shard.id_of(key).unwrap();
    let of = |name| Follows::new(vec![(ChannelName::new(name).unwrap(), Since::Now)], vec![]);
    let change = Arc::new(Change { add: of("fb"), remove: of("f") });
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    scene.shard.order(Order { stream: id, what: What::Change(change, 3_000), reply }, scene.clock.elapsed());
    let Ok(Answered::Done(followed)) = answer.try_recv() else { panic!("it is found by its id") };
    assert_eq!(followed.stream, id);
    assert_eq!(followed.follows.user(), Some(&UserName::new("ada").unwrap()), "who listens is the same");
    assert!(followed.follows.hears_everyone());
    assert_eq!(scene.take(0), [r#"{"revision":1,"channels":["a","fb"],"patterns":[]}"#], "at once, and before `1`");
    // Its mailbox was full of that.
    scene.shard.turn(scene.clock.elapsed());
    scene.publish("f", "2");
    scene.publish("fb", "3");
    scene.wait(120);
    assert_eq!(scene.take(0), ["3"], "nothing of what was removed");
    assert_eq!(scene.take(1), ["1", "2"]);
}
