//! The encoder on bytes: what it writes, and what it refuses without writing.

use std::time::Duration;

use fanfare_wire::{Block, EncodeError, Forbidden, encode, encode_comment, encode_id_line};

fn encoded(block: &Block<'_>) -> String {
    let mut out = Vec::new();
    encode(block, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The error for `block`, having seen that nothing was written.
fn refused(block: &Block<'_>) -> EncodeError {
    let mut out = b"untouched".to_vec();
    let error = encode(block, &mut out).unwrap_err();
    assert_eq!(out, b"untouched", "{error}");
    error
}

fn comment(text: &str) -> String {
    let mut out = Vec::new();
    encode_comment(text, &mut out);
    String::from_utf8(out).unwrap()
}

const LINE_BREAKERS: [(&str, Forbidden); 3] =
    [("a\rb", Forbidden::CarriageReturn), ("a\nb", Forbidden::LineFeed), ("a\0b", Forbidden::Nul)];

#[test]
fn fields_stand_in_a_fixed_order() {
    let block = Block {
        id: Some("7"),
        event: Some("order"),
        fields: &[("channel", "orders"), ("channel", "audit")],
        retry: Some(Duration::from_micros(2_500_900)),
        data: Some("{}"),
    };
    assert_eq!(encoded(&block), "id: 7\nevent: order\nchannel: orders\nchannel: audit\nretry: 2500\ndata: {}\n\n");
}

#[test]
fn the_name_message_is_left_out() {
    assert_eq!(encoded(&Block { event: Some("message"), data: Some("x"), ..Block::default() }), "data: x\n\n");
    assert_eq!(encoded(&Block { event: Some("Message"), ..Block::default() }), "event: Message\n\n");
}

#[test]
fn data_is_split_at_crlf_cr_and_lf() {
    let block = Block { data: Some("a\r\nb\rc\n\n d"), ..Block::default() };
    assert_eq!(encoded(&block), "data: a\ndata: b\ndata: c\ndata:\ndata:  d\n\n");
}

#[test]
fn an_empty_value_has_no_trailing_space() {
    let block = Block { id: Some(""), fields: &[("channel", "")], data: Some(""), ..Block::default() };
    assert_eq!(encoded(&block), "id:\nchannel:\ndata:\n\n");
    assert_eq!(encoded(&Block { data: Some("\n"), ..Block::default() }), "data:\ndata:\n\n");
}

#[test]
fn a_block_of_nothing_is_a_blank_line() {
    assert_eq!(encoded(&Block::default()), "\n");
}

#[test]
fn blocks_are_appended() {
    let mut out = Vec::new();
    encode_id_line("1", &mut out).unwrap();
    encode(&Block { data: Some("a"), ..Block::default() }, &mut out).unwrap();
    encode_comment("beat", &mut out);
    encode(&Block { id: Some("2"), data: Some("b"), ..Block::default() }, &mut out).unwrap();
    assert_eq!(out, b"id: 1\ndata: a\n\n: beat\n\nid: 2\ndata: b\n\n");
}

#[test]
fn a_comment_takes_as_many_lines_as_its_text() {
    assert_eq!(comment("beat"), ": beat\n\n");
    assert_eq!(comment(""), ":\n\n");
    assert_eq!(comment("a\r\n\rdata: b\n"), ": a\n:\n: data: b\n:\n\n");
}

#[test]
fn an_id_that_would_break_its_line_or_be_ignored_is_refused() {
    for (id, found) in LINE_BREAKERS {
        assert_eq!(refused(&Block { id: Some(id), data: Some("x"), ..Block::default() }), EncodeError::Id(found));
        let mut out = b"untouched".to_vec();
        assert_eq!(encode_id_line(id, &mut out), Err(EncodeError::Id(found)));
        assert_eq!(out, b"untouched");
    }
}

#[test]
fn an_event_name_that_would_break_its_line_is_refused() {
    for (event, found) in LINE_BREAKERS {
        let block = Block { id: Some("1"), event: Some(event), ..Block::default() };
        assert_eq!(refused(&block), EncodeError::EventName(found));
    }
}

#[test]
fn an_empty_event_name_is_refused() {
    assert_eq!(refused(&Block { event: Some(""), data: Some("x"), ..Block::default() }), EncodeError::EventNameEmpty);
}

#[test]
fn an_extra_field_that_would_break_its_line_is_refused_by_its_index() {
    let index = 1;
    let colon = ("a:b", Forbidden::Colon);
    let mark = ("\u{FEFF}data", Forbidden::ByteOrderMark);
    for (name, found) in LINE_BREAKERS.into_iter().chain([colon, mark]) {
        let block = Block { fields: &[("channel", "a:b"), (name, "x")], ..Block::default() };
        assert_eq!(refused(&block), EncodeError::FieldName { index, found });
    }
    for (value, found) in LINE_BREAKERS {
        let block = Block { fields: &[("channel", "x"), ("channel", value)], ..Block::default() };
        assert_eq!(refused(&block), EncodeError::FieldValue { index, found });
    }
}

#[test]
fn an_extra_field_that_receivers_would_not_ignore_is_refused() {
    for name in ["id", "event", "data", "retry"] {
        let block = Block { fields: &[(name, "x")], ..Block::default() };
        assert_eq!(refused(&block), EncodeError::FieldNameReserved { index: 0 });
    }
    assert_eq!(refused(&Block { fields: &[("", "x")], ..Block::default() }), EncodeError::FieldNameEmpty { index: 0 });
    assert_eq!(encoded(&Block { fields: &[("Data", "x")], ..Block::default() }), "Data: x\n\n");
}

#[test]
fn an_error_names_the_place_and_the_character() {
    assert_eq!(EncodeError::Id(Forbidden::LineFeed).to_string(), "the id contains a line feed (U+000A)");
    let error = EncodeError::FieldName { index: 2, found: Forbidden::Colon };
    assert_eq!(error.to_string(), "the name of extra field 2 contains a colon (U+003A)");
}
