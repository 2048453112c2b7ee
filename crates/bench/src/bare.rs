//! The bare loop: the least that any server of event streams has to do, as a server. What it reaches on a machine is the
//! limit against which a real server's figures are held.
//!
//! One thread takes what publishers post, appends it to a file with one sync for all that arrived together, and
//! acknowledges it; another gives everything that waits to every stream in one send. It knows no channels, no grants, no
//! limits, no errors worth the name, and trusts everybody: what is posted must be one line.
//!
//! ```text
//! POST ─▶ door ─▶ file (write, sync) ─▶ acknowledgement
//!           └──▶ handover ─▶ deliverer: tape ─▶ sockets
//! ```

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use crate::bare::deliverer::Deliverer;
use crate::bare::door::Door;
use crate::bare::handover::Handover;
use crate::error::MeasureError;

mod deliverer;
mod door;
mod handover;
mod request;
mod tape;

/// How the bare loop runs.
#[derive(Clone, Debug, clap::Args)]
pub struct BareOptions {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The folder of the data; made if it isn't there.
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// Gives every event to every stream in a send of its own, as simple servers do.
    #[arg(long)]
    pub one_send_per_event: bool,
    /// Bytes of events that are kept in memory for streams that come back. More are kept while an open stream still
    /// needs them.
    #[arg(long, default_value_t = 64 * 1024 * 1024)]
    pub window_bytes: usize,
}

/// Serves until the process ends.
///
/// # Errors
///
/// When the address or the folder can't be used.
pub fn serve(options: &BareOptions) -> Result<(), MeasureError> {
    std::fs::create_dir_all(&options.data)?;
    let file = std::fs::File::options().create(true).append(true).open(options.data.join("tape"))?;
    let listener = listen(options.listen)?;
    let address = listener.local_addr()?;

    let (deliverer, waker) = Deliverer::new(options)?;
    let handover = Arc::new(Handover::new(waker));
    let delivering = {
        let handover = Arc::clone(&handover);
        std::thread::Builder::new().name("deliver".into()).spawn(move || deliverer.run(&handover))?
    };
    let mut door = Door::new(listener, file, &handover)?;
    println!("listening on http://{address}");
    let result = door.run();
    handover.close();
    delivering.join().map_err(|_| MeasureError::Limit)??;
    result
}

/// A listener whose queue holds all that connect in one moment.
fn listen(address: SocketAddr) -> Result<TcpListener, MeasureError> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4_096)?;
    Ok(socket.into())
}
