//! From when on streams want events, where that differs by channel or is said of what is added to an open one.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::{
    Change, ChannelName, Clock, Draft, Event, Follows, HistoryLimits, Hub, HubConfig, ManualClock, Pattern, Publisher,
    Rule, Since, Stream, StreamId, Subscribe, SystemClock,
};

use crate::reading::read_until;

const FOREIGN: &str = "000009-deadbeef-0000000001";

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn follow(of: &[(&str, Since)]) -> Follows {
    Follows::new(of.iter().map(|(of, since)| (name(of), *since)).collect(), vec![])
}

fn follow_pattern(of: &str, since: Since) -> Follows {
    Follows::new(vec![], vec![(Pattern::new(of).unwrap(), since)])
}

fn after(id: &str) -> Since {
    Since::After(id.parse().unwrap())
}

fn open(rules: Vec<Rule>) -> Hub {
    open_at(Arc::new(SystemClock::default()), rules)
}

fn open_at(clock: Arc<dyn Clock>, rules: Vec<Rule>) -> Hub {
    let config = HubConfig { rules, clock, shards: 1, ..HubConfig::default() };
    Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap()
}

fn listen(hub: &Hub, follows: Follows) -> Stream {
    hub.subscribe(Subscribe { follows, ..Subscribe::default() }).unwrap()
}

async fn publish(hub: &Hub, channel: &str, event: impl Into<Event>) -> String {
    hub.publish(channel, event).await.unwrap().id.unwrap()
}

/// What a stream is sent up to now.
async fn all(hub: &Hub, stream: &mut Stream) -> String {
    let mut text = read_until(stream, "fanfare.hello").await;
    hub.publish_draft(Draft::to_everyone("mark".into(), Publisher::Hub).unwrap()).await.unwrap();
    text.push_str(&read_until(stream, "data: mark\n").await);
    text
}

/// The same of a stream of `d` to which something is added.
async fn added(hub: &Hub, add: Follows) -> String {
    let mut stream = listen(hub, follow(&[("d", Since::Now)]));
    let hello = read_until(&mut stream, "\n\n").await;
    change(hub, stream_of(&hello), add).await;
    hello + &all_more(hub, &mut stream).await
}

fn stream_of(hello: &str) -> StreamId {
    hello.split("\"stream\":\"").nth(1).unwrap().get(..32).unwrap().parse().unwrap()
}

async fn change(hub: &Hub, stream: StreamId, add: Follows) {
    hub.change_stream(stream, Change { add, remove: Follows::default() }).await.unwrap();
}

async fn all_more(hub: &Hub, stream: &mut Stream) -> String {
    hub.publish_draft(Draft::to_everyone("mark".into(), Publisher::Hub).unwrap()).await.unwrap();
    read_until(stream, "data: mark\n").await
}

/// The gaps that were told, each by what it is of, its reason and where it begins.
fn gaps(text: &str) -> Vec<String> {
    let gaps = text.split("event: fanfare.gap\ndata: ").skip(1);
    gaps.map(|gap| gap.lines().next().unwrap().rsplit_once(",\"to\"").unwrap().0.to_owned() + "}").collect()
}

/// The data of what was delivered.
fn data(text: &str) -> Vec<&str> {
    let frames = text.split("\n\n").filter(|frame| !frame.contains("event: fanfare."));
    frames.filter_map(|frame| frame.rsplit_once("data: ")).map(|(_, data)| data).collect()
}

/// A hub whose channel `c` has only the last few of what it had, with the id of its first event.
async fn trimmed() -> (Hub, String) {
    let history = HistoryLimits { count_max: 5, ..HistoryLimits::default() };
    let hub = open(vec![Rule::new(Pattern::new("c").unwrap()).history(history)]);
    publish(&hub, "other", "x").await;
    let first = publish(&hub, "c", "first").await;
    fill_up(&hub).await;
    (hub, first)
}

