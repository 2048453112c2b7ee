//! How JSON names what to follow: a name alone, or an object that says more.

use std::fmt;
use std::marker::PhantomData;

use fanfare_hub::Since;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::error::ApiError;

/// A channel.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelSince {
    pub(crate) channel: String,
    pub(crate) since: Option<String>,
}

/// A pattern.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatternSince {
    pub(crate) pattern: String,
    pub(crate) since: Option<String>,
}

/// A name alone, or an object that says more. Written out, because an untagged enum loses what is wrong with the object.
#[derive(Debug)]
pub(crate) enum NameOr<T> {
    Name(String),
    Object(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NameOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = NameOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or an object with a name and `since`")
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(NameOr::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(NameOr::Object)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Reads from when on; `place` is where it stands in the body.
pub(crate) fn since(place: &str, text: &str) -> Result<Since, ApiError> {
    text.parse().map_err(|error| ApiError::malformed(format!("`{place}` is {text:?}: {error}")))
}
