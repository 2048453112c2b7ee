//! What can't be had any more is told: once per channel that it is about, before anything newer, and never where nothing
//! is missing.

use std::time::Duration;

use fanfare_hub::{Durability, HistoryLimits, HubConfig, Overflow};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Address, Heard, Hub, Listener, Served, folder, manual_clock, rule, rules};

fn few(count_max: u64) -> HistoryLimits {
    HistoryLimits { count_max, ..HistoryLimits::default() }
}

/// A window so small that everything old must come from history.
fn without_window(config: HubConfig) -> HubConfig {
    HubConfig { window_bytes: 0, ..config }
}

/// Everything up to the event with this data, the hub's own events included.
fn until(listener: &mut Listener, data: &str) -> Vec<Heard> {
    let mut heard = Vec::new();
    loop {
        let next = listener.any().expect("the stream is open");
        let end = next.data == data;
        heard.push(next);
        if end {
            return heard;
        }
    }
}

fn gaps(heard: &[Heard]) -> Vec<serde_json::Value> {
    heard.iter().filter(|event| event.event == "fanfare.gap").map(Heard::json).collect()
}

#[test]
fn past_retention_one_gap_is_told_for_each_channel_that_lost_something_and_none_for_a_quiet_one() {
    let folder = folder();
    let served = Served::start(folder.path(), without_window(rules(vec![rule("short:*").history(few(5))])));
    let hello = served.listen("channel=short:1&channel=short:2&channel=long&channel=quiet").named("fanfare.hello");
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(served.publish("short:1", &format!("a{n}")));
        served.publish("short:2", &format!("b{n}"));
        served.publish("long", &format!("c{n}"));
    }
    // Retention moves floors with a later commit.
    served.publish("elsewhere", "x");
    served.publish("elsewhere", "x");
    let mut listener = served.resume("channel=short:1&channel=short:2&channel=long&channel=quiet", &hello.id);
    let heard = until(&mut listener, "c19");
    let told = gaps(&heard);
    let channels: Vec<&str> = told.iter().filter_map(|gap| gap["channel"].as_str()).collect();
    assert_eq!(channels, ["short:1", "short:2"]);
    for gap in &told {
        assert_eq!(gap["reason"], "trimmed");
        assert_eq!(gap["from"], hello.id);
    }
    assert_eq!(told[0]["to"], ids[14], "the last one of short:1 that is gone");
    let first_gap = heard.iter().position(|event| event.event == "fanfare.gap").unwrap();
    let first_event = heard.iter().position(|event| event.event == "message").unwrap();
    assert!(first_gap < first_event, "told before anything newer");
    let of = |letter: char| heard.iter().filter(|event| event.data.starts_with(letter)).count();
    assert_eq!((of('a'), of('b'), of('c')), (5, 5, 20));
}

#[test]
fn a_pattern_gaps_by_channel_while_they_are_few_and_as_a_whole_when_they_are_many() {
    let folder = folder();
    let served = Served::start(folder.path(), without_window(rules(vec![rule("p:*").history(few(1))])));
    let hello = served.listen("pattern=p:*").named("fanfare.hello");
    for n in 0..3 {
        served.publish("p:1", &format!("a{n}"));
        served.publish("p:2", &format!("b{n}"));
    }
    served.publish("p:3", "only");
    served.publish("x", "x");
    served.publish("x", "x");
    served.publish("p:3", "end");
    let heard = until(&mut served.resume("pattern=p:*", &hello.id), "end");
    let channels: Vec<String> = gaps(&heard).iter().map(|gap| gap["channel"].to_string()).collect();
    assert_eq!(channels, ["\"p:1\"", "\"p:2\""], "{heard:?}");

    for n in 0..150 {
        served.publish(&format!("p:many{n}"), "1");
        served.publish(&format!("p:many{n}"), "2");
    }
    served.publish("x", "x");
    served.publish("x", "x");
    served.publish("p:3", "the end");
    let heard = until(&mut served.resume("pattern=p:*", &hello.id), "the end");
    let told = gaps(&heard);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["pattern"], "p:*");
}

