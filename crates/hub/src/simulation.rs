//! The whole engine, without threads and with a clock that stands still, against naive references: one for events, one for
//! values of keys, one for inboxes. One number decides a whole run.

mod connection;
mod events;
mod inbox;
mod pieces;
mod state;

/// Runs worlds with these seeds, or with that of `FANFARE_SEED` alone, and says which one it was if one fails.
fn run_seeds(of: &str, count: u64, count_long: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let named = std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let count = if std::env::var_os("FANFARE_LONG").is_some() { count_long } else { count };
    for seed in named.map_or(0..count, |seed| seed..seed + 1) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("the simulation of {of} failed; repeat it with FANFARE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
