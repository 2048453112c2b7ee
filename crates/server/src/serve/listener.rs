//! Where the server listens: addresses read, checked and bound, and the loop that accepts connections.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_hub::Hub;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::config::as_text;
use crate::connection::{self, Entrance};
use crate::limits::{BACKLOG, KEEPALIVE, KEEPALIVE_AGAIN, STOP_WAIT_MAX};
use crate::serve::stop::Stopped;

/// The port where nothing else is said.
pub(crate) const PORT: u16 = 8080;

/// How long accepting pauses after it failed, as when no file descriptors are left: long enough not to spin, short enough
/// not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are accepted before those accepted are served: a crowd that comes at once then takes memory a few at a
/// time, since most are done with HTTP as soon as they are looked at.
const ACCEPTED_IN_A_ROW: usize = 8;

/// How often a free port is looked for that both loopback addresses have.
const FREE_PORT_TRIES: usize = 16;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// `localhost:PORT`: both loopback addresses, with the same port. Port 0 takes one that is free.
    Localhost(u16),
    /// One address.
    Address(SocketAddr),
}

/// A text that is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address; it takes `localhost:PORT`, `127.0.0.1:PORT` or `[::1]:PORT`")]
pub struct NotAnAddress(String);

impl FromStr for Listen {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let refused = || NotAnAddress(text.to_owned());
        match text.strip_prefix("localhost:") {
            Some(port) => port.parse().map(Self::Localhost).map_err(|_| refused()),
            None => text.parse().map(Self::Address).map_err(|_| refused()),
        }
    }
}

as_text!(Listen);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Why the server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is open to others, which nobody allowed.
    #[error(
        "{0} can be reached from other machines, and everyone who reaches it may publish and listen; \
         say --allow-anyone (`door.allow_anyone = true`) if that is meant"
    )]
    OpenToAnyone(SocketAddr),
    /// A socket that was handed over can't be used.
    #[error("a socket that the service manager handed over can't be listened on")]
    Inherited(#[source] io::Error),
    /// Somebody else has the port.
    #[error("port {} of {} is in use; choose another with --listen localhost:PORT", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// The system refuses.
    #[error("can't listen on {0}")]
    Failed(SocketAddr, #[source] io::Error),
}

/// Binds all addresses, or none.
///
/// # Errors
///
/// When one can't be bound, or is open to other machines without `allow_anyone`.
pub(crate) fn bind(addresses: &[Listen], allow_anyone: bool) -> Result<Vec<TcpListener>, ListenError> {
    for listen in addresses {
        if let Listen::Address(address) = listen {
            check_reach(*address, allow_anyone)?;
        }
    }
    let mut listeners = Vec::new();
    for listen in addresses {
        match *listen {
            Listen::Address(address) => listeners.push(bind_one(address)?),
            Listen::Localhost(port) => listeners.extend(bind_localhost(port)?),
        }
    }
    Ok(listeners)
}

/// Warns of an address that other machines can reach, or refuses it where that isn't meant.
///
/// # Errors
///
/// When it isn't allowed.
pub(crate) fn check_reach(address: SocketAddr, allow_anyone: bool) -> Result<(), ListenError> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if !allow_anyone {
        return Err(ListenError::OpenToAnyone(address));
    }
    tracing::warn!("{address} can be reached from other machines; everyone who reaches it may publish and listen");
    Ok(())
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of before a restart, which the system still remembers, don't hold the port.
        socket.set_reuseaddr(!cfg!(windows))?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error: io::Error| match error.kind() {
        ErrorKind::AddrInUse => ListenError::InUse(address),
        _ => ListenError::Failed(address, error),
    })
}

