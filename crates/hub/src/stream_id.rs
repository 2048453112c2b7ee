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

impl StreamId {
    /// The id of a stream that the hub names, so that it is found: it says the stream's shard, in 16 bits, and its place
    /// there, in 32. The other 80 are as random as before.
    pub(crate) fn at(self, shard: usize, place: usize) -> Self {
        let random = self.0 & (u128::MAX >> 48);
        Self((shard as u128 & 0xffff) << 112 | (place as u128 & 0xffff_ffff) << 80 | random)
    }

    /// The number of the shard that it says. Of an id that a listener made up any number.
    pub(crate) fn shard(self) -> usize {
        (self.0 >> 112) as usize
    }

    /// The place in that shard.
    pub(crate) fn place(self) -> usize {
        (self.0 >> 80 & 0xffff_ffff) as usize
    }
}

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
    fn an_id_of_the_hub_says_where_its_stream_is_and_nothing_else() {
        let random = StreamId(u128::MAX / 3);
        let id = random.at(7, 70_000);
        assert_eq!((id.shard(), id.place()), (7, 70_000));
        assert_eq!({ id.0 } << 48, { random.0 } << 48);
        assert_eq!(id.to_string().len(), 32);
    }

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
