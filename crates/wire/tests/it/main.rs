//! The wire format from outside: fixtures shared with other languages, properties, refusals.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod encoding;
mod fixtures;
mod limits;
mod properties;
mod property;
