//! The scenarios: each starts a server, loads it in one way, counts what was lost, doubled or out of order on every
//! stream, and tells its figures. A file for each.

pub mod bad_peers;
pub mod burst;
pub mod channels;
pub mod closings;
pub mod fan_out;
pub mod idle;
pub mod many_channels;
pub mod patterns;
pub mod publish;
pub mod resume_storm;
pub mod slow_readers;
pub mod soak;
mod stage;
pub mod start_up;
