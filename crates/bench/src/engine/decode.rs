//! Decode: a stream that arrives in chunks into events, against a bare pass over the same chunks that only looks for
//! line ends.

use std::hint::black_box;
use std::io::BufRead as _;

use fanfare_wire::{Decoder, Item};

use crate::engine::Bench;
use crate::engine::wire::Stretch;
use crate::error::MeasureError;
use crate::round::{Rounds, Sample, Stopwatch};
use crate::table::Row;
use crate::witness::Witness;

/// What a read from a socket gives at best, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// Measures the decoder.
pub(super) fn measure(bench: &Bench) -> Result<Row, MeasureError> {
    let stretch = Stretch::new(bench)?;
    // Every pass gives the same, so one is looked at closely and the others are counted.
    let mut witness = Witness::new(1);
    stretch.bytes.chunks(CHUNK_BYTES).try_for_each(|chunk| witness.take(chunk))?;
    if witness.events() * stretch.passes as u64 != stretch.events_of_round() {
        return Err(MeasureError::Lost(format!("{} events in a pass", witness.events())));
    }
    let mut delivered = 0;
    let rounds = Rounds::alternate(
        bench.quick_or_full(2, 15),
        || {
            let (sample, events) = decode(&stretch)?;
            delivered += events;
            Ok(sample)
        },
        |_| line_ends(&stretch),
    )?;
    Ok(Row::new("decode, 16 KiB chunks", "search for line ends", &rounds, delivered))
}

/// Decodes all passes as one stream; gives how many events came out.
fn decode(stretch: &Stretch) -> Result<(Sample, u64), MeasureError> {
    let watch = Stopwatch::start();
    let mut decoder = Decoder::new();
    let mut events = 0;
    for _ in 0..stretch.passes {
        for chunk in black_box(&stretch.bytes).chunks(CHUNK_BYTES) {
            decoder.push(chunk);
            while let Some(item) = decoder.next().transpose()? {
                events += u64::from(matches!(black_box(item), Item::Event(_)));
            }
        }
    }
    Ok((Sample::new(stretch.events_of_round(), stretch.bytes_of_round(), watch.elapsed()), events))
}

fn line_ends(stretch: &Stretch) -> Result<Sample, MeasureError> {
    let watch = Stopwatch::start();
    for _ in 0..stretch.passes {
        for mut rest in black_box(&stretch.bytes).chunks(CHUNK_BYTES) {
            // The standard library's search, which is the platform's `memchr`.
            while !rest.is_empty() {
                black_box(rest.skip_until(b'\n')?);
            }
        }
    }
    Ok(Sample::new(stretch.events_of_round(), stretch.bytes_of_round(), watch.elapsed()))
}
