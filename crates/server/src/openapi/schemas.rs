//! What bodies look like, as JSON Schema 2020-12.

use fanfare_hub::EndReason;
use fanfare_hub::limits::BATCH_EVENTS_MAX;
use serde_json::{Value, json};

use crate::error::Code;

/// A schema by its name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object of which these members are always there, and no others are.
#[expect(clippy::needless_pass_by_value, reason = "it is written where it is given")]
fn object(members: Value) -> Value {
    let required: Vec<&String> = members.as_object().into_iter().flat_map(|members| members.keys()).collect();
    json!({"type": "object", "required": required, "properties": members, "additionalProperties": false})
}

/// An object of which none of these members must be there, and no others are.
#[expect(clippy::needless_pass_by_value, reason = "it is written where it is given")]
fn optional(members: Value) -> Value {
    json!({"type": "object", "required": [], "properties": members, "additionalProperties": false})
}

/// An object that may have one more member.
fn with(mut object: Value, name: &str, schema: Value) -> Value {
    if let Some(members) = object.get_mut("properties").and_then(Value::as_object_mut) {
        members.insert(name.to_owned(), schema);
    }
    object
}

fn whole(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn id(description: &str) -> Value {
    json!({"type": ["string", "null"], "description": description})
}

/// All schemas, by name.
pub(super) fn all() -> Value {
    json!({
        "Problem": problem(),
        "Receipt": object(json!({
            "id": id("The event's id; null where it is transient."),
            "channel": id("The canonical channel; null where a pattern met none that takes it."),
            "channels": whole("How many channels it was published to."),
            "durability": {"enum": ["durable", "memory", "transient"]},
            "streams": whole("Open streams that follow one of its channels, those of an excluded user aside."),
            "duplicate": {"type": "boolean", "description": "Whether it had been published before, by its key."},
        })),
        "Results": object(json!({
            "results": {"type": "array", "items": {"anyOf": [reference("Receipt"), reference("Problem")]}},
        })),
        "Publish": publish(),
        "End": optional(json!({
            "reason": {"enum": EndReason::ALL.map(EndReason::as_str), "default": "done"},
            "data": {"description": "Any JSON, delivered with the end."},
            "fence": {"type": "integer", "minimum": 1},
        })),
        "Reopen": optional(json!({"fence": {"type": "integer", "minimum": 1}})),
        "Producer": object(json!({
            "channel": text("Its name."),
            "fence": {"type": "integer", "minimum": 1, "description": "What to publish with."},
        })),
        "Subscribe": subscribe(),
        "Change": change(),
        "Stream": object(json!({
            "stream": text("The stream's id."),
            "revision": whole("Counts its changes; 0 as long as it follows what its listener asked for."),
            "id": id("Its cursor; null while it isn't open."),
            "channels": {"type": "array", "items": {"type": "string"}},
            "patterns": {"type": "array", "items": {"type": "string"}},
        })),
        "Channel": channel(),
        "Keys": object(json!({
            "channel": text("The channel that was asked for."),
            "values": {"type": "array", "items": reference("Event")},
            "next": id("What to give as `after`; null on the last page."),
            "cursor": text("The id of the log's end before the values were read."),
        })),
        "Inbox": inbox(),
        "Acknowledge": acknowledge(),
        "Acknowledged": object(json!({
            "user": text("The user."),
            "acknowledged": whole("How many messages this acknowledged."),
            "unread": whole("How many are left."),
        })),
        "Channels": object(json!({
            "channels": {"type": "array", "items": {"type": "string"}},
            "next": {"type": ["string", "null"], "description": "What to give as `after`; null on the last page."},
        })),
        "Event": with(object(json!({
            "channel": text("The channel that was asked for."),
            "event": {"type": ["string", "null"], "description": "The event's name."},
            "data": {"description": "JSON where the publisher said so, otherwise a string."},
            "id": id("The event's id."),
            "time": whole("Milliseconds since 1970, by the hub's clock."),
        })), "key", text("The event's key, in a state channel.")),
        "Page": page(),
        "Stats": {"type": "object", "description": "What the hub is and has done; members are added."},
        "Live": object(json!({"status": {"const": "live"}})),
        "Ready": object(json!({
            "status": {"const": "ready"},
            "checks": {"type": "object", "additionalProperties": {"type": "string"}},
        })),
    })
}

/// RFC 9457.
fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let problem = object(json!({
        "type": text("`urn:fanfare:problem:` and the code."),
        "title": text("A few words, the same for every problem with this code."),
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": text("What is wrong, for people."),
        "code": {"enum": codes},
    }));
    // Only where there is something to say.
    let checks = json!({"type": "object", "additionalProperties": {"type": "string"}});
    with(with(problem, "item", whole("Which item of a batch is meant.")), "checks", checks)
}

