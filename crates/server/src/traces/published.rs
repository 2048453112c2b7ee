//! What a request has published, left on its answer for the end of its span.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};
use fanfare_hub::Receipt;

use crate::door::Door;

/// Left on the answer of a request that published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// How many events the log has taken.
    pub(crate) events: usize,
    /// How safe they are, `mixed` where they differ; none where there are none.
    pub(crate) durability: Option<&'static str>,
    /// When the log was asked, by the door's clock.
    pub(crate) asked: Duration,
    /// When it had answered, by the same clock.
    pub(crate) answered: Duration,
}

impl Published {
    /// What the log, asked at this time, has just answered.
    pub(crate) fn now<'r>(door: &Door, asked: Duration, receipts: impl IntoIterator<Item = &'r Receipt>) -> Self {
        let (mut events, mut durability) = (0, None);
        for receipt in receipts {
            events += 1;
            durability = match durability {
                Some(other) if other != receipt.durability => Some("mixed"),
                _ => Some(receipt.durability),
            };
        }
        Self { events, durability, asked, answered: door.uptime() }
    }
}

impl IntoResponseParts for Published {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}
