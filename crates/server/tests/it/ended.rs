//! Channels that end: who listens gets all of it and the end, is told that this was all, and stays away.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Address, Hub, Listener, folder};

/// What a listener that reads to the end of its stream hears, without what says nothing.
fn rest(listener: &mut Listener) -> Vec<(String, String)> {
    let silent = ["fanfare.hello", "fanfare.cursor", "fanfare.ping"];
    std::iter::from_fn(|| listener.any())
        .filter(|heard| !silent.contains(&heard.event.as_str()))
        .map(|heard| (heard.event, heard.data))
        .collect()
}

fn heard(event: &str, data: &str) -> (String, String) {
    (event.to_owned(), data.to_owned())
}

const END: &str = r#"{"channel":"a","reason":"done"}"#;
const BYE: &str = r#"{"reason":"ended","reconnect":false}"#;

#[test]
fn a_live_stream_ends_with_its_channel_and_needs_not_come_back() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.listen("channel=a");
    listener.named("fanfare.hello");
    hub.publish("a", "x");
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    let all = [heard("message", "x"), heard("fanfare.end", END), heard("fanfare.bye", BYE)];
    assert_eq!(rest(&mut listener), all);
    let id = listener.last_event_id().to_owned();
    for query in ["channel=a", "channel=a&errors=status", "channel=a&since=start"] {
        let headers = [("Last-Event-ID", id.as_str())];
        let answer = hub.request("GET", &format!("/events?{query}"), &headers, b"");
        assert_eq!((answer.status, answer.text().len()), (204, 0), "{query}");
    }
    let body = format!(r#"{{"channels": ["a"], "last_event_id": "{id}"}}"#);
    assert_eq!(hub.post("/subscribe", body).status, 204);
    assert_eq!(hub.get("/stats").json()["streams_refused_over"], 4);
}

#[test]
fn whoever_comes_late_gets_the_whole_story_or_at_least_the_end() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let first = hub.publish("a", "x");
    hub.publish("a", "y");
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    let (x, y) = (heard("message", "x"), heard("message", "y"));
    let (end, bye) = (heard("fanfare.end", END), heard("fanfare.bye", BYE));
    assert_eq!(rest(&mut hub.listen("channel=a&since=start")), [x, y.clone(), end.clone(), bye.clone()]);
    assert_eq!(rest(&mut hub.listen("channel=a&since=last:1")), [end.clone(), bye.clone()]);
    assert_eq!(rest(&mut hub.resume("channel=a", &first)), [y, end, bye.clone()]);
    // Whoever asks for nothing but what is to come is told that nothing will.
    let mut late = hub.listen("channel=a");
    assert_eq!(rest(&mut late), [bye]);
    let headers = [("Last-Event-ID", late.last_event_id())];
    assert_eq!(hub.request("GET", "/events?channel=a", &headers, b"").status, 204);
}

#[test]
fn a_state_channel_ends_with_its_last_values_for_late_comers() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut live = hub.listen("channel=a&since=start");
    live.named("fanfare.hello");
    for (key, data) in [("x", "1"), ("y", "2"), ("x", "3"), ("z", "4")] {
        assert_eq!(hub.post(&format!("/channels/a?key={key}"), data).status, 200);
    }
    assert_eq!(hub.request("DELETE", "/channels/a?key=y", &[], b"").status, 200);
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    let (end, bye) = (heard("fanfare.end", END), heard("fanfare.bye", BYE));
    let message = |data| heard("message", data);
    let told = rest(&mut live);
    assert_eq!(told[told.len() - 3].0, "fanfare.delete");
    assert_eq!(told[told.len() - 2..], [end.clone(), bye.clone()]);
    for query in ["channel=a", "channel=a&since=start"] {
        let mut late = hub.listen(query);
        let told = rest(&mut late);
        let values: Vec<_> = told.iter().filter(|(event, _)| event != "fanfare.delete").cloned().collect();
        assert_eq!(values, [message("3"), message("4"), end.clone(), bye.clone()], "{query}");
        let headers = [("Last-Event-ID", late.last_event_id())];
        assert_eq!(hub.request("GET", &format!("/events?{query}"), &headers, b"").status, 204, "{query}");
    }
    assert_eq!(hub.post("/channels/a?key=x", "5").status, 409);
    assert_eq!(hub.request("DELETE", "/channels/a?key=x", &[], b"").status, 409, "a deletion is an event, too");
    let values = hub.get("/channels/a/keys").json();
    assert_eq!(values["values"].as_array().unwrap().len(), 2, "{values}");
    // Reopened, it is a state channel still.
    assert_eq!(hub.post("/channels/a/reopen", "").status, 200);
    assert_eq!(hub.post("/channels/a", "no key").status, 409);
    assert_eq!(hub.post("/channels/a?key=x", "6").status, 200);
}

