//! A stream's id: who knows it may steer the stream, so it is unguessable. The hub gives one, or the listener brings one
//! that it made up, to be known again when it comes back.

use std::fmt;
use std::str::FromStr;

/// A stream's id, as text 32 hexadecimal digits. Packed, since every stream has one and would be aligned as it is.
#[repr(Rust, packed(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u128);

/// The text is no stream's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID or 32 hexadecimal digits")]
pub struct StreamIdError;

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", { self.0 })
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;

    /// Reads 32 hexadecimal digits, or a UUID as `crypto.randomUUID()` gives it (RFC 9562, section 4).
    fn from_str(text: &str) -> Result<Self, StreamIdError> {
        let is_uuid = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        let digits = if is_uuid { text.replace('-', "") } else { text.to_owned() };
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StreamIdError);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| StreamIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_digits_or_a_uuid() {
        let id: StreamId = "0123456789abcdef0123456789ABCDEF".parse().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!("01234567-89ab-cdef-0123-456789abcdef".parse(), Ok(id));
        for bad in ["", "7", "0123456789abcdef0123456789abcde-", "+123456789abcdef0123456789abcdef", "é"] {
            assert_eq!(bad.parse::<StreamId>(), Err(StreamIdError), "{bad}");
        }
    }
}
