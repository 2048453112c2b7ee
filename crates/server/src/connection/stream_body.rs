//! An open stream as the body of a response. The stream's own shard decides what is sent and when it ends; dropping the
//! body, as when the client has gone, closes the stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fanfare_hub::Stream;
use http_body::{Body, Frame};

/// A body that lasts as long as its stream.
#[derive(Debug)]
pub(crate) struct StreamBody(pub(crate) Stream);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
