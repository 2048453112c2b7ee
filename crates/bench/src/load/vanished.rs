//! Clients that open a stream and a little later vanish without a word.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::dialect::Dialect;
use crate::error::MeasureError;
use crate::load::cable::Cable;

/// How long such a client waits for its stream to open.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients beyond a cable of whom nothing is heard any more after a while.
#[derive(Debug)]
pub struct Vanished {
    /// Kept, so that their system would still answer if it could.
    sockets: Vec<TcpStream>,
    cable: Arc<Cable>,
    /// Dropped to end the thread.
    end: SyncSender<()>,
    /// Silences the cable; tells whether that went well.
    thread: JoinHandle<bool>,
}

impl Vanished {
    /// Opens so many streams of a path, which vanish `after` so long.
    ///
    /// # Errors
    ///
    /// When the server can't be reached through the cable.
    pub fn open(
        cable: &Arc<Cable>,
        to: SocketAddr,
        (path, count): (&str, usize),
        dialect: fn() -> Box<dyn Dialect>,
        after: Duration,
    ) -> Result<Self, MeasureError> {
        let sockets = cable.beyond(|| (0..count).map(|_| open(to, path, dialect)).collect())?;
        let (end, ended) = sync_channel::<()>(0);
        let silenced = Arc::clone(cable);
        let silence = move || ended.recv_timeout(after) != Err(RecvTimeoutError::Timeout) || silenced.silence(true);
        let thread = thread::Builder::new().name("vanish".into()).spawn(silence)?;
        Ok(Self { sockets, cable: Arc::clone(cable), end, thread })
    }

    /// Lets them go, and the next be heard.
    ///
    /// # Errors
    ///
    /// When they couldn't be silenced.
    pub fn close(self) -> Result<(), MeasureError> {
        drop(self.end);
        let has_worked = self.thread.join().map_err(|_| MeasureError::Thread)?;
        drop(self.sockets);
        self.cable.silence(false);
        if has_worked { Ok(()) } else { Err(MeasureError::Server("can't be cut off from its clients".into())) }
    }
}

/// Opens one.
fn open(to: SocketAddr, path: &str, dialect: fn() -> Box<dyn Dialect>) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&to, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut dialect = dialect();
    socket.write_all(&dialect.open(&to.to_string(), path, None))?;
    let (mut bytes, mut reply) = ([0; 4_096], Vec::new());
    loop {
        let count = socket.read(&mut bytes)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let is_open = dialect.received(bytes.get(..count).unwrap_or_default(), &mut reply);
        socket.write_all(&reply)?;
        reply.clear();
        if is_open {
            return Ok(socket);
        }
    }
}