/// Publishes to `c` so much that it lets go of what it had.
async fn fill_up(hub: &Hub) {
    for n in 0..50 {
        publish(hub, "c", n.to_string()).await;
    }
    for _ in 0..200 {
        if hub.channel(&name("c")).unwrap().events <= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publish(hub, "other", "x").await;
}

#[tokio::test]
async fn what_is_missing_after_an_id_or_a_time_is_told_whatever_else_is_followed_from_elsewhere() {
    let (hub, first) = trimmed().await;
    let gap = format!(r#"{{"channel":"c","reason":"trimmed","from":"{first}"}}"#);
    let beside = |since| follow(&[("c", since), ("d", Since::Start)]);
    let by_pattern =
        Follows::new(vec![(name("d"), Since::Start)], follow_pattern("c*", after(&first)).patterns().to_vec());
    for follows in [beside(after(&first)), by_pattern] {
        let text = all(&hub, &mut listen(&hub, follows)).await;
        assert_eq!((gaps(&text), data(&text).contains(&"49")), (vec![gap.clone()], true), "{text}");
    }
    for add in [follow(&[("c", after(&first))]), follow_pattern("c*", after(&first))] {
        let text = added(&hub, add).await;
        assert_eq!((gaps(&text), data(&text).contains(&"49")), (vec![gap.clone()], true), "{text}");
    }
    let text = all(&hub, &mut listen(&hub, beside(Since::Ago(Duration::from_mins(5))))).await;
    assert_eq!(gaps(&text).len(), 1, "a duration asks for all of it, too: {text}");
    for since in [Since::Start, Since::Last(100)] {
        let text = all(&hub, &mut listen(&hub, follow(&[("c", since), ("d", Since::Now)]))).await;
        assert_eq!(gaps(&text), [""; 0], "{since:?} asks for what there is");
    }
    let last = hub.channel(&name("c")).unwrap().head.unwrap();
    let text = all(&hub, &mut listen(&hub, beside(after(&last)))).await;
    assert_eq!(gaps(&text), [""; 0], "after that nothing is gone");
}

#[tokio::test]
async fn a_foreign_id_of_one_channel_is_told_to_be_unknown_and_its_history_begins() {
    let (hub, _) = trimmed().await;
    let text = all(&hub, &mut listen(&hub, follow(&[("c", after(FOREIGN)), ("d", Since::Start)]))).await;
    assert_eq!(gaps(&text), [r#"{"channel":"c","reason":"unknown","from":null}"#], "{text}");
    assert!(data(&text).contains(&"49") && text.contains("id: 000001"), "{text}");
    let text = all(&hub, &mut listen(&hub, follow(&[("c", after(FOREIGN))]))).await;
    assert_eq!(gaps(&text).len(), 2, "where it is the only one, it counts for what is for everyone, too: {text}");
    assert!(data(&text).contains(&"49"), "{text}");
}

#[tokio::test]
async fn five_minutes_are_those_before_now_and_not_those_before_the_last_event() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let hub = open_at(clock.clone(), vec![]);
    publish(&hub, "c", "a day old").await;
    clock.advance(Duration::from_hours(24));
    let ago = Since::Ago(Duration::from_mins(5));
    for of in [vec![("c", ago)], vec![("c", ago), ("d", Since::Start)]] {
        let text = all(&hub, &mut listen(&hub, follow(&of))).await;
        assert!(!data(&text).contains(&"a day old"), "{text}");
    }
    let text = added(&hub, follow(&[("c", ago)])).await;
    assert!(!data(&text).contains(&"a day old"), "{text}");
}

#[tokio::test]
async fn after_an_unknown_id_whatever_has_no_since_begins_from_where_history_begins() {
    let hub = open(vec![]);
    publish(&hub, "c", "kept").await;
    for of in [vec![("c", Since::Unsaid)], vec![("c", Since::Unsaid), ("@inbox/ada", Since::Start)]] {
        let last_event_id = Some(FOREIGN.to_owned());
        let follows = follow(&of);
        let mut stream = hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap();
        let text = all(&hub, &mut stream).await;
        assert!(data(&text).contains(&"kept"), "{text}");
    }
}

#[tokio::test]
async fn what_a_channel_has_let_go_of_does_not_come_by_it_however_much_is_followed() {
    let history = HistoryLimits { count_max: 5, ..HistoryLimits::default() };
    let hub = open(vec![Rule::new(Pattern::new("c").unwrap()).history(history)]);
    let both = Draft::new(vec![name("c"), name("kept")], "shared".into(), Publisher::Anyone).unwrap();
    hub.publish_draft(both).await.unwrap();
    fill_up(&hub).await;
    let others: Vec<String> = (0..70).map(|n| format!("o{n}")).collect();
    for count in [0, others.len()] {
        let others = others.iter().take(count).map(|other| (other.as_str(), Since::Start));
        let of: Vec<_> = others.chain([("c", Since::Start)]).collect();
        let text = all(&hub, &mut listen(&hub, follow(&of))).await;
        assert_eq!((data(&text).contains(&"shared"), gaps(&text).len()), (false, 0), "{count} others: {text}");
        let of: Vec<_> = of.into_iter().chain([("kept", Since::Start)]).collect();
        let text = all(&hub, &mut listen(&hub, follow(&of))).await;
        assert!(text.contains("channel: kept\ndata: shared"), "{count} others: {text}");
    }
}

#[tokio::test]
async fn what_is_added_to_a_stream_that_is_behind_begins_after_its_since() {
    let hub = open(vec![]);
    let mut stream = listen(&hub, follow(&[("a", Since::Now)]));
    let hello = read_until(&mut stream, "\n\n").await;
    for _ in 0..100 {
        publish(&hub, "a", "x".repeat(1_000)).await;
    }
    let both = Draft::new(vec![name("c"), name("a")], "both".into(), Publisher::Anyone).unwrap();
    hub.publish_draft(both).await.unwrap();
    let snapshot = publish(&hub, "c", "in the snapshot").await;
    change(&hub, stream_of(&hello), follow(&[("c", after(&snapshot))])).await;
    publish(&hub, "c", "later").await;
    let text = all_more(&hub, &mut stream).await;
    assert!(!text.contains("in the snapshot") && text.contains("data: later"), "{}", data(&text).len());
    assert!(text.contains("channel: a\ndata: both"), "what comes by another channel comes");
}

#[tokio::test]
async fn what_was_added_begins_after_its_since_though_its_listener_comes_back_from_before_that() {
    let hub = open(vec![]);
    let ask = |last_event_id: Option<String>| {
        let (stream, follows) = ("0123456789abcdef0123456789abcdef".parse().ok(), follow(&[("a", Since::Unsaid)]));
        hub.subscribe(Subscribe { stream, follows, last_event_id, ..Subscribe::default() }).unwrap()
    };
    let mut stream = ask(None);
    let hello = read_until(&mut stream, "\n\n").await;
    let seen = publish(&hub, "a", "seen").await;
    read_until(&mut stream, "data: seen\n").await;
    // From here on the listener hears nothing, but it doesn't know that yet.
    let snapshot = publish(&hub, "c", "in the snapshot").await;
    change(&hub, stream_of(&hello), follow(&[("c", after(&snapshot))])).await;
    drop(stream);
    publish(&hub, "c", "later").await;
    let text = all(&hub, &mut ask(Some(seen))).await;
    assert_eq!(data(&text), ["later", "mark\n"].map(str::trim), "{text}");
}
