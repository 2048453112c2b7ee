//! The operations of inboxes.

use fanfare_hub::limits::HISTORY_EVENTS_MAX;
use serde_json::{Value, json};

use super::Operation;
use super::operations::{JSON, OF_BODIES, OF_EVENTS, OF_READS, event_options, header, limit, parameter, query};
use super::schemas::{reference, user_name};
use crate::error::Code;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let user = || parameter("path", "user", user_name(), "A user's name, percent-encoded.");
    let key = header("Idempotency-Key", "Makes a second try harmless.");
    let options = [vec![user()], event_options().to_vec(), vec![key]].concat();
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
        of("/inbox/{user}", "delete", "emptyInbox", "Acknowledges all that waits.", vec![user()], "Acknowledged"),
        Operation {
            body: vec![(JSON, reference("Acknowledge"))],
            ..of("/inbox/{user}/ack", "post", "acknowledge", "Acknowledges messages.", vec![user()], "Acknowledged")
        },
    ]
}
