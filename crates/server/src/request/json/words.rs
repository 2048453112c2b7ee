//! What is wrong with a body, in words of JSON: `serde` speaks of sequences, maps and `u64`.

use std::fmt::Write as _;

use serde_path_to_error::{Path, Segment};

use crate::request::query::closest;

/// Most characters of a value that are told.
const TOLD_MAX: usize = 80;

/// Where in a body something is: `channels[0].since`. Empty where it is the body, or where nobody knows.
pub(super) fn place(path: &Path) -> String {
    let mut place = String::new();
    for segment in path {
        let written = match segment {
            Segment::Seq { index } => write!(place, "[{index}]"),
            Segment::Map { key } if place.is_empty() => write!(place, "{key}"),
            Segment::Map { key } => write!(place, ".{key}"),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
        // A string takes everything.
        debug_assert!(written.is_ok());
    }
    place
}

/// What is wrong with a text that is no JSON, and where.
pub(super) fn of_syntax(error: &serde_json::Error) -> String {
    let message = message(error);
    let said = match message.as_str() {
        "EOF while parsing an object" => "it ends in the middle of an object",
        "EOF while parsing a list" => "it ends in the middle of an array",
        "EOF while parsing a string" => "it ends in the middle of a string",
        other if other.starts_with("EOF") => "it ends in the middle of a value",
        "trailing characters" => "something follows it",
        "expected value" | "expected ident" => "there is no value",
        other => other,
    };
    format!("this is not JSON: {said} (line {}, column {})", error.line(), error.column())
}

/// What is wrong with a part of a body that is JSON.
pub(super) fn of_member(place: &str, error: &serde_json::Error) -> String {
    let message = message(error);
    let it = if place.is_empty() { "the body".to_owned() } else { format!("`{place}`") };
    // A value may have this word in it, what is expected never has.
    let (found, expected) = message.rsplit_once(", expected ").unwrap_or((&message, ""));
    if let Some(value) = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: ")) {
        return format!("{it} is {}; it takes {}", value_of(value), type_of(expected));
    }
    let named = |prefix| found.strip_prefix(prefix)?.strip_suffix('`');
    if let Some(word) = named("unknown variant `") {
        return format!("{it} is {word:?}; it takes {}", expected.trim_start_matches("one of "));
    }
    if let Some(name) = named("unknown field `") {
        let whole = if place.ends_with(name) { place } else { name };
        return format!("unknown member `{}`; {}", told(&whole.escape_debug().to_string()), advice(name, expected));
    }
    if let Some(name) = named("missing field `") {
        return format!("`{place}{}{name}` is missing", if place.is_empty() { "" } else { "." });
    }
    if let Some(name) = named("duplicate field `") {
        return format!("`{name}` is given twice");
    }
    // What a member says of itself.
    if message.starts_with(&it) { message } else { format!("{it}: {message}") }
}

/// The message of an error, without the place in the text.
fn message(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    whole.strip_suffix(&place).map(str::to_owned).unwrap_or(whole)
}

/// A value that was found.
fn value_of(found: &str) -> String {
    let within = |prefix| found.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix('`'));
    match found {
        "sequence" => "an array".into(),
        "map" => "an object".into(),
        "unit value" => "null".into(),
        _ => {
            let number = within("integer `").or_else(|| within("floating point `")).map(|n| format!("the number {n}"));
            let word = || within("boolean `").map(str::to_owned);
            let text = || found.strip_prefix("string ").map(told);
            number.or_else(word).or_else(text).unwrap_or_else(|| told(found))
        }
    }
}

/// What is taken.
fn type_of(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        other => other,
    }
}

/// Which member was probably meant.
fn advice(name: &str, expected: &str) -> String {
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match closest(name, &known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "none are taken here".to_owned(),
        None => {
            format!("known here: {}", known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// As much of a text as is told.
fn told(text: &str) -> String {
    match text.char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
