//! Why the log does not take an event, and the words by which that is counted.

/// Why the log did not take a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The idempotency key was used for something else within its window.
    #[error("`idempotency_key` was used for another event within the last ten minutes")]
    Conflict,
    /// The channel has ended, or has ended for another reason.
    #[error("the channel has ended; it takes nothing until it is reopened")]
    Ended,
    /// A newer producer has taken the channel over.
    #[error("`fence` is not the channel's newest: another producer has taken the channel over")]
    Fenced,
    /// The channel has a producer, and none was named.
    #[error("`fence` is missing: the channel has a producer, and takes nothing from others")]
    NoFence,
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
    #[error("the channel has as many keys, or bytes of values, as its rule allows (`keys_max`, `history.bytes_max`)")]
    TooManyKeys,
    /// The key has no value that could be deleted.
    #[error("the channel has no value of this `key`")]
    UnknownKey,
    /// The log takes nothing any more: it is closing.
    #[error("the log takes no events at the moment")]
    Closed,
}

impl AppendError {
    /// The words for all of them, each once.
    pub const REASONS: [&str; 13] = [
        "conflict",
        "ended",
        "fenced",
        "malformed",
        "batch",
        "disk_full",
        "store_failed",
        "outcome_unknown",
        "store_reopening",
        "channel_kind",
        "too_many_keys",
        "unknown_key",
        "closed",
    ];

    /// The word for it in figures: the code of the problem that clients are told, but for `batch`, of which they are told the
    /// item that is meant.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Ended => "ended",
            Self::Fenced | Self::NoFence => "fenced",
            Self::UnknownFence => "malformed",
            Self::Batch(_) => "batch",
            Self::DiskFull => "disk_full",
            Self::Damaged => "store_failed",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Reopening => "store_reopening",
            Self::NoKey | Self::NoState | Self::TransientState => "channel_kind",
            Self::TooManyKeys => "too_many_keys",
            Self::UnknownKey => "unknown_key",
            Self::Closed => "closed",
        }
    }
}
