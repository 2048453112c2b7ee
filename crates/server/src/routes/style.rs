//! How a stream is to look: the words `as`, `heartbeat`, `hello` and `errors`, the same in the query of `GET /events` and
//! in the JSON of `POST /subscribe`.

use fanfare_hub::{Form, HeartbeatStyle, HelloStyle};

use crate::error::ApiError;

/// How a refusal of the hub itself, full or stopping, reaches the listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ErrorStyle {
    /// As a stream that says when to come back, and ends: any other status closes an `EventSource` for good.
    #[default]
    Stream,
    /// As an honest status, for clients that use fetch.
    Status,
}

/// How a stream is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamStyle {
    pub(crate) form: Form,
    pub(crate) heartbeat: HeartbeatStyle,
    pub(crate) hello: HelloStyle,
    pub(crate) errors: ErrorStyle,
}

impl StreamStyle {
    /// The parameters, as they are called in the query and in JSON.
    pub(crate) const NAMES: [&str; 4] = ["as", "heartbeat", "hello", "errors"];

    /// The style that these words say; where there is none, the default.
    pub(crate) fn of<'a>(word: impl Fn(&str) -> Result<Option<&'a str>, ApiError>) -> Result<Self, ApiError> {
        let [form, heartbeat, hello, errors] = Self::NAMES;
        let forms = [("raw", Form::Raw), ("json", Form::Json)];
        let heartbeats = [("comment", HeartbeatStyle::Comment), ("event", HeartbeatStyle::Event)];
        let hellos = [("event", HelloStyle::Event), ("message", HelloStyle::Message), ("none", HelloStyle::None)];
        let error_styles = [("stream", ErrorStyle::Stream), ("status", ErrorStyle::Status)];
        Ok(Self {
            form: choose(form, word(form)?, &forms)?,
            heartbeat: choose(heartbeat, word(heartbeat)?, &heartbeats)?,
            hello: choose(hello, word(hello)?, &hellos)?,
            errors: choose(errors, word(errors)?, &error_styles)?,
        })
    }
}

/// What a word stands for.
fn choose<T: Copy + Default>(name: &str, word: Option<&str>, choices: &[(&str, T)]) -> Result<T, ApiError> {
    let Some(word) = word else { return Ok(T::default()) };
    choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value).ok_or_else(|| {
        let choices: Vec<String> = choices.iter().map(|(choice, _)| format!("`{choice}`")).collect();
        ApiError::malformed(format!("`{name}` is {word:?}; it takes {}", choices.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_chosen_exactly_and_refused_by_name() {
        let style = StreamStyle::of(|name| Ok((name == "as").then_some("json"))).unwrap();
        assert_eq!(style, StreamStyle { form: Form::Json, ..StreamStyle::default() });
        let error = StreamStyle::of(|name| Ok((name == "hello").then_some("Event"))).unwrap_err();
        assert_eq!(error.detail(), "`hello` is \"Event\"; it takes `event`, `message`, `none`");
    }
}
