//! The operations of inboxes.

use fanfare_hub::limits::HISTORY_EVENTS_MAX;
use serde_json::{Value, json};

use super::Operation;
use super::operations::{JSON, OF_BODIES, OF_EVENTS, OF_READS, header, limit, parameter, query};
use super::schemas::{event_name, reference, user_name};
use crate::error::Code;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let user = || parameter("path", "user", user_name(), "A user's name, percent-encoded.");
    let options = vec![
        user(),
        parameter("query", "event", event_name(), "The event's name."),
        parameter(
            "query",
            "retry",
            json!({"type": "integer", "minimum": 0}),
            "A reconnection time for browsers, in ms.",
        ),
        parameter(
            "query",
            "ttl",
            json!({"type": "string", "pattern": "^[1-9][0-9]{0,5}(s|m|h)?$"}),
            "How long it is worth delivering.",
        ),
        header("Idempotency-Key", "Makes a second try harmless."),
    ];
    let of = |path, method, id, summary, parameters: Vec<Value>, answer| Operation {
        path,
        method,
        id,
        summary,
        parameters,
        body: vec![],
        answer: (JSON, reference(answer)),
        codes: [&OF_EVENTS[..], &OF_READS, &OF_BODIES, &[Code::UnknownId]].concat(),
    };
    let page = vec![user(), query("after", "The `next` of the page before."), limit(HISTORY_EVENTS_MAX)];
    vec![
        of("/inbox/{user}", "get", "inbox", "What waits for a user.", page, "Inbox"),
        Operation {
            body: vec![("text/plain", json!({"type": "string"})), (JSON, json!({}))],
            ..of("/inbox/{user}", "post", "publishToUser", "Publishes the body to a user.", options, "Receipt")
        },
        of("/inbox/{user}", "delete", "flush", "Acknowledges all that waits.", vec![user()], "Acknowledged"),
        Operation {
            body: vec![(JSON, reference("Acknowledge"))],
            ..of("/inbox/{user}/ack", "post", "acknowledge", "Acknowledges messages.", vec![user()], "Acknowledged")
        },
    ]
}