#[test]
fn a_new_data_folder_garbage_and_the_future_are_unknown_cursors() {
    let (old, new) = (folder(), folder());
    let foreign = {
        let hub = Hub::start(old.path());
        hub.publish("a", "old")
    };
    let hub = Hub::start(new.path());
    let id = hub.publish("a", "new");
    let future = format!("{}ffffffffff", &id[..id.len() - 10]);
    for strange in [foreign.as_str(), "garbage", &future, "42", "🎺", &"x".repeat(2_000)] {
        let mut listener = hub.resume("channel=a&channel=b&pattern=c*", strange);
        let hello = listener.named("fanfare.hello");
        assert_eq!(hello.json()["resumed"], false, "{strange}");
        // `@everyone` is followed, too.
        let told: Vec<Heard> = (0..4).map(|_| listener.any().unwrap()).collect();
        assert_eq!(gaps(&told).len(), 4, "{strange}: {told:?}");
        assert!(gaps(&told).iter().all(|gap| gap["reason"] == "unknown" && gap["from"].is_null()));
        assert_eq!(listener.any().unwrap().data, "new", "then what there is");
        // A cut before the last gap hears all of them again; one after it hears none.
        let mut again = hub.resume("channel=a&channel=b&pattern=c*", &told[1].id);
        assert_eq!(gaps(&until(&mut again, "new")).len(), 4);
        let mut after = hub.resume("channel=a&channel=b&pattern=c*", &told[3].id);
        assert_eq!(gaps(&until(&mut after, "new")).len(), 0);
    }
}

