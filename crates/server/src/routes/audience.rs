//! Whom an event is for, where its publisher names no channel, and whom it isn't for; and who listens. The words of it are
//! the same in queries and in JSON.

use std::collections::HashMap;
use std::fmt;

use fanfare_hub::{Draft, Event, PatternChannels, PatternError, Publisher, StreamId, UserName};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::publish_raw::refused_draft;
use crate::door::Door;
use crate::error::{ApiError, Code};
use crate::request::channel_arg::any_pattern;

/// Whom an event is for.
#[derive(Debug)]
pub(super) enum To {
    /// Every stream that doesn't decline.
    Everyone,
    /// Who follows a channel that matches, by its name.
    Pattern(String),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPattern {
    pattern: String,
}

/// Written out, because an untagged enum loses what is wrong.
impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ToVisitor;
        impl<'de> Visitor<'de> for ToVisitor {
            type Value = To;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"everyone\" or an object with `pattern`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<To, E> {
                match word {
                    "everyone" => Ok(To::Everyone),
                    other => {
                        let takes = "it takes \"everyone\" or {\"pattern\": …}";
                        Err(E::custom(format!("{other:?} is nobody to publish to; {takes}")))
                    }
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<To, A::Error> {
                ToPattern::deserialize(MapAccessDeserializer::new(map)).map(|to| To::Pattern(to.pattern))
            }
        }
        deserializer.deserialize_any(ToVisitor)
    }
}

impl To {
    /// The event for these listeners.
    pub(super) fn draft(
        &self,
        door: &Door,
        patterns: &mut Patterns,
        event: Event,
        publisher: Publisher,
    ) -> Result<Draft, ApiError> {
        let draft = match self {
            Self::Everyone => Draft::to_everyone(event, publisher),
            Self::Pattern(text) => Draft::to_channels_of(patterns.channels(door, text)?, event, publisher),
        };
        draft.map_err(|error| refused_draft(&error))
    }
}

/// The patterns that a request publishes to, each with what it met: a batch asks for each of them once.
#[derive(Debug, Default)]
pub(super) struct Patterns(HashMap<String, Result<PatternChannels, ApiError>>);

impl Patterns {
    /// How many different ones there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The channels of a pattern that open streams follow.
    fn channels(&mut self, door: &Door, text: &str) -> Result<&PatternChannels, ApiError> {
        if !self.0.contains_key(text) {
            let met = any_pattern(text)
                .and_then(|pattern| door.hub().channels_of(&pattern).map_err(|error| refused_pattern(&error)));
            self.0.insert(text.to_owned(), met);
        }
        match self.0.get(text) {
            Some(Ok(met)) => Ok(met),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(ApiError::malformed("`to` has no pattern")),
        }
    }
}

/// Why an event can't be published to the channels of a pattern, as the client is told.
fn refused_pattern(error: &PatternError) -> ApiError {
    let code = match error {
        PatternError::Reserved(_) => Code::ReservedChannel,
        PatternError::TooMany(_) => Code::TooManyChannels,
        PatternError::Draft(error) => return refused_draft(error),
    };
    ApiError::new(code, error.to_string())
}

/// Whom an event isn't for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `user` or `stream`")]
pub(super) struct Except {
    user: Option<String>,
    stream: Option<String>,
}

impl Except {
    /// The same event, but not for them. A message's own user is nobody to keep it from: it would wait for ever.
    pub(super) fn of(self, mut draft: Draft, recipient: Option<&UserName>) -> Result<Draft, ApiError> {
        if self.user.is_none() && self.stream.is_none() {
            return Err(ApiError::malformed("`except` is empty; it takes `user`, `stream` or both"));
        }
        if let Some(name) = self.user {
            let user = user("except.user", &name)?;
            if recipient == Some(&user) {
                return Err(ApiError::malformed("`except.user` is the `user` whose inbox the message is for"));
            }
            draft = draft.except_user(user).map_err(|error| refused_draft(&error))?;
        }
        if let Some(id) = self.stream {
            let id: Result<StreamId, _> = id.parse();
            draft = draft.except_stream(id.map_err(|error| ApiError::malformed(format!("`except.stream` {error}")))?);
        }
        Ok(draft)
    }
}

/// A user's name, as the field `field` has it.
pub(super) fn user(field: &str, name: &str) -> Result<UserName, ApiError> {
    UserName::new(name).map_err(|error| ApiError::malformed(format!("`{field}` {error}")))
}

