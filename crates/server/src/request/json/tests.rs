//! That bodies are what they are said to be, none of them left out, and that people are told where one is not.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::openapi;
use crate::testing::TestDoor;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `inner`")]
struct Outer<'a> {
    #[serde(borrow)]
    inner: Option<Inner<'a>>,
    many: Option<Vec<Inner<'a>>>,
    word: Option<Word>,
    count: Option<u64>,
    flag: Option<bool>,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `data`")]
struct Inner<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Word {
    One,
    Two,
}

fn refused(text: &str) -> (Code, String) {
    let error = read::<Outer<'_>>(text.as_bytes()).unwrap_err();
    (error.code(), error.detail().to_owned())
}

#[test]
fn objects_are_read_and_what_is_kept_raw_is_kept_to_the_byte() {
    let text = r#"{"inner": {"data": {"n": 1.10 , "n": 2}}, "many": [{"data": [ ]}, {}], "word": "two", "count": 7}"#;
    let Outer { inner, many, word, count, flag, text } = read(text.as_bytes()).unwrap();
    assert_eq!(inner.unwrap().data.unwrap().get(), r#"{"n": 1.10 , "n": 2}"#);
    let many: Vec<_> = many.unwrap().iter().map(|one| one.data.map(RawValue::get)).collect();
    assert_eq!(many, [Some("[ ]"), None]);
    assert_eq!((word, count, flag, text), (Some(Word::Two), Some(7), None, None));
    let Outer { inner, .. } = read(br#"{"inner": null}"#).unwrap();
    assert!(inner.is_none());
}

#[test]
fn what_is_json_and_not_what_is_asked_for_is_malformed_in_words_of_json() {
    let long = format!(r#"{{"count": "{}"}}"#, "x".repeat(1_000));
    let told = format!("`count` is \"{}…; it takes a whole number from 0 on", "x".repeat(79));
    for (text, detail) in [
        ("[]", "the body is an array; it takes an object with `inner`"),
        ("[null, null, null, null, null, null]", "the body is an array; it takes an object with `inner`"),
        ("null", "the body is null; it takes an object with `inner`"),
        (r#"{"inner": [1]}"#, "`inner` is an array; it takes an object with `data`"),
        (r#"{"many": [{}, []]}"#, "`many[1]` is an array; it takes an object with `data`"),
        (r#"{"many": {}}"#, "`many` is an object; it takes an array"),
        (r#"{"word": 5}"#, "`word` is the number 5; it takes `one`, `two`"),
        (r#"{"word": true}"#, "`word` is true; it takes `one`, `two`"),
        (r#"{"word": {"one": null}}"#, "`word` is an object; it takes `one`, `two`"),
        (r#"{"word": ["one"]}"#, "`word` is an array; it takes `one`, `two`"),
        (r#"{"word": "three"}"#, "`word` is \"three\"; it takes `one` or `two`"),
        (r#"{"count": -1}"#, "`count` is the number -1; it takes a whole number from 0 on"),
        (r#"{"count": 1.5}"#, "`count` is the number 1.5; it takes a whole number from 0 on"),
        (r#"{"flag": 1}"#, "`flag` is the number 1; it takes true or false"),
        (r#"{"text": ", expected a map"}"#, ""),
        (r#"{"count": ", expected a map"}"#, "`count` is \", expected a map\"; it takes a whole number from 0 on"),
        (&long, &told),
        (r#"{"count": 1e999}"#, "`count`: number out of range"),
        (r#"{"counts": 1}"#, "unknown member `counts`; did you mean `count`?"),
        (r#"{"many": [{"dta": 1}]}"#, "unknown member `many[0].dta`; did you mean `data`?"),
        (r#"{"inner": {"zzzzz": 1}}"#, "unknown member `inner.zzzzz`; known here: `data`"),
        (r#"{"count": 1, "count": 2}"#, "`count` is given twice"),
    ] {
        if detail.is_empty() {
            read::<Outer<'_>>(text.as_bytes()).unwrap();
        } else {
            assert_eq!(refused(text), (Code::Malformed, detail.to_owned()), "{text}");
        }
    }
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    for (text, said) in [
        (r#"{"inner""#, "it ends in the middle of an object (line 1, column 8)"),
        ("{\n\"many\": [{}", "it ends in the middle of an array (line 2, column 11)"),
        (r#"{"text": "x"#, "it ends in the middle of a string (line 1, column 11)"),
        ("{} {}", "something follows it (line 1, column 4)"),
        ("done", "there is no value (line 1, column 1)"),
        (r#"{"text": x}"#, "there is no value (line 1, column 10)"),
        ("{,}", "key must be a string (line 1, column 2)"),
    ] {
        assert_eq!(refused(text), (Code::BadJson, format!("this is not JSON: {said}")), "{text}");
    }
    for empty in ["", " \n"] {
        assert_eq!(refused(empty), (Code::BadJson, "the body is empty; it takes JSON".to_owned()));
    }
    let error = read::<Outer<'_>>(b"{\xff").unwrap_err();
    assert_eq!((error.code(), error.detail()), (Code::NotUtf8, "the body is not valid UTF-8 (byte 1)"));
}

/// Each body by its schema's name: how it is sent, and the body with an array in the place of each object that it may have.
const BODIES: &[(&str, &str, &str, &[&str])] = &[
    (
        "Publish",
        "POST",
        "/publish",
        &[
            r#"[["a", null, null, null, null, null, 1, null, null, null, null, null, false]]"#,
            r#"{"to": ["a*"], "data": 1}"#,
            r#"{"channel": "a", "data": 1, "except": ["ada", null]}"#,
            r#"[{"channel": "a", "data": 1, "except": ["ada", null]}]"#,
        ],
    ),
    ("End", "POST", "/channels/a/end", &[r#"["done", null, null]"#, "[]", r#"{"reason": {"done": null}}"#]),
    ("Reopen", "POST", "/channels/a/reopen", &["[null]", "[]"]),
    ("Acknowledge", "POST", "/inbox/ada/ack", &["[null, [], null]", "[]"]),
    ("Subscribe", "POST", "/subscribe", &["[]", r#"{"channels": [["a", null]]}"#, r#"{"patterns": [["a*", null]]}"#]),
    (
        "Change",
        "PATCH",
        "/streams/0123456789abcdef0123456789abcdef",
        &[r#"[["a"], ["b"]]"#, "[]", r#"{"add": [["a", null, null]]}"#, r#"{"remove": [["a", null, null]]}"#],
    ),
];

#[tokio::test]
async fn no_body_and_no_object_of_a_body_is_taken_from_an_array() {
    let document = openapi::document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let schemas = operations.filter_map(|operation| {
        let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?;
        Some(schema.as_str().unwrap().rsplit('/').next().unwrap())
    });
    let table: BTreeSet<&str> = BODIES.iter().map(|(schema, ..)| *schema).collect();
    assert_eq!(table, schemas.collect(), "every body is in the table");
    let door = TestDoor::open();
    let mut stream = door.get("/events?channel=a&stream=0123456789abcdef0123456789abcdef").await;
    stream.read_until("fanfare.hello").await;
    for (_, method, path, bodies) in BODIES {
        for body in *bodies {
            let answer = door.request(method, path, &[], body).await;
            let text = answer.text().await;
            assert!(text.contains(r#""code":"malformed""#), "{path} {body}: {text}");
            assert!(text.contains("is an array; it takes") || body.contains("reason"), "{path} {body}: {text}");
        }
    }
    let followed = door.get("/streams/0123456789abcdef0123456789abcdef").await.json().await;
    assert_eq!((&followed["revision"], &followed["channels"]), (&0.into(), &serde_json::json!(["a"])));
    let info = door.get("/channels/a").await.json().await;
    assert_eq!((&info["events"], &info["ended"]), (&0.into(), &serde_json::Value::Null));
}