#[test]
fn a_cursor_that_is_too_old_is_expired() {
    let folder = folder();
    let clock = manual_clock();
    let config = HubConfig {
        clock: clock.clone(),
        cursor_age_max: Duration::from_hours(1),
        window_bytes: 0,
        ..HubConfig::default()
    };
    let served = Served::start(folder.path(), config);
    let id = served.publish("a", "first");
    served.publish("a", "second");
    for _ in 0..100 {
        clock.advance(Duration::from_mins(1));
        served.publish("elsewhere", "x");
    }
    // The horizon is moved by the sweep, once a second.
    let told = loop {
        let mut listener = served.resume("channel=a&channel=b", &id);
        let heard = until(&mut listener, "second");
        if !gaps(&heard).is_empty() {
            break gaps(&heard);
        }
        std::thread::sleep(Duration::from_millis(100));
        clock.advance(Duration::from_mins(1));
        served.publish("elsewhere", "x");
    };
    let channels: Vec<_> = told.iter().map(|gap| gap["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["a", "b", "@everyone"]);
    assert!(told.iter().all(|gap| gap["reason"] == "expired" && gap["from"] == id));
}

#[test]
fn an_event_whose_time_ran_out_is_no_gap() {
    let folder = folder();
    let clock = manual_clock();
    let served =
        Served::start(folder.path(), HubConfig { clock: clock.clone(), ..without_window(HubConfig::default()) });
    let hello = served.listen("channel=a").named("fanfare.hello");
    assert_eq!(served.post("/channels/a?ttl=5", "short-lived").status, 200);
    served.publish("a", "lasting");
    clock.advance(Duration::from_secs(6));
    let mut listener = served.resume("channel=a", &hello.id);
    listener.named("fanfare.hello");
    assert_eq!(listener.any().unwrap().data, "lasting");
}

#[test]
fn memory_channels_gap_after_a_restart_and_durable_ones_do_not() {
    let folder = folder();
    let config = || rules(vec![rule("mem*").durability(Durability::Memory)]);
    let served = Served::start(folder.path(), config());
    let hello = served.listen("channel=mem1&channel=mem2&channel=disk").named("fanfare.hello");
    let receipt = served.post("/channels/mem1", "lost").json();
    assert_eq!(receipt["durability"], "memory");
    served.publish("disk", "kept");
    served.stop();
    let served = Served::start(folder.path(), config());
    let mut listener = served.resume("channel=mem1&channel=mem2&channel=disk", &hello.id);
    let heard = until(&mut listener, "kept");
    let told = gaps(&heard);
    assert_eq!(told.len(), 1, "mem2 was quiet, and the hub stopped in order: {told:?}");
    assert_eq!((&told[0]["channel"], &told[0]["reason"]), (&"mem1".into(), &"restart".into()));
    assert_eq!(told[0]["to"], receipt["id"]);
}

#[test]
fn a_slow_stream_is_told_of_the_overflow_or_closed_as_the_rule_says() {
    for (overflow, reason) in [(Overflow::Skip, "overflow"), (Overflow::Close, "overflow")] {
        let folder = folder();
        let config = without_window(rules(vec![rule("fast").history(few(10)).overflow(overflow)]));
        let served = Served::start(folder.path(), config);
        let mut listener = served.live("channel=fast");
        // Far more than sockets and buffers hold while nobody reads.
        let data = "x".repeat(100_000);
        for _ in 0..200 {
            served.publish("fast", &data);
        }
        served.publish("fast", "last");
        let heard = loop {
            let next = listener.any();
            match next {
                Some(event) if event.event == "fanfare.gap" => break Some(event),
                Some(_) => {}
                None => break None,
            }
        };
        let gap = heard.expect("a gap is told");
        assert_eq!(gap.json()["reason"], reason);
        let mut end = None;
        while let Some(event) = listener.any() {
            if event.event == "fanfare.bye" || event.data == "last" {
                end = Some(event);
                break;
            }
        }
        match overflow {
            Overflow::Skip | Overflow::Conflate => assert_eq!(end.unwrap().data, "last"),
            Overflow::Close => {
                assert_eq!(end.unwrap().json()["reason"], "overflow");
                assert_eq!(listener.any(), None);
            }
        }
    }
}

#[test]
fn ten_thousand_random_last_event_ids_are_answered_and_harm_nobody() {
    let folder = folder();
    let served = Served::start(folder.path(), HubConfig::default());
    let id = served.publish("a", "here");
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..10_000 {
        let strange = random_id(&mut rng, &id);
        let mut connection = served.connect();
        let headers = [("Last-Event-ID", strange.as_str()), ("Connection", "close")];
        // Half of them ask for a stream and leave at once.
        let path = if round % 2 == 0 { "/events?channel=a" } else { "/events?channel=a&channel=b&since=last:3" };
        let (head, mut chunks) =
            std::mem::replace(&mut connection, served.connect()).stream("GET", path, &headers, b"").unwrap();
        assert!(head.status == 200 || head.status == 400, "{strange:?}: {}", head.status);
        assert!(head.status != 200 || !chunks.read(64).unwrap().is_empty());
    }
    assert_eq!(served.get("/health/ready").status, 200);
    assert_eq!(served.listen("channel=a&since=start").next().data, "here");
}

/// An id that a hostile or confused client might send: near to a real one, or far from any.
fn random_id(rng: &mut StdRng, real: &str) -> String {
    let alphabet: Vec<char> = "0123456789abcdef-._xyzÄ🎺 \t%".chars().collect();
    match rng.random_range(0..4) {
        0 => (0..rng.random_range(0..80)).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect(),
        1 => {
            let mut id: Vec<char> = real.chars().collect();
            let at = rng.random_range(0..id.len());
            id[at] = alphabet[rng.random_range(0..22)];
            id.into_iter().collect()
        }
        2 => format!("{real}.{:016x}", rng.random::<u64>()),
        _ => format!(
            "{:06x}-{:08x}-{:010x}",
            rng.random_range(0..4),
            rng.random::<u32>(),
            rng.random_range(0..1u64 << 40)
        ),
    }
}

#[test]
fn a_pattern_is_told_what_an_orderly_restart_took_of_memory_channels() {
    let folder = folder();
    let config = || rules(vec![rule("mem*").durability(Durability::Memory)]);
    let served = Served::start(folder.path(), config());
    let hello = served.listen("pattern=mem*").named("fanfare.hello");
    let id = served.post("/channels/mem1", "lost").json()["id"].clone();
    served.stop();
    let served = Served::start(folder.path(), config());
    let mut listener = served.resume("pattern=mem*", &hello.id);
    listener.named("fanfare.hello");
    let gap = listener.named("fanfare.gap").json();
    assert_eq!((&gap["channel"], &gap["reason"], &gap["to"]), (&"mem1".into(), &"restart".into(), &id));
}
