//! Pages that are loaded anew: they bring their stream's name, but no id. What their stream followed last begins from the
//! front, and a restart of the hub in the midst of that loses nothing of what the request asks for.

use std::collections::BTreeSet;

use fanfare_hub::{
    AckReason, Change, ChannelName, DeviceName, Draft, Event, Follows, Hub, Publisher, Since, Stream, Subscribe,
    UserName,
};

use crate::reading::read_until;

const NAME: &str = "0123456789abcdef0123456789abcdef";

/// More than a stream sends at once.
const COUNT: usize = 60;

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn follow(channel: &str, since: Since) -> Follows {
    Follows::new(vec![(name(channel), since)], vec![])
}

async fn fill(hub: &Hub, channel: &str, to: impl Fn(Event) -> Draft) {
    let event = |n| Event::text(format!("{channel}{n} {}", "x".repeat(1_000)));
    let results = hub.publish_all((0..COUNT).map(|n| to(event(n))).collect(), true).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn to_channel(channel: &str) -> impl Fn(Event) -> Draft {
    let name = name(channel);
    move |event| Draft::new(vec![name.clone()], event, Publisher::Anyone).unwrap()
}

/// Which of the numbered events a stream has sent.
fn sent(text: &str, channel: &str) -> BTreeSet<usize> {
    (0..COUNT).filter(|n| text.contains(&format!("data: {channel}{n} "))).collect()
}

/// The id of the last whole frame.
fn last_id(text: &str) -> String {
    let whole = text.rsplit_once("\n\n").unwrap().0;
    whole.rsplit("id: ").next().unwrap().lines().next().unwrap().to_owned()
}

/// A device's page follows `a` from the start and its inbox.
async fn page(hub: &Hub, last_event_id: Option<&str>) -> Stream {
    let (user, device) = (UserName::new("ada").unwrap(), DeviceName::new("phone").unwrap());
    let drafts = hub.device_returns(&user, &device, last_event_id).unwrap();
    hub.acknowledge(drafts, AckReason::Cursor).await.unwrap();
    let follows = Follows::new(vec![(name("a"), Since::Start), (user.inbox().clone(), Since::Start)], vec![]);
    let (stream, last_event_id) = (NAME.parse().ok(), last_event_id.map(str::to_owned));
    let (user, device) = (Some(user), Some(device));
    hub.subscribe(Subscribe { stream, follows, last_event_id, user, device, ..Subscribe::default() }).unwrap()
}

async fn add(hub: &Hub, channel: &str, since: Since) {
    let change = Change { add: follow(channel, since), remove: Follows::default() };
    hub.change_stream(NAME.parse().unwrap(), change).await.unwrap();
}

#[tokio::test]
async fn a_restart_in_the_midst_of_a_reload_loses_nothing_and_acknowledges_nothing_unsent() {
    let user = UserName::new("ada").unwrap();
    for (cut, is_changed) in [("a5 ", true), ("mail5 ", true), ("mail5 ", false)] {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let mut stream = page(&hub, None).await;
        read_until(&mut stream, "fanfare.hello").await;
        if is_changed {
            add(&hub, "b", Since::Start).await;
        }
        drop(stream);
        fill(&hub, "a", to_channel("a")).await;
        fill(&hub, "mail", |event| Draft::to_user(&user, event, Publisher::Anyone).unwrap()).await;
        let mut stream = page(&hub, None).await;
        let mut text = read_until(&mut stream, &format!("data: {cut}")).await;
        let seen = last_id(&text);
        drop(stream);
        hub.close().await;

        let hub = Hub::open(folder.path()).unwrap();
        let mut stream = page(&hub, Some(&seen)).await;
        hub.publish("a", "later").await.unwrap();
        text += &read_until(&mut stream, "data: later\n\n").await;
        assert!(!text.contains("fanfare.gap"), "{cut} at {seen}");
        for channel in ["a", "mail"] {
            assert_eq!(sent(&text, channel), (0..COUNT).collect(), "{channel}, {cut} at {seen}");
        }
        drop(stream);
        page(&hub, Some(&last_id(&text))).await;
        assert_eq!(hub.unread(&user).unwrap(), 0, "what it was sent is acknowledged");
        hub.close().await;
    }
}

#[tokio::test]
async fn who_comes_back_from_a_fill_that_nobody_remembers_has_all_that_the_request_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    for channel in ["a", "b"] {
        fill(&hub, channel, to_channel(channel)).await;
    }
    let mut stream = page(&hub, None).await;
    read_until(&mut stream, "data: a59 ").await;
    add(&hub, "b", Since::Start).await;
    drop(stream);
    let mut stream = page(&hub, None).await;
    let text = read_until(&mut stream, "data: b5 ").await;
    assert_eq!(sent(&text, "a"), (0..COUNT).collect(), "what the request names comes first");
    let seen = last_id(&text);
    assert_eq!(seen.split('.').count(), 3, "then the fill: {seen}");
    drop(stream);
    hub.close().await;

    let hub = Hub::open(folder.path()).unwrap();
    let mut stream = page(&hub, Some(&seen)).await;
    hub.publish("a", "later").await.unwrap();
    let text = read_until(&mut stream, "data: later\n").await;
    assert!(text.contains("\"revision\":0"), "what was added is to be added again: {text}");
    assert!(sent(&text, "a").is_empty() && !text.contains("fanfare.gap"), "nothing twice: {text}");
    hub.close().await;
}

