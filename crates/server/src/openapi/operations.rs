//! The operations: what each path takes and gives.

use serde_json::{Value, json};

use super::schemas::{channel_name, device_name, event_name, reference, since, user_name};
use super::{NOTHING, Operation, inbox};
use crate::error::Code;
use crate::limits::{CHANNELS_PAGE_MAX, PAGE_LENGTH};

/// JSON's content type.
pub(super) const JSON: &str = "application/json";

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    [listening(), steering(), publishing(), ending(), inbox::all(), reading(), watching()]
        .into_iter()
        .flatten()
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is written where it is given")]
pub(super) fn parameter(place: &str, name: &str, schema: Value, description: &str) -> Value {
    let is_path = place == "path";
    json!({"name": name, "in": place, "required": is_path, "schema": schema, "description": description})
}

pub(super) fn query(name: &str, description: &str) -> Value {
    parameter("query", name, json!({"type": "string"}), description)
}

/// A query parameter that may be repeated.
fn repeated(name: &str, description: &str) -> Value {
    parameter("query", name, json!({"type": "array", "minItems": 1, "items": channel_name()}), description)
}

fn words(name: &str, words: &[&str], description: &str) -> Value {
    parameter("query", name, json!({"enum": words, "default": words.first()}), description)
}

pub(super) fn limit(max: usize) -> Value {
    let schema = json!({"type": "integer", "minimum": 1, "maximum": max, "default": PAGE_LENGTH});
    parameter("query", "limit", schema, "How many at most.")
}

pub(super) fn header(name: &str, description: &str) -> Value {
    parameter("header", name, json!({"type": "string", "minLength": 1}), description)
}

fn channel_path() -> Value {
    parameter("path", "channel", channel_name(), "A channel's name, percent-encoded.")
}

/// What may go wrong where a stream is asked for.
const OF_STREAMS: [Code; 7] = [
    Code::BadChannel,
    Code::ReservedChannel,
    Code::NotUtf8,
    Code::RateLimited,
    Code::TooManyStreams,
    Code::Full,
    Code::Draining,
];

/// What may go wrong with a body.
pub(super) const OF_BODIES: [Code; 6] =
    [Code::BadJson, Code::NotUtf8, Code::Timeout, Code::TooLarge, Code::UnsupportedMedia, Code::Busy];

/// What may go wrong with an event.
pub(super) const OF_EVENTS: [Code; 14] = [
    Code::RateLimited,
    Code::BadChannel,
    Code::BadEventName,
    Code::ReservedChannel,
    Code::Conflict,
    Code::Ended,
    Code::Fenced,
    Code::ChannelKind,
    Code::TooManyKeys,
    Code::UnknownKey,
    Code::DiskFull,
    Code::Closed,
    Code::OutcomeUnknown,
    Code::StoreReopening,
];

/// What may go wrong with a read.
pub(super) const OF_READS: [Code; 6] =
    [Code::BadChannel, Code::ReservedChannel, Code::NotUtf8, Code::StoreFailed, Code::Busy, Code::StoreReopening];

fn listening() -> Vec<Operation> {
    let stream =
        || ("text/event-stream", json!({"type": "string", "description": "An event stream (WHATWG HTML 9.2)."}));
    let last = header("Last-Event-ID", "The id that the listener saw last.");
    vec![
        Operation {
            path: "/events",
            method: "get",
            id: "listen",
            summary: "Opens a stream.",
            parameters: vec![
                repeated("channel", "Follow this channel."),
                repeated("pattern", "Follow all channels that match. Neither: the channel `main`."),
                parameter(
                    "query",
                    "since",
                    since(),
                    "From when on: `last:N`, `start`, an id, or a duration such as `5m`.",
                ),
                query("lastEventId", "As the header, for those who can't set headers."),
                parameter("query", "stream", stream_id(), "An id that the listener gives the stream, unguessable."),
                words("as", &["raw", "json"], "How events look."),
                words("heartbeat", &["comment", "event"], "How heartbeats look."),
                words("hello", &["event", "message", "none"], "How the stream is greeted."),
                words("errors", &["stream", "status"], "How refusals that pass look."),
                words("everyone", &["yes", "no"], "Whether what is published to everyone comes too."),
                parameter("query", "user", user_name(), "Who listens."),
                words("inbox", &["0", "1"], "Whether the user's inbox comes too."),
                parameter("query", "device", device_name(), "Which of the user's devices listens."),
                words("ack", &["explicit", "auto"], "Whether the device acknowledges by coming back."),
                last.clone(),
            ],
            body: vec![],
            answer: stream(),
            codes: OF_STREAMS.to_vec(),
        },
        Operation {
            path: "/subscribe",
            method: "post",
            id: "subscribe",
            summary: "Opens a stream, with a body that says what to follow.",
            parameters: vec![last],
            body: vec![(JSON, reference("Subscribe"))],
            answer: stream(),
            codes: [&OF_STREAMS[..], &OF_BODIES].concat(),
        },
    ]
}