#[test]
fn a_stream_lasts_as_long_as_one_of_its_channels_and_patterns_last_for_ever() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut both = hub.listen("channel=a&channel=b&since=start");
    let mut pattern = hub.listen("channel=a&pattern=a*");
    both.named("fanfare.hello");
    pattern.named("fanfare.hello");
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    assert_eq!(both.named("fanfare.end").json()["channel"], "a");
    pattern.named("fanfare.end");
    // One that comes meanwhile waits for the other channel, too.
    let mut late = hub.listen("channel=a&channel=b");
    late.named("fanfare.hello");
    hub.publish("b", "goes on");
    for listener in [&mut both, &mut late] {
        assert_eq!(listener.next().data, "goes on");
    }
    // Reopened, its end counts no longer.
    assert_eq!(hub.post("/channels/a/reopen", "").status, 200);
    assert_eq!(hub.post("/channels/b/end", "").status, 200);
    hub.publish("a", "again");
    for listener in [&mut both, &mut late, &mut pattern] {
        assert_eq!(listener.next().data, "again");
    }
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    for listener in [&mut both, &mut late] {
        let bye = heard("fanfare.bye", BYE);
        assert_eq!(rest(listener), [heard("fanfare.end", END), bye]);
    }
    hub.publish("a2", "still there");
    assert_eq!(pattern.next().data, "still there");
}