/// `POST /publish`.
fn publish() -> Value {
    let named = |name: &str, channel: Value| {
        let mut item = with(event(), name, channel);
        if let Some(item) = item.as_object_mut() {
            item.insert("required".into(), json!([name, "data"]));
        }
        item
    };
    let several = json!({"type": "array", "minItems": 1, "items": channel_name(), "description": "The first is the canonical one."});
    let pattern = json!({"pattern": channel_name()});
    let to = json!({"anyOf": [{"const": "everyone"}, object(pattern)], "description": "Everyone, or who follows channels that match."});
    let item = json!({"anyOf": [named("channel", channel_name()), named("channels", several), named("to", to), named("user", user_name())]});
    json!({"anyOf": [item, {"type": "array", "maxItems": BATCH_EVENTS_MAX, "items": item}]})
}

/// One event, but for its channels.
fn event() -> Value {
    optional(json!({
        "event": event_name(),
        "data": {"description": "Any JSON, delivered as it was written; a string is text. Required."},
        "retry": whole("A reconnection time for browsers, in milliseconds."),
        "ttl": {"type": ["number", "string"], "description": "How long it is worth delivering: seconds, or `5m`."},
        "idempotency_key": {"type": "string", "minLength": 1, "description": "Makes a second try harmless."},
        "key": {"type": "string", "minLength": 1, "description": "What it is the value of, in a state channel."},
        "delete": {"type": "boolean", "description": "Whether the key is deleted; then there is no `data`."},
        "fence": {"type": "integer", "minimum": 1, "description": "Which producer of the channel this is."},
        "except": except(),
    }))
}

/// Whom an event isn't for.
fn except() -> Value {
    let id = "^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$";
    let mut except = optional(json!({
        "user": user_name(),
        "stream": {"type": "string", "pattern": id, "description": "A stream's id, as its hello tells it."},
    }));
    if let Some(except) = except.as_object_mut() {
        except.insert("minProperties".into(), 1.into());
        except.insert("description".into(), "Whom it isn't for; `user` is not taken beside `key`.".into());
    }
    except
}

/// `GET /inbox/{user}`.
fn inbox() -> Value {
    object(json!({
        "user": text("The user that was asked for."),
        "events": {"type": "array", "items": reference("Event")},
        "next": id("What to give as `after`; null on the last page."),
        "unread": whole("Messages that are not acknowledged, in all."),
        "bytes": whole("Their bytes."),
        "cursor": text("The id of the log's end before they were read."),
    }))
}

/// `POST /inbox/{user}/ack`.
fn acknowledge() -> Value {
    let one = json!({"type": "string", "pattern": "^[0-9A-Za-z._-]{1,64}$"});
    let many = |of: Value| json!({"type": "array", "maxItems": BATCH_EVENTS_MAX, "items": of});
    let of = |name: &str, value: Value| object(json!({name: value}));
    let keys = many(json!({"type": "string", "minLength": 1}));
    json!({"anyOf": [of("upto", one.clone()), of("ids", many(one)), of("keys", keys)]})
}

/// A device's name.
pub(super) fn device_name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        "description": "1 to 64 bytes of UTF-8.",
    })
}

