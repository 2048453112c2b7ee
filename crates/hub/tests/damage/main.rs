//! Folders whose bytes were damaged: cut off files and flipped bits. A hub starts on them, or says by name why it can't; it
//! never delivers a payload that wasn't published; what is missing is told.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fixture;
mod journal;
mod random;
mod samples;
