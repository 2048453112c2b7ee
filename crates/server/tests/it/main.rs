//! The whole server, as clients meet it: the real binary or the real router on a port of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits on real clocks for real processes"
)]

mod bad_input;
mod bad_peers;
mod bad_readers;
mod command_line;
mod crash;
mod data;
mod disk_failure;
mod disk_full;
mod ended;
mod gap;
mod harness;
mod http;
mod http2;
#[cfg(target_os = "linux")]
mod http2_abuse;
mod inbox;
mod proxy;
mod publish;
mod publishers;
mod race;
mod read;
mod restart;
mod resume;
mod secure;
mod settings;
mod since;
mod socket;
mod state;
mod steer;
#[cfg(target_os = "linux")]
mod stepped_clock;
mod stop;
mod stream;
mod tls;
#[cfg(target_os = "linux")]
mod vanished;
