//! A stream that has an encrypted HTTP/1.1 connection for itself. The hub can't write to its socket, since what leaves there
//! is TLS's, so a task carries the stream's bytes from its mailbox into TLS: all that is left of HTTP is the head.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use fanfare_hub::Stream;
use fanfare_hub::limits::IGNORED_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Writes the head, then the stream until it ends or the client leaves; then closes the connection in order. Whoever takes
/// nothing is cut by the socket's own watch.
pub(crate) async fn deliver<I: AsyncRead + AsyncWrite + Unpin>(mut io: I, stream: Stream, head: Vec<u8>) {
    if let Err(error) = carry(&mut io, stream, head).await {
        tracing::debug!(%error, "a stream broke off");
    }
}

async fn carry<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, mut stream: Stream, head: Vec<u8>) -> io::Result<()> {
    io.write_all(&head).await?;
    drop(head);
    // Client bytes that were ignored so far.
    let mut ignored: u32 = 0;
    loop {
        // What follows is written together with what is there already.
        io.flush().await?;
        let next = poll_fn(|cx| match stream.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Ok(next)),
            // The client says nothing that matters; but it may leave.
            Poll::Pending => poll_ignore(io, cx, &mut ignored).map_ok(|()| None),
        });
        match next.await? {
            Some(bytes) => io.write_all(&bytes).await?,
            None => return io.shutdown().await,
        }
    }
}

/// Reads what the client says, which means nothing any more. Ready once it has left, or said too much.
fn poll_ignore<I: AsyncRead + Unpin>(io: &mut I, cx: &mut Context<'_>, ignored: &mut u32) -> Poll<io::Result<()>> {
    let mut bytes = [0; 1024];
    loop {
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut buf))?;
        *ignored = ignored.saturating_add(buf.filled().len() as u32);
        if buf.filled().is_empty() || *ignored > IGNORED_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_hub::{ChannelName, Event, Follows, Hub, Since, Subscribe};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::connection::watched::Watched;

    /// A stream of `bytes` and more, from the beginning of a channel.
    async fn stream(hub: &Hub, bytes: usize) -> Stream {
        let channel = ChannelName::new("a").unwrap();
        for _ in 0..=bytes / 100_000 {
            hub.publish("a", Event::text("x".repeat(100_000))).await.unwrap();
        }
        let follows = Follows::new(vec![(channel, Since::Start)], Vec::new());
        hub.reserve(Subscribe { follows, ..Subscribe::default() }).unwrap().into_stream()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let stream = stream(&hub, 8_000_000).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let io = Watched::new(listener.accept().await.unwrap().0);
        deliver(io, stream, b"head".to_vec()).await;
        drop(client);
        hub.close().await;
    }
}
