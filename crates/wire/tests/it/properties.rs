//! Property tests: the round trip from encoder to decoder, and the decoder over arbitrary bytes.

use std::time::Duration;

use fanfare_wire::{Block, Event, Item, Limits, RETRY_MAX, encode, encode_comment, encode_id_line};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};

use crate::property::{holds, read};

/// Text of any characters, with line ends far more often than chance would give.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "\\PC{0,8}",
        1 => any::<char>().prop_map(String::from),
        2 => prop::sample::select(vec!["\r", "\n", "\r\n", "\n\n", " ", ":", "data: ", "\u{FEFF}", "\0"])
            .prop_map(String::from),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Text that may stand on one line.
fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\r', '\n', '\0'], ""))
}

/// A name for an extra field, such as a parser must ignore.
fn field_name() -> impl Strategy<Value = String> {
    line().prop_map(|name| format!("x{}", name.replace(':', "")))
}

/// Bytes made of what matters to a decoder, whole and in pieces, mixed with arbitrary ones.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"data",
        b"data:",
        b"data: x",
        b"id",
        b"id: ",
        b"event:",
        b"event: e",
        b"retry:",
        b"retry: 1",
        b"0",
        b"9999999999",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\0",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xBB",
        b"\xBF",
        b"\xE2\x82\xAC",
        b"\xE2\x82",
        b"\xF0\x9F",
        b"\x98\x80",
        b"\xFF",
        b"DATA:",
        b"a line longer than thirty-two bytes",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Sizes of chunks, small ones more often.
fn sizes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => 0_u8..4, 1 => 0_u8..40], 0..24)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_encoded_is_decoded_with_line_ends_as_lf(
        id in prop::option::of(line()),
        event in prop::option::of(line().prop_filter("an empty name is refused", |name| !name.is_empty())),
        fields in vec((field_name(), line()), 0..3),
        retry in prop::option::of(any::<u64>().prop_map(Duration::from_millis)),
        data in prop::option::of(text()),
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (id, event) = (id.as_deref(), event.as_deref());
        let mut bytes = Vec::new();
        encode(&Block { id, event, fields: &fields, retry, data: data.as_deref() }, &mut bytes)?;

        let mut expected: Vec<Item> = retry.map(|retry| Item::Retry(retry.min(RETRY_MAX))).into_iter().collect();
        let id = id.unwrap_or_default().to_owned();
        expected.extend(data.map(|data| Item::Event(Event {
            id: id.clone(),
            event: event.unwrap_or("message").to_owned(),
            data: data.replace("\r\n", "\n").replace('\r', "\n"),
        })));
        let reading = read([bytes.as_slice()], Limits::default());
        prop_assert_eq!(reading.items, expected);
        prop_assert_eq!(reading.last_event_id, id);
    }

    #[test]
    fn an_id_line_before_a_block_without_id_is_the_block_with_that_id(
        id in line(),
        event in prop::option::of("[a-z]{1,9}"),
        fields in vec((field_name(), line()), 0..3),
        retry in prop::option::of(any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))),
        data in prop::option::of(text()),
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let block = Block { id: None, event: event.as_deref(), fields: &fields, retry, data: data.as_deref() };
        let (mut whole, mut joined) = (Vec::new(), Vec::new());
        encode(&Block { id: Some(&id), ..block }, &mut whole)?;
        encode_id_line(&id, &mut joined)?;
        encode(&block, &mut joined)?;
        prop_assert_eq!(whole, joined);
    }

    #[test]
    fn a_comment_says_nothing_and_leaves_its_neighbours_alone(text in text()) {
        let mut bytes = b"data: before\n\n".to_vec();
        encode_comment(&text, &mut bytes);
        bytes.extend_from_slice(b"data: after\n\n");
        let items = read([bytes.as_slice()], Limits::default()).items;
        let alone = read([&b"data: before\n\ndata: after\n\n"[..]], Limits::default()).items;
        prop_assert_eq!(items, alone);
    }

    #[test]
    fn arbitrary_streams_mean_the_same_however_they_are_cut(bytes in stream(), sizes in sizes()) {
        holds(&bytes, &sizes);
    }

    #[test]
    fn arbitrary_bytes_mean_the_same_however_they_are_cut(bytes in vec(any::<u8>(), 0..200), sizes in sizes()) {
        holds(&bytes, &sizes);
    }
}

/// The fuzz target's property with a fixed seed, so that every run of the tests covers the same ground.
#[test]
fn the_fuzzed_property_holds_for_five_thousand_seeded_streams() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() };
    let property = |(bytes, sizes): (Vec<u8>, Vec<u8>)| {
        holds(&bytes, &sizes);
        Ok(())
    };
    TestRunner::new_with_rng(config, rng).run(&(stream(), sizes()), property).unwrap();
}
