//! A stream's last words, given when they are hard to say.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::follows::{Follows, Since};
use crate::history::beginning::LastEventId;
use crate::rule::Rules;
use crate::space::Space;
use crate::store::memory::MemoryStore;
use crate::stream_id::StreamId;
use crate::subscription::Style;
use crate::window::notice::GapReason;
use crate::window::recent::Recent;
use crate::writer::{Writer, WriterParts};

fn writer() -> Writer {
    let store = Arc::new(MemoryStore::default());
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new(Rules::default()),
        clock: Arc::new(ManualClock::at(1_000)),
        random: Box::new(|| 7),
        window_bytes: 1 << 20,
        channels_max: 3,
        cursor_age_max: Duration::from_hours(1),
    })
    .unwrap()
}

/// A subscription of a client that saw this last, whose opening is sent.
fn opened(last: LastEventId) -> Subscription {
    let (form, hello, beat) = Default::default();
    let style = Style { stream: StreamId(1), form, hello, beat, heartbeat_ms: 3_000, device: None };
    let follows = Follows::new(vec![(ChannelName::new("c").unwrap(), Since::Now)], vec![]);
    let mut subscription = Subscription::new(Arc::new(follows), style, 0, b": fanfare\n").of_client_at(last);
    subscription.first = Box::default();
    subscription
}

fn bye(subscription: &mut Subscription, view: &View<'_>) -> String {
    let bye = subscription.bye(ByeReason::Shutdown, Duration::from_secs(1), view);
    String::from_utf8(bye.to_vec()).unwrap()
}

#[test]
fn a_bye_before_the_hello_leaves_its_client_where_it_was() {
    let writer = writer();
    let recent = Recent::default();
    let (position, slot) = writer.window.head();
    let view = View { window: &writer.window, epochs: &writer.epochs, recent: &recent, slot, position, time_ms: 0 };
    let foreign = Cursor::FOREIGN.to_text();
    for (came_with, kept) in [
        (None, None),
        (Some(""), None),
        (Some("000001-00000007-0000000000"), Some("000001-00000007-0000000000")),
        (Some("000001-00000007-0000000009.0000010000000002"), Some("000001-00000007-0000000009.0000010000000002")),
        (Some("000009-deadbeef-0000000009"), Some("000009-deadbeef-0000000009")),
        (Some("of another server"), Some(&*foreign)),
    ] {
        let text = bye(&mut opened(LastEventId::of(came_with)), &view);
        let id = kept.map_or(String::new(), |id| format!("id: {id}\n"));
        assert!(text.starts_with(&format!("{id}event: fanfare.bye\n")), "{came_with:?}: {text}");
    }
}

#[test]
fn a_bye_comes_after_the_gaps_that_its_cursor_passes_over() {
    let writer = writer();
    let recent = Recent::default();
    let (position, slot) = writer.window.head();
    let view = View { window: &writer.window, epochs: &writer.epochs, recent: &recent, slot, position, time_ms: 0 };
    let mut subscription = opened(LastEventId::Foreign);
    let mut beginning = Beginning::now(subscription.follows().clone(), position, None);
    let scope = GapScope::Channel(ChannelName::new("c").unwrap());
    beginning.gaps = vec![Gap { scope, reason: GapReason::Unknown, from: None, to: position }];
    beginning.known = false;
    subscription.begin(beginning, &view);
    let text = bye(&mut subscription, &view);
    let ids_and_names: Vec<&str> = text.lines().filter(|line| !line.starts_with("data:")).collect();
    let (foreign, here) = (format!("id: {}", Cursor::FOREIGN), format!("id: {}", subscription.cursor(&view)));
    let expected = [
        &*foreign,
        "event: fanfare.hello",
        "",
        &here,
        "event: fanfare.gap",
        "",
        &here,
        "event: fanfare.bye",
        "retry: 1000",
        "",
    ];
    assert_eq!(ids_and_names, expected, "{text}");
}