fn required(mut parameter: Value) -> Value {
    if let Some(parameter) = parameter.as_object_mut() {
        parameter.insert("required".into(), true.into());
    }
    parameter
}

fn channel_query() -> Value {
    required(parameter("query", "channel", channel_name(), "The channel's name."))
}

fn key_of_event() -> Value {
    let schema = json!({"type": "string", "minLength": 1, "maxLength": fanfare_hub::limits::KEY_BYTES_MAX});
    parameter("query", "key", schema, "The event's key, in a state channel.")
}

/// What may be said of an event whose data is the body.
pub(super) fn event_options() -> [Value; 3] {
    let ttl = json!({"type": "string", "pattern": "^[1-9][0-9]{0,5}(s|m|h)?$"});
    let retry = json!({"type": "integer", "minimum": 0});
    [
        parameter("query", "event", event_name(), "The event's name."),
        parameter("query", "retry", retry, "A reconnection time for browsers, in ms."),
        parameter("query", "ttl", ttl, "How long it is worth delivering."),
    ]
}

fn fence() -> Value {
    let schema = json!({"type": "integer", "minimum": 1});
    parameter("query", "fence", schema, "Which producer of the channel this is, where it has one.")
}

fn stream_id() -> Value {
    json!({"type": "string", "pattern": "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"})
}

/// What may go wrong where a stream is changed.
const OF_CHANGES: [Code; 5] =
    [Code::BadChannel, Code::UnknownId, Code::UnknownStream, Code::RateLimited, Code::TooManyChannels];

fn steering() -> Vec<Operation> {
    let of = |method, id, summary, answer, codes: Vec<Code>| Operation {
        path: "/streams/{stream}",
        method,
        id,
        summary,
        parameters: vec![parameter("path", "stream", stream_id(), "The stream's id.")],
        body: vec![],
        answer,
        codes,
    };
    let stream = || (JSON, reference("Stream"));
    let change = [&OF_CHANGES[..], &OF_BODIES].concat();
    vec![
        of("get", "stream", "What a stream follows.", stream(), vec![Code::UnknownStream, Code::NotUtf8]),
        Operation {
            body: vec![(JSON, reference("Change"))],
            ..of("patch", "changeStream", "Changes what an open stream follows.", stream(), change)
        },
        of(
            "delete",
            "endStream",
            "Ends a stream for good.",
            NOTHING,
            vec![Code::UnknownStream, Code::NotUtf8, Code::RateLimited, Code::Timeout],
        ),
    ]
}

fn publishing() -> Vec<Operation> {
    let key = || header("Idempotency-Key", "Makes a second try harmless.");
    let options = || [vec![key_of_event()], event_options().to_vec(), vec![fence(), key()]].concat();
    let raw = |path, id, summary, channel| Operation {
        path,
        method: "post",
        id,
        summary,
        parameters: [vec![channel], options()].concat(),
        body: vec![("text/plain", json!({"type": "string"})), (JSON, json!({}))],
        answer: (JSON, reference("Receipt")),
        codes: [&OF_EVENTS[..], &OF_BODIES].concat(),
    };
    let delete = |path, id, channel| Operation {
        path,
        method: "delete",
        id,
        summary: "Deletes a key of a state channel.",
        parameters: vec![channel, required(key_of_event()), fence(), key()],
        body: vec![],
        answer: (JSON, reference("Receipt")),
        codes: [&OF_EVENTS[..], &[Code::NotUtf8, Code::Timeout]].concat(),
    };
    let channels = repeated("channel", "The event's channels, the first being the canonical one. At least one.");
    vec![
        Operation {
            path: "/publish",
            method: "post",
            id: "publish",
            summary: "Publishes one event, or a batch.",
            parameters: vec![words("atomic", &["0", "1"], "Whether a batch is all or nothing."), key()],
            body: vec![(JSON, reference("Publish")), ("application/x-ndjson", json!({"type": "string"}))],
            answer: (JSON, json!({"anyOf": [reference("Receipt"), reference("Results")]})),
            codes: [&OF_EVENTS[..], &OF_BODIES, &[Code::TooManyChannels]].concat(),
        },
        delete("/channels/{channel}", "deleteKey", channel_path()),
        delete("/channels", "deleteKeyOf", channel_query()),
        raw("/channels/{channel}", "publishTo", "Publishes the body to a channel.", channel_path()),
        raw("/channels", "publishToAll", "Publishes the body to the channels that the query names.", channels),
    ]
}

