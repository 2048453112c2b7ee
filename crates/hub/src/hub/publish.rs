//! Publishing: from a channel and an event to a receipt.

use crate::channel::{ChannelName, NameError};
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;
use crate::hub::Hub;
use crate::limits::{BATCH_CHANNELS_MAX, BATCH_EVENTS_MAX};
use crate::log::append_error::AppendError;
use crate::user::UserName;
use crate::writer::Placed;

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The channel's name is not one.
    #[error("`channel` {0}")]
    Channel(#[from] NameError),
    /// The event is not as it must be.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The batch is too large.
    #[error("the batch has {0} events; at most {BATCH_EVENTS_MAX} are allowed")]
    BatchTooLarge(usize),
    /// The events of the batch are for too many channels.
    #[error("the events of the batch have {0} channels together; at most {BATCH_CHANNELS_MAX} are allowed")]
    BatchTooWide(usize),
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// What a publisher gets for an event.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Receipt {
    /// The event's id; none if it is transient.
    pub id: Option<String>,
    /// Its canonical channel; none where it was for the channels of a pattern, and no such channel took it.
    pub channel: Option<String>,
    /// How many channels it was published to.
    pub channels: usize,
    /// How safe it is: `durable`, `memory` or `transient`.
    pub durability: &'static str,
    /// How many open streams follow one of its channels, those of an excluded user aside.
    pub streams: usize,
    /// Whether it had been published before, by its idempotency key.
    pub duplicate: bool,
}

/// Whom an event is for: its channels, and the user it isn't for.
type Audience = (Vec<ChannelName>, Option<UserName>);

impl Hub {
    /// Publishes an event to a channel and waits until it is as durable as the channel's rule says.
    ///
    /// # Errors
    ///
    /// When the channel or the event is not as it must be, or the log did not take it.
    pub async fn publish(&self, channel: &str, event: impl Into<Event>) -> Result<Receipt, PublishError> {
        let draft = Draft::new(vec![ChannelName::new(channel)?], event.into(), Publisher::Anyone)?;
        self.publish_draft(draft).await
    }

    /// Publishes a draft and waits until it is as durable as its channels' rules say.
    ///
    /// # Errors
    ///
    /// When the log did not take it.
    pub async fn publish_draft(&self, draft: Draft) -> Result<Receipt, PublishError> {
        let mut results = self.publish_all(vec![draft], false).await?;
        results.pop().unwrap_or(Err(AppendError::Closed)).map_err(PublishError::from)
    }

    /// Publishes drafts in their order, with nobody else's between them. With `atomic` all or none.
    ///
    /// # Errors
    ///
    /// When there are too many, or they are for too many channels. What happened to each is in the results, in the order of the drafts.
    pub async fn publish_all(
        &self,
        drafts: Vec<Draft>,
        atomic: bool,
    ) -> Result<Vec<Result<Receipt, AppendError>>, PublishError> {
        if drafts.len() > BATCH_EVENTS_MAX {
            return Err(PublishError::BatchTooLarge(drafts.len()));
        }
        let channels = drafts.iter().map(Draft::channel_count).sum();
        if channels > BATCH_CHANNELS_MAX {
            return Err(PublishError::BatchTooWide(channels));
        }
        let audience = |draft: &Draft| (draft.channels.clone(), draft.except_user.clone());
        let audiences: Vec<Audience> = drafts.iter().map(audience).collect();
        let outcome = self.0.log.append(drafts, atomic).await;
        let receipt = |(placed, audience): (Result<Placed, AppendError>, &Audience)| {
            placed.map(|placed| self.receipt(&placed, audience))
        };
        Ok(outcome.into_iter().zip(&audiences).map(receipt).collect())
    }

    fn receipt(&self, placed: &Placed, (channels, except_user): &Audience) -> Receipt {
        // A pattern may have met channels that don't take it.
        let channels = placed.found.as_ref().unwrap_or(channels);
        Receipt {
            id: placed.position.map(|position| self.0.history.epochs.cursor(position, None).to_text()),
            channel: channels.first().map(ToString::to_string),
            channels: channels.len(),
            durability: placed.durability.as_str(),
            streams: self.streams_except(channels, except_user.as_ref()),
            duplicate: placed.duplicate,
        }
    }
}
