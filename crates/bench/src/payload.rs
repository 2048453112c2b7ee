//! The events' data: one line of JSON that tells which publisher's which event it is, then filler up to a size. So a
//! reader can tell whether something is missing, doubled or out of turn.

use std::fmt::Write as _;

/// Bytes of filler that payloads take theirs from.
const FILLER_BYTES: usize = 64 * 1024;

/// What stands around the numbers and the filler.
const PARTS: [&str; 4] = [r#"{"from":""#, r#"","number":""#, r#"","text":""#, r#""}"#];

/// Gives payloads.
#[derive(Debug)]
pub struct Payloads {
    /// Letters and digits without order, so that compression finds little. Every run gives the same.
    filler: String,
}

impl Default for Payloads {
    fn default() -> Self {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // Marsaglia's xorshift with shifts 13, 7 and 17.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LETTERS.get((state >> 58) as usize).map_or('A', |&letter| char::from(letter))
        };
        Self { filler: std::iter::repeat_with(&mut letter).take(FILLER_BYTES).collect() }
    }
}

impl Payloads {
    /// The data of a publisher's event, `bytes` long where the numbers leave room for filler.
    pub fn json(&self, bytes: usize, from: usize, number: usize) -> String {
        let [open, middle, text, close] = PARTS;
        let mut data = String::with_capacity(bytes);
        // Writing to a string can't fail.
        let _ = write!(data, "{open}{from:04}{middle}{number:08}{text}");
        let filler = bytes.saturating_sub(data.len() + close.len()).min(FILLER_BYTES / 2);
        let at = (from * 31 + number * 257) % (FILLER_BYTES / 2);
        data.push_str(self.filler.get(at..at + filler).unwrap_or_default());
        data.push_str(close);
        data
    }
}

/// The publisher and the number that data tells; `None` if it isn't a payload.
pub fn read(data: &str) -> Option<(usize, usize)> {
    let [open, middle, text, close] = PARTS;
    let (from, rest) = data.strip_prefix(open)?.split_once(middle)?;
    let (number, filler) = rest.split_once(text)?;
    filler.strip_suffix(close)?;
    Some((from.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_is_json_and_tells_who_and_which() {
        let payloads = Payloads::default();
        for (from, number) in [(0, 0), (1023, 199_999)] {
            let data = payloads.json(256, from, number);
            assert_eq!(data.len(), 256);
            assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok(), "{data}");
            assert_eq!(read(&data), Some((from, number)));
        }
        assert_eq!(read("{}"), None);
    }
}