/// Binds both loopback addresses to one port; IPv4 alone on a machine that has no IPv6.
fn bind_localhost(port: u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut tries = if port == 0 { FREE_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let v4 = bind_one((Ipv4Addr::LOCALHOST, port).into())?;
        let both = v4.local_addr().map_or(port, |address| address.port());
        match bind_one((Ipv6Addr::LOCALHOST, both).into()) {
            Ok(v6) => return Ok(vec![v4, v6]),
            // The port was free with IPv4 only; another one will do.
            Err(ListenError::InUse(_)) if tries > 0 => {}
            Err(ListenError::Failed(address, error)) => {
                tracing::warn!(%error, "this machine has no IPv6 loopback; going on without {address}");
                return Ok(vec![v4]);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The addresses that were bound, as a browser takes them.
pub(crate) fn urls(listeners: &[TcpListener], is_encrypted: bool) -> Vec<String> {
    let scheme = if is_encrypted { "https" } else { "http" };
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    let url = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", address.port()),
    };
    addresses.map(url).collect()
}

/// How many connections there may be. Streams that have their socket for themselves count too.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    size: Arc<AtomicUsize>,
    hub: Hub,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Room {
    pub(crate) fn new(hub: Hub, connections_max: usize) -> Self {
        Self { taken: Arc::default(), size: Arc::new(connections_max.into()), hub }
    }

    /// Changes how many places there are. Nobody is sent away.
    pub(crate) fn resize(&self, connections_max: usize) {
        self.size.store(connections_max, Ordering::Relaxed);
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let taken = self.taken.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.taken.clone());
        (taken + self.hub.open_streams() < self.size.load(Ordering::Relaxed)).then_some(place)
    }
}

/// Accepts connections until told to stop, then waits for them to end; those that take too long are cut.
pub(crate) async fn accept(listener: TcpListener, entrance: Entrance, room: Room, mut stopped: Stopped) {
    let mut connections = JoinSet::new();
    // What goes on for a while is logged when it begins.
    let (mut was_full, mut has_failed) = (false, false);
    let mut in_a_row = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped.wait() => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                let Some(place) = room.take() else {
                    entrance.counts.refused.add();
                    if !was_full {
                        tracing::warn!("there are as many connections as there may be; further ones are closed");
                    }
                    was_full = true;
                    continue;
                };
                (was_full, has_failed) = (false, false);
                keep_alive(&socket);
                let accepted = entrance.counts.accept();
                let served = connection::serve(socket, place, entrance.by(peer), stopped.clone());
                connections.spawn(async move {
                    served.await;
                    drop(accepted);
                });
                in_a_row += 1;
                if in_a_row % ACCEPTED_IN_A_ROW == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                entrance.counts.accept_failed.add();
                if !has_failed {
                    tracing::error!(%error, "no connection can be accepted; trying on");
                }
                has_failed = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WAIT_MAX, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections that did not end in time are cut");
        connections.shutdown().await;
    }
}

/// Has the system find out who vanished without a word, also where nothing is sent: by default it asks after two hours.
fn keep_alive(socket: &TcpStream) {
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&probes) {
        tracing::debug!(%error, "a socket has the system's own keepalive times");
    }
}

/// Whether an error is about the connection that would have been accepted, so that the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_can_grow_and_shrink_under_those_who_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let room = Room::new(hub.clone(), 2);
        let (first, second) = (room.take(), room.take());
        assert!(first.is_some() && second.is_some() && room.take().is_none());
        room.resize(3);
        let third = room.take();
        assert!(third.is_some() && room.take().is_none());
        room.resize(1);
        drop((second, third));
        assert!(room.take().is_none(), "as many are there as may be");
        drop(first);
        assert!(room.take().is_some());
        hub.close().await;
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!("localhost:0".parse(), Ok(Listen::Localhost(0)));
        assert_eq!("127.0.0.1:80".parse(), Ok(Listen::Address("127.0.0.1:80".parse().unwrap())));
        assert_eq!("[::1]:80".parse(), Ok(Listen::Address("[::1]:80".parse().unwrap())));
        for text in ["", "8080", ":8080", "localhost", "localhost:x", "localhost:65536", "example.com:80", "::1:80x"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn localhost_is_both_addresses_with_one_port() {
        let listeners = bind(&[Listen::Localhost(0)], false).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
        assert!(urls(&listeners, false)[0].starts_with("http://127.0.0.1:"));
    }

    #[tokio::test]
    async fn what_others_can_reach_must_be_allowed() {
        let open = Listen::Address("0.0.0.0:0".parse().unwrap());
        let error = bind(&[Listen::Localhost(0), open], false).unwrap_err();
        assert!(error.to_string().contains("--allow-anyone"));
        assert_eq!(bind(&[open], true).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_flag_that_helps() {
        let taken = bind(&[Listen::Localhost(0)], false).unwrap();
        let port = taken[0].local_addr().unwrap().port();
        let error = bind(&[Listen::Localhost(port)], false).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port}")) && error.contains("--listen"), "{error}");
    }
}