#[test]
fn a_stream_from_which_the_last_open_channel_is_removed_ends() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let id = "5f1d9a526f0b4f7e9c390d7c1d5a2b11";
    let patch = |body: &str| {
        let headers = [("Content-Type", "application/json")];
        assert_eq!(hub.request("PATCH", &format!("/streams/{id}"), &headers, body.as_bytes()).status, 200, "{body}");
    };
    let query = format!("channel=a&channel=b&stream={id}");
    let mut listener = hub.live(&query);
    assert_eq!(hub.post("/channels/a/end", "").status, 200);
    listener.named("fanfare.end");
    hub.publish("b", "goes on");
    assert_eq!(listener.next().data, "goes on");
    // Of nothing at all it waits to be told to follow something.
    patch(r#"{"remove": ["a", "b"]}"#);
    patch(r#"{"add": ["b"]}"#);
    listener.named("fanfare.subscription");
    hub.publish("b", "there again");
    assert_eq!(listener.next().data, "there again");
    patch(r#"{"add": [{"channel": "a", "since": "start"}]}"#);
    assert_eq!(listener.named("fanfare.end").json()["channel"], "a");
    patch(r#"{"remove": ["b"]}"#);
    let told = rest(&mut listener);
    let subscription = heard("fanfare.subscription", r#"{"revision":4,"channels":["a"],"patterns":[]}"#);
    assert_eq!(told, [subscription, heard("fanfare.bye", BYE)]);
    let headers = [("Last-Event-ID", listener.last_event_id())];
    assert_eq!(hub.request("GET", &format!("/events?{query}"), &headers, b"").status, 204);
}

#[test]
fn a_stream_with_an_id_of_its_own_is_sent_away_once_it_has_all_and_not_before() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    for channel in ["a", "b"] {
        (0..3).for_each(|n| drop(hub.publish(channel, &format!("{channel}{n}"))));
        assert_eq!(hub.post(&format!("/channels/{channel}/end"), "").status, 200);
    }
    let query = "channel=a&since=start&stream=5f1d9a526f0b4f7e9c390d7c1d5a2b11";
    let mut listener = hub.listen(query);
    assert_eq!(listener.next().data, "a0");
    let part = listener.last_event_id().to_owned();
    assert_eq!(listener.named("fanfare.bye").json()["reason"], "ended");
    let back = |id: &str| hub.request("GET", &format!("/events?{query}"), &[("Last-Event-ID", id)], b"").status;
    assert_eq!(back(listener.last_event_id()), 204);
    // From within the backfill the rest of it comes.
    let told = rest(&mut hub.resume(query, &part));
    let of_a = [heard("message", "a1"), heard("message", "a2"), heard("fanfare.end", END), heard("fanfare.bye", BYE)];
    assert_eq!(told, of_a);
    // What was added meanwhile is yet to come, though its end is long past.
    let headers = [("Content-Type", "application/json")];
    let body = br#"{"add": [{"channel": "b", "since": "start"}]}"#;
    let id = listener.last_event_id().to_owned();
    assert_eq!(hub.request("PATCH", "/streams/5f1d9a526f0b4f7e9c390d7c1d5a2b11", &headers, body).status, 200);
    let mut listener = hub.resume(query, &id);
    let told: Vec<String> = rest(&mut listener).into_iter().map(|(_, data)| data).collect();
    assert_eq!(told[..3], ["b0", "b1", "b2"]);
    assert_eq!(told.last().unwrap(), BYE);
    assert_eq!(back(listener.last_event_id()), 204);
    // Whoever comes without an id has nothing of it.
    assert_eq!(rest(&mut hub.listen(query)).last(), Some(&heard("fanfare.bye", BYE)));
}

#[test]
fn a_streamed_answer_survives_any_cut_byte_for_byte() {
    let seed = std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("repeat this run with FANFARE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = folder();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let start = || Hub::start_with(folder.path(), &["--listen", &listen]);
    let mut hub = start();
    let fence = hub.post("/channels/answer/producer", "").json()["fence"].clone();
    let tokens: Vec<String> = (0..400)
        .map(|at| ["\n", " ", "\r\nä ", "", "tok\n\n", "🎺"][at % 6].repeat(at % 4) + &at.to_string())
        .collect();
    let mut text = String::new();
    let (mut ends, mut cuts, mut id) = (0, 0, String::new());
    let mut listener = hub.listen("channel=answer&since=start&as=json");
    for (at, token) in tokens.iter().enumerate() {
        let path = format!("/channels/answer?fence={fence}");
        assert_eq!(hub.post(&path, token).status, 200);
        let is_restart = at % 100 == 40 || at % 100 == 80;
        if is_restart || rng.random_bool(0.7) {
            cuts += 1;
            // In the middle of whatever is on its way, or not.
            let mut heard = Vec::new();
            let _ = listener.read_bytes(rng.random_range(1..300), &mut heard);
            take(&heard, &mut text, &mut ends);
            listener.last_event_id().clone_into(&mut id);
            if is_restart {
                if at % 100 == 40 {
                    hub.kill9();
                } else {
                    hub.terminate();
                    hub.wait();
                }
                hub = start();
            }
            listener = if id.is_empty() {
                hub.listen("channel=answer&since=start&as=json")
            } else {
                hub.resume("channel=answer&since=start&as=json", &id)
            };
        }
    }
    assert_eq!(hub.post("/channels/answer/end", format!(r#"{{"fence": {fence}}}"#)).status, 200);
    let last: Vec<_> = std::iter::from_fn(|| listener.any()).collect();
    take(&last, &mut text, &mut ends);
    assert_eq!(last.last().unwrap().event, "fanfare.bye");
    assert_eq!(text, tokens.concat(), "after {cuts} cuts");
    assert_eq!(ends, 1);
    assert!(cuts >= 200, "{cuts}");
    let headers = [("Last-Event-ID", listener.last_event_id())];
    assert_eq!(hub.request("GET", "/events?channel=answer&since=start", &headers, b"").status, 204);
}

/// Adds what came to the text.
fn take(heard: &[crate::harness::Heard], text: &mut String, ends: &mut usize) {
    for heard in heard {
        match heard.event.as_str() {
            "message" => text.push_str(heard.json()["data"].as_str().unwrap()),
            "fanfare.end" => *ends += 1,
            "fanfare.hello" | "fanfare.bye" => {}
            other => panic!("{other}"),
        }
    }
}
