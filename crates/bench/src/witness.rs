//! Reads a stream back and holds it against what was published: each publisher's events once, all of them, in the order
//! in which they were acknowledged. The last event of a stream is named [`END`]; what isn't there by then is lost.

use fanfare_wire::{Decoder, Item};

use crate::error::MeasureError;
use crate::payload;

/// The name of the last event of a stream. Since the log has one order, everything else was published before it.
pub const END: &str = "end";

/// Counts and checks what a stream delivers.
#[derive(Debug)]
pub struct Witness {
    decoder: Decoder,
    /// Each publisher's next number.
    next: Vec<usize>,
    /// Whether later events of a key stand for earlier ones, so that numbers may be missing.
    is_keyed: bool,
    /// How many events came so far, the last one left out.
    events: u64,
    /// Whether the last one came.
    ended: bool,
}

impl Witness {
    /// A witness at the beginning of a stream with the events of so many publishers.
    pub fn new(publishers: usize) -> Self {
        Self { decoder: Decoder::new(), next: vec![0; publishers], is_keyed: false, events: 0, ended: false }
    }

    /// The same where only the last event of each key is left. How many these are, it doesn't know.
    pub fn of_values(publishers: usize) -> Self {
        Self { is_keyed: true, ..Self::new(publishers) }
    }

    /// How many events came so far, the last one left out.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether the last event came.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// When an event is out of turn or foreign, or the hub tells of a gap.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), MeasureError> {
        self.decoder.push(bytes);
        while let Some(item) = self.decoder.next().transpose()? {
            if let Item::Event(event) = item {
                self.judge(&event)?;
            }
        }
        Ok(())
    }

    /// Takes one event.
    fn judge(&mut self, event: &fanfare_wire::Event) -> Result<(), MeasureError> {
        let lost = |why: &str| Err(MeasureError::Lost(format!("{why} at {:?}: {}", event.id, event.data)));
        match event.event.as_str() {
            END => self.ended = true,
            "fanfare.gap" | "fanfare.bye" => return lost("the hub gave up"),
            name if name.starts_with("fanfare.") => {}
            _ => {
                let Some((from, number)) = payload::read(&event.data) else { return lost("a foreign event") };
                let Some(next) = self.next.get_mut(from) else { return lost("a foreign publisher") };
                if number != *next && !(self.is_keyed && number > *next) {
                    return lost("an event out of turn");
                }
                *next = number + 1;
                self.events += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payloads;

    fn stream(numbers: &[usize]) -> String {
        let payloads = Payloads::default();
        let blocks: Vec<String> =
            numbers.iter().map(|number| format!("data: {}\n\n", payloads.json(80, 0, *number))).collect();
        blocks.concat()
    }

    #[test]
    fn events_in_their_turn_are_counted() {
        let mut witness = Witness::new(1);
        witness.take(stream(&[0, 1, 2]).as_bytes()).unwrap();
        assert!(!witness.has_ended());
        witness.take(b"event: end\ndata:\n\n").unwrap();
        assert!(witness.has_ended());
        assert_eq!(witness.events(), 3);
    }

    #[test]
    fn of_values_there_may_be_fewer_but_in_their_order() {
        let mut witness = Witness::of_values(1);
        witness.take(stream(&[1, 4]).as_bytes()).unwrap();
        assert_eq!(witness.events(), 2);
        assert!(witness.take(stream(&[4]).as_bytes()).is_err());
    }

    #[test]
    fn what_is_missing_doubled_swapped_foreign_or_told_as_a_gap_is_found() {
        let gap = "event: fanfare.gap\ndata: {}\n\n".to_owned();
        for text in [stream(&[0, 2]), stream(&[0, 0]), stream(&[1, 0]), "data: x\n\n".into(), gap] {
            assert!(Witness::new(1).take(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Witness::new(0).take(stream(&[0]).as_bytes()).is_err());
    }
}