fn ending() -> Vec<Operation> {
    let post = |path: &'static str, id, summary, parameters: Vec<Value>, body, answer| Operation {
        path,
        method: "post",
        id,
        summary,
        parameters: [vec![if path.contains('{') { channel_path() } else { channel_query() }], parameters].concat(),
        body,
        answer: (JSON, reference(answer)),
        codes: [&OF_EVENTS[..], &OF_BODIES].concat(),
    };
    let with = |schema| vec![(JSON, reference(schema))];
    vec![
        post("/channels/{channel}/end", "end", "Ends a channel.", vec![fence()], with("End"), "Receipt"),
        post("/channels/{channel}/reopen", "reopen", "Opens it again.", vec![fence()], with("Reopen"), "Receipt"),
        post("/channels/{channel}/producer", "producer", "A fence for a new producer.", vec![], vec![], "Producer"),
        post("/end", "endOf", "Ends a channel.", vec![fence()], with("End"), "Receipt"),
        post("/reopen", "reopenOf", "Opens it again.", vec![fence()], with("Reopen"), "Receipt"),
        post("/producer", "producerOf", "A fence for a new producer.", vec![], vec![], "Producer"),
    ]
}

fn reading() -> Vec<Operation> {
    let pages = || {
        let id = json!({"type": "string", "pattern": "^[0-9A-Za-z._-]{1,64}$"});
        vec![
            parameter("query", "since", since(), "From when on: `last:N`, `start`, an id, or a duration."),
            parameter("query", "before", id, "An id: only events before it."),
            words("order", &["asc", "desc"], "Which way."),
            limit(fanfare_hub::limits::HISTORY_EVENTS_MAX),
        ]
    };
    let get = |path, id, summary, parameters: Vec<Value>, answer| Operation {
        path,
        method: "get",
        id,
        summary,
        parameters,
        body: vec![],
        answer: (JSON, answer),
        codes: OF_READS.to_vec(),
    };
    let of_history =
        |operation: Operation| Operation { codes: [&operation.codes[..], &[Code::UnknownId]].concat(), ..operation };
    let mut channel = parameter("query", "channel", channel_name(), "The channel's name.");
    if let Some(channel) = channel.as_object_mut() {
        channel.insert("required".into(), true.into());
    }
    let of_keys = |operation: Operation| Operation {
        codes: [&operation.codes[..], &[Code::UnknownKey, Code::ChannelKind]].concat(),
        ..operation
    };
    let keys = || reference("Keys");
    let of_values = |channel| {
        let after = query("after", "The `next` of the page before.");
        vec![channel, key_of_event(), after, limit(fanfare_hub::limits::HISTORY_EVENTS_MAX)]
    };
    let listing = vec![
        query("channel", "One channel, whose state is the answer; not with the others."),
        query("prefix", "What the names begin with."),
        query("after", "The `next` of the page before."),
        limit(CHANNELS_PAGE_MAX),
    ];
    let names = json!({"anyOf": [reference("Channels"), reference("Channel")]});
    let (by_path, by_query) = ([vec![channel_path()], pages()].concat(), [vec![channel], pages()].concat());
    vec![
        get("/channels", "channels", "Names of channels that have history.", listing, names),
        get(
            "/channels/{channel}",
            "channel",
            "A channel's state and settings.",
            vec![channel_path()],
            reference("Channel"),
        ),
        of_keys(get(
            "/channels/{channel}/keys",
            "keys",
            "Values of a state channel.",
            of_values(channel_path()),
            keys(),
        )),
        of_keys(get("/keys", "keysOf", "Values of a state channel.", of_values(channel_query()), keys())),
        of_history(get("/channels/{channel}/history", "history", "A page of history.", by_path, reference("Page"))),
        of_history(get("/history", "historyOf", "A page of history.", by_query, reference("Page"))),
    ]
}

fn watching() -> Vec<Operation> {
    let get = |path, id, summary, answer, codes: &[Code]| Operation {
        path,
        method: "get",
        id,
        summary,
        parameters: vec![],
        body: vec![],
        answer,
        codes: codes.to_vec(),
    };
    let text = json!({"type": "string"});
    let document = json!({"type": "object", "description": "This document."});
    let figures = ("application/openmetrics-text", text);
    vec![
        get("/stats", "stats", "What the hub is and has done.", (JSON, reference("Stats")), &[Code::Busy]),
        get("/metrics", "metrics", "The same for Prometheus.", figures, &[Code::Busy]),
        get("/health/live", "live", "Whether the process answers.", (JSON, reference("Live")), &[]),
        get("/health/ready", "ready", "Whether to send anybody here.", (JSON, reference("Ready")), &[Code::NotReady]),
        get("/openapi.json", "openapi", "This document.", (JSON, document), &[]),
    ]
}
