//! How a channel ends, for good or until somebody reopens it, and who may publish to it. Both are events of the channel or
//! changes of its row, made by the writer in the order of the log; see `writer/deeds.rs`.
//!
//! An end is an event named `fanfare.end`, so whoever comes late gets the whole story and then the end. The channel's row
//! remembers it, also when retention has removed the event.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::channel::ChannelName;
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::{Event, JSON};
use crate::hub::Hub;
use crate::hub::publish::{PublishError, Receipt};
use crate::limits::PATTERN_CHANNELS_MAX;
use crate::log::append_error::AppendError;
use crate::log::channel_row::EndReason;
use crate::stats::bump;
use crate::store::{Batch, Store, StoreError, Table};

pub(crate) mod witness;

/// The name of the event that ends a channel.
pub const END: &str = "fanfare.end";

/// The name of the event that opens it again.
pub const REOPEN: &str = "fanfare.reopen";

/// What a draft does to its channel, beside being an event of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing: it is an event that somebody publishes.
    #[default]
    None,
    /// It ends the channel.
    End(EndReason),
    /// It opens the channel again.
    Reopen,
    /// It gives the channel its next fence, and is no event.
    Fence,
}

impl Deed {
    /// What an event of a log did, by its name and data. Only the hub gives these names.
    pub(crate) fn of_event(name: &str, data: &[u8]) -> Option<Self> {
        match name {
            END => serde_json::from_slice::<EndData<'_>>(data).ok().map(|data| Self::End(data.reason)),
            REOPEN => Some(Self::Reopen),
            _ => None,
        }
    }
}

/// The data of an end.
#[derive(Debug, Serialize, Deserialize)]
struct EndData<'a> {
    #[serde(borrow)]
    channel: std::borrow::Cow<'a, str>,
    reason: EndReason,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// The data of a reopening.
#[derive(Debug, Serialize)]
struct ReopenData<'a> {
    channel: &'a str,
}

/// What a producer gets for its channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// The channel.
    pub channel: String,
    /// What it publishes with from now on. Whoever has a lower one is refused.
    pub fence: u64,
}

impl Draft {
    /// An end of a channel, with data of the publisher's own as JSON.
    ///
    /// # Errors
    ///
    /// When the channel is one of the hub's own, or the data is too large.
    pub fn ending(
        channel: &ChannelName,
        reason: EndReason,
        data: Option<&RawValue>,
        publisher: Publisher,
    ) -> Result<Self, DraftError> {
        let data = EndData { channel: channel.as_str().into(), reason, data };
        Self::of_hub(channel.clone(), (END, &data), Deed::End(reason), publisher)
    }

    /// What opens a channel again.
    ///
    /// # Errors
    ///
    /// When the channel is one of the hub's own.
    pub fn reopening(channel: &ChannelName, publisher: Publisher) -> Result<Self, DraftError> {
        let data = ReopenData { channel: channel.as_str() };
        Self::of_hub(channel.clone(), (REOPEN, &data), Deed::Reopen, publisher)
    }

    /// What gives a channel its next fence.
    pub(crate) fn fence(channel: ChannelName, publisher: Publisher) -> Result<Self, DraftError> {
        Ok(Self { deed: Deed::Fence, ..Self::new(vec![channel], Event::default(), publisher)? })
    }

    /// An event that only the hub can make.
    fn of_hub(
        channel: ChannelName,
        (name, data): (&str, &impl Serialize),
        deed: Deed,
        publisher: Publisher,
    ) -> Result<Self, DraftError> {
        // Strings and JSON always serialise.
        let data = serde_json::to_vec(data).unwrap_or_default();
        let mut draft = Self::new(vec![channel], Event::text(data).typed(JSON), publisher)?;
        draft.event.name = Some(name.to_owned());
        draft.deed = deed;
        Ok(draft)
    }

    /// An event of another log, which may be one of the hub's.
    pub(crate) fn imported(
        channels: Vec<ChannelName>,
        mut event: Event,
        publisher: Publisher,
    ) -> Result<Self, DraftError> {
        let deed = event.name.as_deref().and_then(|name| Deed::of_event(name, &event.data));
        match deed {
            // Of an event with that many channels nobody knows any more that it had a pattern.
            None => Self::within(PATTERN_CHANNELS_MAX, channels, event, publisher),
            Some(deed) => {
                let name = event.name.take();
                let mut draft = Self { deed, ..Self::new(channels, event, publisher)? };
                draft.event.name = name;
                Ok(draft)
            }
        }
    }
}

