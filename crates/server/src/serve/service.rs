//! What a service manager such as systemd and a server say to each other: listening sockets that the manager holds and hands
//! over (`LISTEN_FDS`), so that a restart refuses no connection, and the words that the server is ready, or stopping
//! (`NOTIFY_SOCKET`). Without a manager none of it happens.

use std::net::TcpListener as StdListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

use crate::serve::listener::{ListenError, check_reach};

/// The listening sockets that were handed over; none where there is no manager, or it holds none for this process.
///
/// # Errors
///
/// When one can't be used, or is open to other machines without `allow_anyone`.
pub(crate) fn inherited(allow_anyone: bool) -> Result<Vec<TcpListener>, ListenError> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for place in 0..handed.len() {
        if let Some(listener) = handed.take_tcp_listener(place).map_err(ListenError::Inherited)? {
            listeners.push(checked(listener, allow_anyone)?);
        }
    }
    if !listeners.is_empty() {
        tracing::info!(
            sockets = listeners.len(),
            "listening on what the service manager holds; `listen` counts for nothing"
        );
    }
    Ok(listeners)
}

fn checked(listener: StdListener, allow_anyone: bool) -> Result<TcpListener, ListenError> {
    let address = listener.local_addr().map_err(ListenError::Inherited)?;
    check_reach(address, allow_anyone)?;
    listener.set_nonblocking(true).map_err(ListenError::Inherited)?;
    TcpListener::from_std(listener).map_err(ListenError::Inherited)
}

/// Tells the manager that connections are served.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// Tells the manager that the server is on its way out.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_handed_over_must_be_allowed_like_what_is_bound() {
        let bind = |address: &str| StdListener::bind(address).unwrap();
        assert!(checked(bind("127.0.0.1:0"), false).is_ok());
        assert!(matches!(checked(bind("0.0.0.0:0"), false), Err(ListenError::OpenToAnyone(_))));
        assert!(checked(bind("0.0.0.0:0"), true).is_ok());
    }
}
