//! What routes read of a request, strictly.

pub(crate) mod body;
pub(crate) mod channel_arg;
pub(crate) mod duration;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod query;