/// Whether a stream wants what is for everyone.
pub(super) fn wants_everyone(word: Option<&str>) -> Result<bool, ApiError> {
    match word {
        None | Some("yes") => Ok(true),
        Some("no") => Ok(false),
        Some(other) => Err(ApiError::malformed(format!("`everyone` is {other:?}; it takes `yes`, `no`"))),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_hub::limits::{BATCH_CHANNELS_MAX, BATCH_PATTERNS_MAX, FOLLOWS_MAX, PATTERN_CHANNELS_MAX};

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn what_is_for_everyone_comes_to_all_who_do_not_decline() {
        let door = TestDoor::open();
        let mut hears = door.get("/events?channel=a").await;
        let mut asks = door.post("/subscribe", r#"{"channels": ["b"], "user": "ada"}"#).await;
        let mut declines = door.get("/events?channel=a&everyone=no").await;
        let mut silent = door.post("/subscribe", r#"{"channels": ["a"], "everyone": false}"#).await;
        for stream in [&mut hears, &mut asks, &mut declines, &mut silent] {
            stream.read_until("fanfare.hello").await;
        }
        let body = r#"{"to": "everyone", "event": "notice", "data": "soon"}"#;
        let receipt = door.post("/publish", body).await.json().await;
        assert_eq!((&receipt["channel"], &receipt["streams"]), (&"@everyone".into(), &2.into()), "{receipt}");
        for stream in [&mut hears, &mut asks] {
            let text = stream.read_until("data: soon\n\n").await;
            assert!(text.contains("event: notice\nchannel: @everyone\n"), "{text}");
        }
        door.post("/channels/a", "next").await;
        for stream in [&mut declines, &mut silent] {
            let text = stream.read_until("data: next\n\n").await;
            assert!(!text.contains("soon"), "{text}");
        }
        assert_eq!(door.get("/channels/@everyone").await.json().await["events"], 1);
    }

    #[tokio::test]
    async fn a_pattern_reaches_each_listener_of_its_channels_once() {
        let door = TestDoor::open();
        let body = r#"{"to": {"pattern": "room:*"}, "data": "all rooms", "idempotency_key": "k"}"#;
        let receipt = door.post("/publish", body).await.json().await;
        let nothing = serde_json::json!({"id": null, "channel": null, "channels": 0, "durability": "transient",
            "streams": 0, "duplicate": false});
        assert_eq!(receipt, nothing, "nobody is there, and nothing is kept");
        let mut both = door.get("/events?channel=room:1&channel=room:2").await;
        let mut one = door.get("/events?channel=room:2").await;
        let mut none = door.get("/events?channel=hall&pattern=lobby:*").await;
        for stream in [&mut both, &mut one, &mut none] {
            stream.read_until("fanfare.hello").await;
        }
        let receipt = door.post("/publish", body).await.json().await;
        assert_eq!(
            (&receipt["channel"], &receipt["channels"], &receipt["streams"]),
            (&"room:1".into(), &2.into(), &2.into())
        );
        let mut three = door.get("/events?channel=room:3").await;
        three.read_until("fanfare.hello").await;
        let again = door.post("/publish", body).await.json().await;
        assert_eq!((&again["id"], &again["duplicate"]), (&receipt["id"], &true.into()), "what was said is the same");
        door.post("/channels?channel=room:1&channel=room:2&channel=hall", "end").await;
        for (stream, count) in [(&mut both, 1), (&mut one, 1), (&mut none, 0)] {
            let text = stream.read_until("data: end\n\n").await;
            assert_eq!(text.matches("data: all rooms").count(), count, "{text}");
        }
        assert_eq!(door.get("/channels/room:2").await.json().await["events"], 2, "who comes later finds it");
    }

    #[tokio::test]
    async fn a_channel_that_has_ended_keeps_no_other_from_getting_what_is_for_a_pattern() {
        let door = TestDoor::open();
        let mut open = door.get("/events?channel=room:1&pattern=room:2").await;
        open.read_until("fanfare.hello").await;
        let mut other = door.get("/events?channel=room:2").await;
        other.read_until("fanfare.hello").await;
        assert_eq!(door.post("/channels/room:2/end", r#"{"reason": "done"}"#).await.status.as_u16(), 200);
        for body in [r#"{"to": {"pattern": "room:*"}, "data": "x"}"#, r#"[{"to": {"pattern": "room:*"}, "data": "x"}]"#]
        {
            assert_eq!(door.post("/publish?atomic=1", body).await.status.as_u16(), 200, "{body}");
        }
        assert_eq!(door.get("/channels/room:1").await.json().await["events"], 2);
        assert_eq!(door.get("/channels/room:2").await.json().await["events"], 1, "its end");
    }

    #[tokio::test]
    async fn a_receipt_counts_the_channels_that_took_it_and_is_the_same_again() {
        let door = TestDoor::open();
        let mut both = door.get("/events?channel=room:1&channel=room:2&channel=state").await;
        both.read_until("fanfare.hello").await;
        let mut one = door.get("/events?channel=room:1").await;
        one.read_until("fanfare.hello").await;
        assert_eq!(door.post("/channels/state?key=k", "v").await.status.as_u16(), 200);
        let body = r#"{"to": {"pattern": "*"}, "data": "x", "idempotency_key": "k"}"#;
        assert_eq!(door.post("/channels/room:1/end", r#"{"reason": "done"}"#).await.status.as_u16(), 200);
        let first = door.post("/publish", body).await.json().await;
        assert_eq!(
            (&first["channel"], &first["channels"], &first["streams"]),
            (&"room:2".into(), &1.into(), &1.into()),
            "{first}"
        );
        assert_eq!(door.post("/channels/room:2/end", r#"{"reason": "done"}"#).await.status.as_u16(), 200);
        let mut again = door.post("/publish", body).await.json().await;
        assert_eq!(again["duplicate"].take(), true, "{again}");
        again["duplicate"] = false.into();
        assert_eq!(again, first);
        let none = door.post("/publish", r#"{"to": {"pattern": "room:*"}, "data": "y"}"#).await.json().await;
        let nothing = serde_json::json!({"id": null, "channel": null, "channels": 0, "durability": "transient",
            "streams": 0, "duplicate": false});
        assert_eq!(none, nothing, "all that match have ended");
    }

    #[tokio::test]
    async fn a_batch_has_so_many_channels_and_patterns_and_no_more() {
        let door = TestDoor::open();
        let channels: Vec<String> = (0..BATCH_CHANNELS_MAX / 20).map(|n| format!("room:{n}")).collect();
        let mut stream = door.post("/subscribe", &serde_json::json!({"channels": channels}).to_string()).await;
        stream.read_until("fanfare.hello").await;
        let batch = |patterns: &mut dyn Iterator<Item = String>| {
            let items: Vec<_> = patterns.map(|of| serde_json::json!({"to": {"pattern": of}, "data": 1})).collect();
            serde_json::json!(items).to_string()
        };
        let wide = |count| batch(&mut std::iter::repeat_n("room:*".to_owned(), count));
        let many = |count| batch(&mut (0..count).map(|n| format!("hall:{n}:*")));
        for (good, bad) in [(wide(20), wide(21)), (many(BATCH_PATTERNS_MAX), many(BATCH_PATTERNS_MAX + 1))] {
            for path in ["/publish", "/publish?atomic=1"] {
                let problem = door.post(path, &bad).await.problem().await;
                assert_eq!(problem["code"], "too_large", "{problem}");
                assert_eq!(problem["item"], serde_json::Value::Null, "it is nobody's fault alone");
            }
            assert_eq!(door.post("/publish", &good).await.status.as_u16(), 200);
        }
        assert_eq!(door.get("/channels/room:7").await.json().await["events"], 20);
    }

    #[tokio::test]
    async fn too_many_channels_are_refused_and_none_gets_anything() {
        let door = TestDoor::open();
        let channels: Vec<String> = (0..=PATTERN_CHANNELS_MAX).map(|n| format!("room:{n}")).collect();
        let mut streams = Vec::new();
        for channels in channels.chunks(FOLLOWS_MAX) {
            let body = serde_json::json!({"channels": channels}).to_string();
            let mut stream = door.post("/subscribe", &body).await;
            stream.read_until("fanfare.hello").await;
            streams.push(stream);
        }
        let batch = r#"[{"to": {"pattern": "room:*"}, "data": 1}, {"to": {"pattern": "room:1*"}, "data": 2}]"#;
        let results = door.post("/publish", batch).await.json().await["results"].clone();
        assert_eq!((&results[0]["code"], &results[0]["item"]), (&"too_many_channels".into(), &0.into()), "{results}");
        assert!(results[0]["detail"].as_str().unwrap().contains("more than 1000 channels"), "{results}");
        assert_eq!(results[1]["channels"], 112, "{results}");
    }

    #[tokio::test]
    async fn a_user_or_a_stream_is_left_out() {
        let door = TestDoor::open();
        let mut ada = door.get("/events?channel=a&user=ada").await;
        let mut own = door.get("/events?channel=a").await;
        let mut other = door.post("/subscribe", r#"{"channels": ["a"], "user": "bob"}"#).await;
        let mut hello = String::new();
        for stream in [&mut ada, &mut other, &mut own] {
            hello = stream.read_until("\n\n").await.to_owned();
        }
        let id =
            hello.split("\"stream\":\"").nth(1).and_then(|rest| rest.get(..32)).expect("the hello names the stream");
        let publish = async |except: &str, data: &str| {
            let body = format!(r#"{{"channel": "a", "data": "{data}", "except": {except}}}"#);
            door.post("/publish", &body).await.json().await["streams"].clone()
        };
        assert_eq!(publish(r#"{"user": "ada"}"#, "to-users").await, 2, "ada isn't counted");
        publish(&format!(r#"{{"stream": "{id}"}}"#), "to-streams").await;
        door.post("/channels/a", "to-all").await;
        for (stream, missing) in [(&mut ada, "to-users"), (&mut own, "to-streams"), (&mut other, "nothing")] {
            let text = stream.read_until("data: to-all\n\n").await;
            let came = ["to-users", "to-streams"].map(|data| text.contains(data));
            assert_eq!(came, ["to-users", "to-streams"].map(|data| data != missing), "{text}");
        }
        let mut replay = door.get("/events?channel=a&user=ada&since=start").await;
        let text = replay.read_until("data: to-all\n\n").await;
        assert!(text.contains("to-streams") && !text.contains("to-users"), "{text}");
    }

    #[tokio::test]
    async fn a_value_may_be_kept_from_the_stream_that_set_it() {
        let door = TestDoor::open();
        let mut own = door.get("/events?channel=s").await;
        let hello = own.read_until("\n\n").await.to_owned();
        let id = hello.split("\"stream\":\"").nth(1).and_then(|rest| rest.get(..32)).expect("it names the stream");
        let body = format!(r#"{{"channel": "s", "key": "k", "data": "mine", "except": {{"stream": "{id}"}}}}"#);
        assert_eq!(door.post("/publish", &body).await.status.as_u16(), 200);
        door.post("/channels/s?key=l", "other").await;
        let text = own.read_until("data: other\n\n").await;
        assert!(!text.contains("mine"), "{text}");
        let mut late = door.get("/events?channel=s").await;
        assert!(late.read_until("data: other\n\n").await.contains("data: mine"), "when it comes back, it is told");
    }

    #[tokio::test]
    async fn what_is_wrong_with_it_is_named() {
        let door = TestDoor::open();
        for (body, named) in [
            (r#"{"to": "all", "data": 1}"#, "`to`: \"all\" is nobody to publish to; it takes \"everyone\" or"),
            (r#"{"to": 7, "data": 1}"#, "`to` is the number 7; it takes \"everyone\""),
            (r#"{"to": {"patern": "a*"}, "data": 1}"#, "`to.patern`; did you mean `pattern`?"),
            (r#"{"to": {}, "data": 1}"#, "`to.pattern` is missing"),
            (r#"{"to": {"pattern": ""}, "data": 1}"#, "`pattern` is empty"),
            (r#"{"to": {"pattern": "@*"}, "data": 1}"#, "`to.pattern` \"@*\" begins with `@`"),
            (r#"{"to": "everyone", "channel": "a", "data": 1}"#, "`to`"),
            (r#"{"to": "everyone", "data": 1, "fence": 1}"#, "`fence` is given beside `to`"),
            (r#"{"to": {"pattern": "a*"}, "data": 1, "fence": 1}"#, "`fence` is given beside `to`"),
            (r#"{"channel": "a", "data": 1, "except": {}}"#, "`except` is empty"),
            (r#"{"channel": "a", "data": 1, "except": "ada"}"#, "an object with `user` or `stream`"),
            (r#"{"channel": "a", "data": 1, "except": {"users": "ada"}}"#, "`except.users`; did you mean `user`?"),
            (r#"{"channel": "a", "data": 1, "except": {"user": ""}}"#, "`except.user` must have 1 to 240 bytes"),
            (r#"{"user": "ada", "data": 1, "except": {"user": "ada"}}"#, "`except.user` is the `user`"),
            (r#"{"channel": "a", "data": 1, "except": {"stream": "7"}}"#, "`except.stream` must be a UUID"),
            (
                r#"{"channel": "a", "data": 1, "key": "k", "except": {"user": "ada"}}"#,
                "`key` is given with `except.user`",
            ),
            (r#"{"channel": "a", "delete": true, "key": "k", "except": {"user": "ada"}}"#, "`except.user`"),
        ] {
            let problem = door.post("/publish", body).await.problem().await;
            let code = match named {
                "`pattern` is empty" => "bad_channel",
                named if named.contains("begins with") => "reserved_channel",
                _ => "malformed",
            };
            assert_eq!(problem["code"], code, "{body}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(named), "{body}: {problem}");
        }
        assert_eq!(door.get("/inbox/ada").await.json().await["unread"], 0);
        let others = r#"{"user": "ada", "data": 1, "except": {"user": "bob"}}"#;
        assert_eq!(door.post("/publish", others).await.status.as_u16(), 200);
        for (path, named) in [
            ("/events?channel=a&everyone=maybe", "`everyone` is \"maybe\"; it takes `yes`, `no`"),
            ("/events?channel=a&user=", "`user` must have 1 to 240 bytes; it has 0"),
            ("/events?channel=a&user=a*", "`user` has a `*`"),
        ] {
            let problem = door.get(path).await.problem().await;
            assert!(problem["detail"].as_str().unwrap().contains(named), "{path}: {problem}");
        }
    }
}