/// What is known of ends hub-wide. As long as no channel has ever ended, nobody needs to look whether one has.
#[derive(Debug)]
pub(crate) struct Endings {
    /// Whether a channel has ever ended.
    any: AtomicBool,
    /// Ends since the start, by reason.
    counts: [AtomicU64; EndReason::ALL.len()],
}

/// Where it is kept whether a channel has ever ended, in the table `meta`.
const ANY: &[u8] = b"ends";

impl Endings {
    pub(crate) fn open(store: &dyn Store) -> Result<Self, StoreError> {
        let any = store.get(Table::Meta, ANY)?.is_some();
        Ok(Self { any: AtomicBool::new(any), counts: Default::default() })
    }

    /// Has a batch say that one may have, after that was lost.
    pub(crate) fn restore(batch: &mut Batch) {
        batch.put(Table::Meta, ANY, Bytes::from_static(&[1]));
    }

    /// Whether a channel has ever ended.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// A channel ends. That there are such goes with its commit: said each time, as a commit may fail.
    pub(crate) fn ends(&self, reason: EndReason, batch: &mut Batch) {
        batch.put(Table::Meta, ANY, Bytes::from_static(&[1]));
        self.any.store(true, Ordering::Release);
        if let Some(count) = self.counts.get(reason as usize) {
            bump(count);
        }
    }

    /// Ends since the start, by reason.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        EndReason::ALL.iter().map(|reason| reason.as_str()).zip(counts)
    }
}

impl Hub {
    /// Ends a channel and waits until that is as durable as the channel's rule says. Ending it again for the same reason is
    /// answered with the first receipt.
    ///
    /// # Errors
    ///
    /// When it can't be ended, has ended for another reason, or has a producer: then end it with its fence, by
    /// [`Draft::ending`] and [`Hub::publish_draft`].
    pub async fn end(&self, channel: &str, reason: EndReason) -> Result<Receipt, PublishError> {
        let draft = Draft::ending(&ChannelName::new(channel)?, reason, None, Publisher::Anyone)?;
        self.publish_draft(draft).await
    }

    /// Opens a channel again that has ended.
    ///
    /// # Errors
    ///
    /// When the log did not take it.
    pub async fn reopen(&self, channel: &str) -> Result<Receipt, PublishError> {
        self.publish_draft(Draft::reopening(&ChannelName::new(channel)?, Publisher::Anyone)?).await
    }

    /// Gives a channel a new producer: from now on, only who publishes with its fence is let in.
    ///
    /// # Errors
    ///
    /// When the channel is one of the hub's own, or the log did not take it.
    pub async fn producer(&self, channel: ChannelName) -> Result<Producer, PublishError> {
        let name = channel.to_string();
        let draft = Draft::fence(channel, Publisher::Anyone)?;
        let placed = self.0.log.append(vec![draft], false).await.pop().unwrap_or(Err(AppendError::Closed))?;
        Ok(Producer { channel: name, fence: placed.fence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_says_of_a_channel_is_read_back() {
        let name = || ChannelName::new("a\"b").unwrap();
        let data = RawValue::from_string("{\"n\": 1.10}".into()).unwrap();
        let draft = Draft::ending(&name(), EndReason::Failed, Some(&data), Publisher::Anyone).unwrap();
        assert_eq!(draft.event.data, r#"{"channel":"a\"b","reason":"failed","data":{"n": 1.10}}"#);
        assert_eq!(Deed::of_event(END, &draft.event.data), Some(Deed::End(EndReason::Failed)));
        let draft = Draft::reopening(&name(), Publisher::Anyone).unwrap();
        assert_eq!(Deed::of_event(REOPEN, &draft.event.data), Some(Deed::Reopen));
        assert_eq!(Deed::of_event("end", b"{}"), None);
        let own = ChannelName::new("@system/metrics").unwrap();
        assert!(Draft::ending(&own, EndReason::Done, None, Publisher::Anyone).is_err());
    }
}
