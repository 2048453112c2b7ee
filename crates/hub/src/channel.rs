//! Channel names. A name parses itself; inner code never checks it again.
//!
//! Names are compared byte by byte and never normalised. What names match a wildcard is [`pattern`](crate::pattern)'s.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::CHANNEL_BYTES_MAX;

/// What is wrong with a channel name or a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("is empty; it takes 1 to {CHANNEL_BYTES_MAX} bytes")]
    Empty,
    /// The name has too many bytes.
    #[error("is {0} bytes long; at most {CHANNEL_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The name has a control character, such as CR, LF or NUL.
    #[error("has a control character (U+{0:04X}) at byte {1}")]
    Control(u32, usize),
}

/// Checks what names and patterns have in common.
pub(crate) fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > CHANNEL_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => Err(NameError::Control(u32::from(c), at)),
        None => Ok(()),
    }
}

/// The name of a channel: `orders`, `chat:42`, `https://example.com/books/1`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// When the name is empty, longer than 255 bytes or has a control character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of the hub's own: it begins with `@`. Clients can't publish to such channels.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('@')
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ChannelName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for ChannelName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        assert_eq!(ChannelName::new(""), Err(NameError::Empty));
        assert_eq!(ChannelName::new(&"x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(ChannelName::new("a\nb"), Err(NameError::Control(10, 1)));
        assert_eq!(ChannelName::new("a\0"), Err(NameError::Control(0, 1)));
        assert_eq!(ChannelName::new("\u{85}"), Err(NameError::Control(0x85, 0)));
        assert!(ChannelName::new(&"x".repeat(255)).is_ok());
        assert!(ChannelName::new("https://example.com/books/1").is_ok());
    }
}
