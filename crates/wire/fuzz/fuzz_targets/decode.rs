//! Arbitrary bytes, cut in arbitrary chunks: no panic, the same items as in one chunk and as from the naive decoder,
//! and every event survives being encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/property.rs"]
mod property;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (sizes, bytes) = input;
    property::holds(&bytes, &sizes);
});
