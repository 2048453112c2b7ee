//! The engine as a program uses it: real threads on a real disk, or on a store that fails when told to.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod damage;
mod ended;
mod endings;
mod expired;
mod figures;
mod flush;
mod hub;
mod reading;
mod reload;
mod retention;
mod since;
#[cfg(target_os = "linux")]
mod slow_readers;
mod store_failure;
