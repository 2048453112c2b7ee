//! Users, as whoever publishes and listens names them. The hub knows no more of a user than the name.

use std::fmt;

use crate::channel::ChannelName;
use crate::limits::USER_BYTES_MAX;

/// What an inbox's channel begins with; the user's name follows.
pub const INBOX_PREFIX: &str = "@inbox/";

/// What the channel begins with that holds what is known of a user's devices; the user's name follows.
pub const DEVICES_PREFIX: &str = "@devices/";

/// A user's name. Compared byte by byte. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName {
    /// The channel that is the user's inbox, which holds the name.
    inbox: ChannelName,
}

/// What is wrong with a user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// It has no characters, or too many.
    #[error("must have 1 to {USER_BYTES_MAX} bytes; it has {0}")]
    Length(usize),
    /// It has a control character, such as CR, LF or NUL.
    #[error("has a control character (U+{0:04X})")]
    Control(u32),
    /// It would stand for more than itself in a pattern.
    #[error("has a `*`, which stands for other names in patterns")]
    Star,
}

impl UserName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 240 bytes, or has a control character or a `*`.
    pub fn new(text: &str) -> Result<Self, UserNameError> {
        if text.is_empty() || text.len() > USER_BYTES_MAX {
            return Err(UserNameError::Length(text.len()));
        }
        match text.chars().find(|c| c.is_control() || *c == '*') {
            Some('*') => Err(UserNameError::Star),
            Some(c) => Err(UserNameError::Control(u32::from(c))),
            None => {
                let inbox = ChannelName::new(&format!("{INBOX_PREFIX}{text}"));
                Ok(Self { inbox: inbox.map_err(|_| UserNameError::Length(text.len()))? })
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.inbox.as_str().strip_prefix(INBOX_PREFIX).unwrap_or_default()
    }

    /// The channel that holds what is known of the user's devices: `@devices/` and the name.
    #[expect(clippy::expect_used, reason = "the name is good and short enough")]
    pub(crate) fn devices(&self) -> ChannelName {
        ChannelName::new(&format!("{DEVICES_PREFIX}{self}")).expect("a valid name")
    }

    /// The channel that is the user's inbox: `@inbox/` and the name.
    pub fn inbox(&self) -> &ChannelName {
        &self.inbox
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_and_good_ones_have_an_inbox() {
        assert_eq!(UserName::new(""), Err(UserNameError::Length(0)));
        assert_eq!(UserName::new(&"x".repeat(241)), Err(UserNameError::Length(241)));
        assert_eq!(UserName::new("a\n"), Err(UserNameError::Control(10)));
        assert_eq!(UserName::new("a*"), Err(UserNameError::Star));
        assert_eq!(UserName::new(&"x".repeat(240)).unwrap().inbox().as_str().len(), 247);
        assert_eq!(UserName::new(&"x".repeat(240)).unwrap().devices().as_str().len(), 249);
        assert_eq!(UserName::new("ada").unwrap().inbox().as_str(), "@inbox/ada");
    }
}
