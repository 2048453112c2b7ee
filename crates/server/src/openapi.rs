//! The interface as an `OpenAPI` 3.1 document: made from the table of routes, the codes of problems and the limits, with a file
//! of operations and one of schemas.
//!
//! It is written out and not derived from the handlers, since those read their queries and bodies themselves, strictly,
//! where a macro would see nothing. What keeps it true: a test that it has exactly the routes there are, and requests that
//! are made up from it against a running server.

use serde_json::{Map, Value, json};

use crate::error::Code;

mod inbox;
mod operations;
mod schemas;

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for operation in operations::all() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_owned(), operation.document());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fanfare",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publish with one POST, listen over Server-Sent Events, resume exactly. PROTOCOL.md says all of it.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas::all()},
    })
}

/// One method of one path.
struct Operation {
    path: &'static str,
    /// In lower case.
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    /// Content types and schemas of the request's body.
    body: Vec<(&'static str, Value)>,
    /// What 200 is: content type, schema. [`NOTHING`] where it is 204.
    answer: (&'static str, Value),
    /// What may go wrong here, beside what may go wrong everywhere.
    codes: Vec<Code>,
}

/// What may go wrong with every request: the guard's refusals, unknown parameters, and what should not happen.
const EVERYWHERE: [Code; 6] =
    [Code::Malformed, Code::ForeignOrigin, Code::UrlTooLong, Code::WrongHost, Code::HeadersTooLarge, Code::Internal];

/// The answer of what has none.
const NOTHING: (&str, Value) = ("", Value::Null);

impl Operation {
    fn document(&self) -> Value {
        let (content_type, schema) = &self.answer;
        let ok = if content_type.is_empty() {
            ("204".to_owned(), json!({"description": "Done."}))
        } else {
            ("200".to_owned(), json!({"description": "Done.", "content": {*content_type: {"schema": schema}}}))
        };
        let mut responses = Map::from_iter([ok]);
        if *content_type == "text/event-stream" {
            let over = "All that would be followed has ended, and the listener has all of it; or the stream was ended for good.";
            responses.insert("204".to_owned(), json!({"description": over}));
        }
        let mut codes: Vec<Code> = EVERYWHERE.into_iter().chain(self.codes.iter().copied()).collect();
        codes.sort_by_key(|code| Code::ALL.iter().position(|other| other == code));
        codes.dedup();
        for code in &codes {
            let status = code.status().as_str().to_owned();
            let same = codes.iter().filter(|other| other.status() == code.status());
            let lines: Vec<String> = same.map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
            let content = json!({"application/problem+json": {"schema": schemas::reference("Problem")}});
            responses.entry(status).or_insert_with(|| json!({"description": lines.join(" "), "content": content}));
        }
        let mut document = json!({"operationId": self.id, "summary": self.summary, "responses": responses});
        if let Some(document) = document.as_object_mut() {
            if !self.parameters.is_empty() {
                document.insert("parameters".into(), self.parameters.clone().into());
            }
            if !self.body.is_empty() {
                let content = self.body.iter().map(|(of, schema)| ((*of).to_owned(), json!({"schema": schema})));
                let content: Map<String, Value> = content.collect();
                document.insert("requestBody".into(), json!({"required": true, "content": content}));
            }
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes;
    use crate::testing::TestDoor;

    #[test]
    fn all_routes_are_in_it_and_nothing_else() {
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                documented.insert((path.clone(), method.to_ascii_uppercase()));
            }
        }
        let routes = routes::API.iter();
        let there = routes.flat_map(|route| route.methods.iter().map(|method| (route.path.into(), (*method).into())));
        assert_eq!(documented, there.collect::<BTreeSet<(String, String)>>());
    }

    #[test]
    fn every_code_is_told_somewhere_and_every_reference_leads_somewhere() {
        let text = document().to_string();
        for code in Code::ALL {
            // No operation meets these: they are of paths and methods that aren't there.
            let is_of_none = matches!(code, Code::NotFound | Code::MethodNotAllowed);
            assert_eq!(text.contains(&format!("`{}`:", code.as_str())), !is_of_none, "{}", code.as_str());
        }
        let schemas = schemas::all();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "{name}");
        }
        let ids: Vec<&str> = operations::all().iter().map(|operation| operation.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    /// Whether an object has exactly the members that a schema names.
    fn has_members_of(schema: &str, value: &Value) {
        let schemas = schemas::all();
        let named: BTreeSet<&String> = schemas[schema]["properties"].as_object().unwrap().keys().collect();
        let there: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        assert!(there.is_subset(&named), "{schema} lacks {:?}", there.difference(&named));
        for required in schemas[schema]["required"].as_array().unwrap() {
            assert!(value.get(required.as_str().unwrap()).is_some(), "{schema} requires {required}");
        }
    }

    #[tokio::test]
    async fn answers_have_the_members_that_it_names() {
        let door = TestDoor::open();
        has_members_of("Receipt", &door.post("/channels/a", "x").await.json().await);
        has_members_of("Channel", &door.get("/channels/a").await.json().await);
        has_members_of("Channels", &door.get("/channels").await.json().await);
        let page = door.get("/channels/a/history").await.json().await;
        has_members_of("Page", &page);
        has_members_of("Event", &page["events"][0]);
        let stream = "/streams/0123456789abcdef0123456789abcdef";
        let mut listener = door.get("/events?stream=0123456789abcdef0123456789abcdef").await;
        listener.read_until("fanfare.hello").await;
        has_members_of("Stream", &door.get(stream).await.json().await);
        door.post("/inbox/ada", "x").await;
        let inbox = door.get("/inbox/ada").await.json().await;
        has_members_of("Inbox", &inbox);
        has_members_of("Event", &inbox["events"][0]);
        has_members_of("Acknowledged", &door.request("DELETE", "/inbox/ada", &[], "").await.json().await);
        has_members_of("Problem", &door.get("/channels/a?x=1").await.problem().await);
        has_members_of("Ready", &door.get("/health/ready").await.json().await);
        has_members_of("Live", &door.get("/health/live").await.json().await);
        assert_eq!(door.get("/openapi.json").await.json().await, document());
    }
}
