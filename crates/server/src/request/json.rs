//! Bodies that are JSON: read strictly, and refused in words of JSON.
//!
//! What a struct describes is taken from an object only, and what an enum does from a string only, wherever in a body it is
//! (see [`objects`]): otherwise an array would be read by the order of the struct's fields, which nobody promised. What
//! members mean is the routes'.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use self::objects::Objects;
use crate::error::{ApiError, Code};

mod objects;
mod words;

/// Reads JSON that may be left out: then all of it is as by default.
pub(crate) fn read_if_any<'a, T: Deserialize<'a> + Default>(bytes: &'a [u8]) -> Result<T, ApiError> {
    if bytes.trim_ascii().is_empty() { Ok(T::default()) } else { read(bytes) }
}

/// Reads JSON; the refusal says where it is wrong, or which member.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        ApiError::new(Code::NotUtf8, format!("the body is not valid UTF-8 (byte {})", error.valid_up_to()))
    })?;
    let mut json = Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let place = words::place(error.path());
        refusal(text, &place, &error.into_inner())
    })?;
    json.end().map_err(|error| refusal(text, "", &error))?;
    Ok(value)
}

/// Whether something is JSON, whatever it means.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Why a text is not taken. It may be JSON all the same, and have a number that is too large.
fn refusal(text: &str, place: &str, error: &serde_json::Error) -> ApiError {
    if error.is_data() || is_json(text.as_bytes()) {
        ApiError::malformed(words::of_member(place, error))
    } else if text.trim_ascii().is_empty() {
        ApiError::new(Code::BadJson, "the body is empty; it takes JSON")
    } else {
        ApiError::new(Code::BadJson, words::of_syntax(error))
    }
}

#[cfg(test)]
mod tests;
