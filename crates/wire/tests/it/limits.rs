//! The decoder's limits and what is left of it after an error; and where it begins.

use fanfare_wire::{DecodeError, Decoder, Item, Limits};

const LIMITS: Limits = Limits { line_bytes_max: 10, event_bytes_max: 6 };

fn items(decoder: &mut Decoder) -> Vec<Item> {
    decoder.map(Result::unwrap).collect()
}

#[test]
fn a_line_that_never_ends_is_refused_as_soon_as_it_is_too_long() {
    let mut decoder = Decoder::with_limits(LIMITS);
    decoder.push(b":123456789");
    assert_eq!(decoder.next(), None);
    decoder.push(b"x");
    assert_eq!(decoder.next(), Some(Err(DecodeError::LineTooLong { line_bytes_max: 10 })));
}

#[test]
fn after_an_error_nothing_comes_and_the_last_event_id_stays() {
    let mut decoder = Decoder::with_limits(LIMITS);
    decoder.push(b"id: 1\n\nid: 2\n:0123456789\n\ndata: x\n\n");
    assert!(matches!(decoder.next(), Some(Err(_))));
    assert_eq!(decoder.next(), None);
    decoder.push(b"\n\ndata: x\n\n");
    assert_eq!(decoder.next(), None);
    assert_eq!(decoder.last_event_id(), "1");
}

#[test]
fn an_event_is_measured_without_its_last_line_end() {
    let mut decoder = Decoder::with_limits(LIMITS);
    decoder.push(b"data: abc\ndata:de\n\n");
    assert_eq!(items(&mut decoder).len(), 1);
    decoder.push(b"data: abc\ndata:def\n");
    assert_eq!(decoder.next(), Some(Err(DecodeError::EventTooLong { event_bytes_max: 6 })));
}

#[test]
fn an_error_says_the_limit() {
    let error = DecodeError::LineTooLong { line_bytes_max: 10 };
    assert_eq!(error.to_string(), "a line is longer than 10 bytes");
    let error = DecodeError::EventTooLong { event_bytes_max: 6 };
    assert_eq!(error.to_string(), "an event has more than 6 bytes of data");
}

#[test]
fn the_default_limits_let_a_megabyte_on_one_line_through() {
    let mut decoder = Decoder::default();
    decoder.push(b"data: ");
    for _ in 0..1024 {
        decoder.push(&[b'x'; 1024]);
        assert_eq!(decoder.next(), None);
    }
    decoder.push(b"\n\n");
    let items = items(&mut decoder);
    assert!(matches!(items.as_slice(), [Item::Event(event)] if event.data.len() == 1024 * 1024));
}

#[test]
fn a_new_connection_goes_on_with_the_last_event_id_of_the_one_before() {
    let mut decoder = Decoder::new().resuming("41");
    assert_eq!(decoder.last_event_id(), "41");
    decoder.push(b"data: without an id\n\nid: 42\ndata: with one\n\n");
    let ids: Vec<String> = items(&mut decoder)
        .into_iter()
        .filter_map(|item| if let Item::Event(event) = item { Some(event.id) } else { None })
        .collect();
    assert_eq!(ids, ["41", "42"]);
    assert_eq!(decoder.last_event_id(), "42");
}

#[test]
fn the_last_event_id_moves_only_at_a_blank_line() {
    let mut decoder = Decoder::new();
    for (chunk, id) in
        [("id: 1\n", ""), ("data: x\n", ""), ("\n", "1"), ("id: 2", "1"), ("\r", "1"), ("\n", "1"), ("\r", "2")]
    {
        decoder.push(chunk.as_bytes());
        decoder.by_ref().for_each(drop);
        assert_eq!(decoder.last_event_id(), id, "after {chunk:?}");
    }
}

#[test]
fn a_lone_cr_dispatches_at_once() {
    let mut decoder = Decoder::new();
    decoder.push(b"data: x\r\r");
    assert_eq!(items(&mut decoder).len(), 1);
    decoder.push(b"\n");
    assert_eq!(items(&mut decoder).len(), 0);
}