/// A user's name.
pub(super) fn user_name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f*]+$",
        "description": "1 to 240 bytes of UTF-8.",
    })
}

/// A name to publish to: without control characters, and none of the hub's own.
pub(super) fn channel_name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f@][^\\u0000-\\u001f\\u007f-\\u009f]*$",
        "description": "1 to 255 bytes of UTF-8.",
    })
}

/// A name that an event may have.
pub(super) fn event_name() -> Value {
    json!({
        "type": "string",
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        "description": "Not `error`, `open`, nor what begins with `fanfare.`.",
    })
}

/// From when on.
pub(super) fn since() -> Value {
    json!({"type": "string", "pattern": "^(start|last:[0-9]{1,3}|[1-9][0-9]{0,3}(ms|s|m|h|d)|[0-9A-Za-z._-]{1,64})$"})
}

/// `POST /subscribe`.
fn subscribe() -> Value {
    let of = |name: &str| {
        let members = json!({name: {"type": "string"}, "since": {"type": "string"}});
        json!({"type": "array", "items": {"anyOf": [{"type": "string"}, optional(members)]}})
    };
    optional(json!({
        "channels": of("channel"),
        "patterns": of("pattern"),
        "since": text("For those that have none of their own."),
        "last_event_id": text("The id that the listener saw last; the header wins over it."),
        "stream": text("An id that the listener gives the stream: a UUID or 32 hexadecimal digits."),
        "as": {"enum": ["raw", "json"]},
        "heartbeat": {"enum": ["comment", "event"]},
        "hello": {"enum": ["event", "message", "none"]},
        "errors": {"enum": ["stream", "status"]},
        "everyone": {"type": "boolean", "default": true, "description": "Whether what is for everyone comes too."},
        "user": user_name(),
        "inbox": {"type": "boolean", "default": false, "description": "Whether the user's inbox comes too."},
        "device": device_name(),
        "ack": {"enum": ["explicit", "auto"]},
    }))
}

/// `PATCH /streams/{stream}`.
fn change() -> Value {
    let of = |members: &[&str]| {
        let one = |name: &str| {
            let all = members.iter().chain([&name]).map(|member| ((*member).to_owned(), json!({"type": "string"})));
            let properties: serde_json::Map<String, Value> = all.collect();
            json!({"type": "object", "required": [name], "properties": properties, "additionalProperties": false})
        };
        let entry = json!({"anyOf": [{"type": "string"}, one("channel"), one("pattern")]});
        json!({"type": "array", "items": entry})
    };
    optional(json!({"add": of(&["since"]), "remove": of(&[])}))
}

fn channel() -> Value {
    let reason = json!({"enum": EndReason::ALL.map(EndReason::as_str)});
    let end = object(json!({"id": text("The id of the event that ended it."), "reason": reason}));
    object(json!({
        "channel": text("Its name."),
        "head": id("The id of the newest event that is kept."),
        "cursor": text("The id of the log's end: to follow from there misses nothing that comes after this."),
        "floor": id("The id up to which retention removed events."),
        "events": whole("Events kept, expired ones included until they are swept."),
        "bytes": whole("Bytes kept."),
        "kind": {"enum": ["events", "state", null], "description": "What it holds; null as long as that isn't decided."},
        "keys": {"type": ["integer", "null"], "minimum": 0, "description": "How many keys a state channel has."},
        "fence": {"type": ["integer", "null"], "minimum": 1, "description": "Which producer may publish."},
        "ended": {"anyOf": [end, {"type": "null"}]},
        "streams": whole("Open streams that follow it."),
        "rule": {"type": "object", "description": "Its settings; members are added."},
    }))
}

fn page() -> Value {
    let page = object(json!({
        "channel": text("The channel that was asked for."),
        "events": {"type": "array", "items": reference("Event")},
        "next": id("Where the next page begins; null on the last."),
        "gap": id("Up to where retention removed what was asked for."),
    }));
    // Only where there is something to say.
    with(page, "damaged", json!({"type": "array", "description": "What can't be read.", "items": {"type": "object"}}))
}
