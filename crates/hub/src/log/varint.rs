//! Unsigned integers in as few bytes as they need (LEB128), as records and index entries hold them.

/// Appends `value`, seven bits a byte, least significant first.
pub(crate) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes an integer off the front of `input`; `None` where it is cut short or doesn't fit.
pub(crate) fn read(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_integer_survives(value: u64, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            super::write(value, &mut bytes);
            bytes.extend_from_slice(&rest);
            let mut input = &bytes[..];
            prop_assert_eq!(super::read(&mut input), Some(value));
            prop_assert_eq!(input, &rest[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused_but_never_panic(bytes: Vec<u8>) {
            let _ = super::read(&mut &bytes[..]);
        }
    }
}
