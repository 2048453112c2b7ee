//! Encode: events into the bytes of a stream, against a bare copy of the same bytes.

use std::hint::black_box;

use crate::engine::Bench;
use crate::engine::wire::Stretch;
use crate::error::MeasureError;
use crate::round::{Rounds, Sample, Stopwatch};
use crate::table::Row;
use crate::witness::Witness;

/// Measures the encoder.
pub(super) fn measure(bench: &Bench) -> Result<Row, MeasureError> {
    let stretch = Stretch::new(bench)?;
    let mut out = Vec::with_capacity(stretch.bytes.len());
    let mut copy = Vec::with_capacity(stretch.bytes.len());
    let mut delivered = 0;
    let rounds = Rounds::alternate(
        bench.quick_or_full(2, 15),
        || {
            let sample = encode(&stretch, &mut out)?;
            delivered += check(&out)? * stretch.passes as u64;
            Ok(sample)
        },
        |_| Ok(memcpy(&stretch, &mut copy)),
    )?;
    Ok(Row::new("encode, 300-byte data", "copy of the same bytes", &rounds, delivered))
}

fn encode(stretch: &Stretch, out: &mut Vec<u8>) -> Result<Sample, MeasureError> {
    let watch = Stopwatch::start();
    for _ in 0..stretch.passes {
        out.clear();
        black_box(stretch).encode(out)?;
        black_box(&*out);
    }
    Ok(Sample::new(stretch.events_of_round(), stretch.bytes_of_round(), watch.elapsed()))
}

/// Copies every block of the stretch by itself, as the encoder writes it.
fn memcpy(stretch: &Stretch, out: &mut Vec<u8>) -> Sample {
    let watch = Stopwatch::start();
    for _ in 0..stretch.passes {
        out.clear();
        for block in black_box(&stretch.blocks) {
            out.extend_from_slice(stretch.bytes.get(block.clone()).unwrap_or_default());
        }
        black_box(&*out);
    }
    Sample::new(stretch.events_of_round(), stretch.bytes_of_round(), watch.elapsed())
}

/// Decodes what was encoded; gives how many events are in it.
fn check(bytes: &[u8]) -> Result<u64, MeasureError> {
    let mut witness = Witness::new(1);
    witness.take(bytes)?;
    Ok(witness.events())
}
