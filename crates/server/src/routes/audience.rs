//! Whom an event is for, where its publisher names no channel, and whom it isn't for; and who listens. The words of it are
//! the same in queries and in JSON.

use std::fmt;

use fanfare_hub::{Draft, DraftError, Event, Publisher, StreamId, UserName};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::publish_raw::refused_draft;
use crate::error::ApiError;

/// Whom an event is for.
#[derive(Debug)]
pub(super) enum To {
    /// Every stream that doesn't decline.
    Everyone,
}

/// Written out, because an untagged enum loses what is wrong.
impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ToVisitor;
        impl Visitor<'_> for ToVisitor {
            type Value = To;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"everyone\"")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<To, E> {
                match word {
                    "everyone" => Ok(To::Everyone),
                    other => Err(E::custom(format!("{other:?} is nobody to publish to; it takes \"everyone\""))),
                }
            }
        }
        deserializer.deserialize_any(ToVisitor)
    }
}

impl To {
    /// The event for these listeners.
    pub(super) fn draft(self, event: Event, publisher: Publisher) -> Result<Draft, ApiError> {
        let refused = |error: DraftError| refused_draft(&error);
        match self {
            Self::Everyone => Draft::to_everyone(event, publisher).map_err(refused),
        }
    }
}

/// Whom an event isn't for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `user` or `stream`")]
pub(super) struct Except {
    user: Option<String>,
    stream: Option<String>,
}

impl Except {
    /// The same event, but not for them.
    pub(super) fn of(self, mut draft: Draft) -> Result<Draft, ApiError> {
        if self.user.is_none() && self.stream.is_none() {
            return Err(ApiError::malformed("`except` is empty; it takes `user`, `stream` or both"));
        }
        if let Some(name) = self.user {
            draft = draft.except_user(user("except.user", &name)?);
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
    async fn what_is_wrong_with_it_is_named() {
        let door = TestDoor::open();
        for (body, named) in [
            (r#"{"to": "all", "data": 1}"#, "`to`: \"all\" is nobody to publish to; it takes \"everyone\""),
            (r#"{"to": 7, "data": 1}"#, "`to`: invalid type: integer `7`, expected \"everyone\""),
            (r#"{"to": "everyone", "channel": "a", "data": 1}"#, "`to`"),
            (r#"{"channel": "a", "data": 1, "except": {}}"#, "`except` is empty"),
            (r#"{"channel": "a", "data": 1, "except": "ada"}"#, "an object with `user` or `stream`"),
            (r#"{"channel": "a", "data": 1, "except": {"users": "ada"}}"#, "`users`"),
            (r#"{"channel": "a", "data": 1, "except": {"user": ""}}"#, "`except.user` must have 1 to 240 bytes"),
            (r#"{"channel": "a", "data": 1, "except": {"stream": "7"}}"#, "`except.stream` must be a UUID"),
        ] {
            let problem = door.post("/publish", body).await.problem().await;
            assert_eq!(problem["code"], "malformed", "{body}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(named), "{body}: {problem}");
        }
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