#[tokio::test]
async fn a_reload_of_a_page_that_asks_for_nothing_of_before_gets_nothing_of_before_after_a_restart_either() {
    for (of_request, added_again) in [(Since::Unsaid, None), (Since::Now, Some(Since::Start))] {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        fill(&hub, "a", to_channel("a")).await;
        fill(&hub, "b", to_channel("b")).await;
        let ask = |last_event_id: Option<String>| {
            let follows = Follows::new(vec![(name("a"), of_request), (name("b"), of_request)], vec![]);
            Subscribe { stream: NAME.parse().ok(), follows, last_event_id, ..Subscribe::default() }
        };
        let mut stream = hub.subscribe(ask(None)).unwrap();
        read_until(&mut stream, "fanfare.hello").await;
        add(&hub, "c", Since::Now).await;
        if let Some(since) = added_again {
            let remove = Change { add: Follows::default(), remove: follow("b", Since::Now) };
            hub.change_stream(NAME.parse().unwrap(), remove).await.unwrap();
            add(&hub, "b", since).await;
        }
        drop(stream);
        let mut stream = hub.subscribe(ask(None)).unwrap();
        let text = read_until(&mut stream, if added_again.is_some() { "data: b5 " } else { "\n\n" }).await;
        let seen = last_id(&(text + "\n\n"));
        drop(stream);
        hub.close().await;

        let hub = Hub::open(folder.path()).unwrap();
        let mut stream = hub.subscribe(ask(Some(seen.clone()))).unwrap();
        let mut text = read_until(&mut stream, "fanfare.hello").await;
        hub.publish("a", "later").await.unwrap();
        text += &read_until(&mut stream, "data: later\n").await;
        assert!(sent(&text, "a").is_empty(), "{of_request:?} from {seen}: {:?}", sent(&text, "a"));
        hub.close().await;
    }
}

#[tokio::test]
async fn what_was_added_without_since_begins_with_the_values_that_came_meanwhile_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    let ask =
        || Subscribe { stream: NAME.parse().ok(), follows: follow("lobby", Since::Unsaid), ..Subscribe::default() };
    let mut stream = hub.subscribe(ask()).unwrap();
    read_until(&mut stream, "fanfare.hello").await;
    // No channel of the hub holds values yet.
    add(&hub, "prices", Since::Unsaid).await;
    hub.publish("prices", Event::text("17.40").keyed("ACME")).await.unwrap();
    read_until(&mut stream, "17.40").await;
    drop(stream);
    let mut stream = hub.subscribe(ask()).unwrap();
    read_until(&mut stream, "17.40").await;
    hub.close().await;
}
