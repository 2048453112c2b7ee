//! Why the log does not take an event.

/// Why the log did not take a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The idempotency key was used for something else within its window.
    #[error("`idempotency_key` was used for another event within the last ten minutes")]
    Conflict,
    /// The channel has ended, or has ended for another reason.
    #[error("the channel has ended; it takes nothing until it is reopened")]
    Ended,
    /// A newer producer has taken the channel over, or it has one and none was named.
    #[error("`fence` is not the channel's newest: another producer has taken the channel over")]
    Fenced,
    /// The hub never gave such a fence.
    #[error("`fence` is an unknown fence: the channel never had it")]
    UnknownFence,
    /// Another item of an atomic batch was refused.
    #[error("nothing was published: item {0} of the batch was refused")]
    Batch(usize),
    /// The disk has no room for durable events. Nothing was written.
    #[error("the disk is full; durable events are taken again when there is room")]
    DiskFull,
    /// What the store knows of a channel is damaged, so nothing can be added to it.
    #[error("the channel's entry in the store is damaged, so it takes no events; see `fanfare data check`")]
    Damaged,
    /// The store failed while the event was written. Whether it was kept shows once the store is open again.
    #[error("the store failed while the event was written; whether it was kept is unknown")]
    OutcomeUnknown,
    /// The store failed before and is being reopened. Nothing was kept.
    #[error("the store failed and is being reopened; nothing was published")]
    Reopening,
    /// The channel holds values of keys, and the event has no key.
    #[error("the channel holds values of keys, and the event has no `key`")]
    NoKey,
    /// The channel holds events, and this one has a key.
    #[error("the channel holds events without keys; a `key` needs a channel of its own kind")]
    NoState,
    /// The channel keeps nothing, and so no values.
    #[error("the channel is transient by its rule; a `key` needs a channel that is `durable` or `memory`")]
    TransientState,
    /// The channel has as many keys, or bytes of values, as it may have.
    #[error("the channel has as many keys, or bytes of values, as its rule allows (`keys_max`, `history.bytes`)")]
    TooManyKeys,
    /// The key has no value that could be deleted.
    #[error("the channel has no value of this `key`")]
    UnknownKey,
    /// The log takes nothing any more: it is closing.
    #[error("the log takes no events at the moment")]
    Closed,
}
