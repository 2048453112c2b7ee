//! How many files the process may have open: each connection is one. Systems start programs with a low limit that they may
//! raise themselves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the store, logs and threads have open, about.
const BESIDE_CONNECTIONS: u64 = 300;

/// Raises the limit as far as the system allows, and says so where that doesn't suffice for so many connections.
pub(crate) fn allow(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None means that there is no limit.
    if current.is_none() || current == maximum {
        return check(current, connections);
    }
    // Some systems have no limit but refuse to set none, so ask for what is needed.
    let needed = connections as u64 + BESIDE_CONNECTIONS;
    let wanted = Some(maximum.unwrap_or(u64::MAX).min(needed.max(current.unwrap_or(0))));
    match setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }) {
        Ok(()) => check(wanted, connections),
        Err(error) => {
            tracing::debug!(%error, "the limit of open files could not be raised");
            check(current, connections);
        }
    }
}

fn check(limit: Option<u64>, connections: usize) {
    if let Some(limit) = limit
        && limit < connections as u64 + BESIDE_CONNECTIONS
    {
        let room = limit.saturating_sub(BESIDE_CONNECTIONS);
        tracing::warn!(
            "the system allows this process {limit} open files, which is room for about {room} of {connections} \
             connections; raise `ulimit -n`, or `LimitNOFILE=` in a systemd unit"
        );
    }
}
