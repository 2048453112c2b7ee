//! Who is measured: how a server is started, how it is subscribed to and published to. All of it is data, so that a
//! further server is one more value, and every scenario works with it.

use std::path::PathBuf;

use crate::dialect::{Dialect, Sse};
use crate::error::MeasureError;

/// A server under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What tables and charts call it.
    pub name: String,
    /// How it comes to run.
    pub start: Start,
    /// Path and query of a stream of one channel; `{channel}` stands for the channel's name.
    pub subscribe: String,
    /// Path and query of a stream of all channels that match a pattern; `{pattern}` stands for it. `None` where the
    /// server has no patterns.
    pub subscribe_pattern: Option<String>,
    /// How one event is published.
    pub publish: Publish,
    /// How several events are published by one request; `None` where each needs a request of its own.
    pub publish_many: Option<PublishMany>,
    /// Makes what speaks on a stream's connection, one for each.
    pub dialect: fn() -> Box<dyn Dialect>,
    /// What it promises. Who breaks a promise fails its scenario.
    pub promises: Promises,
}

/// How a server comes to run.
#[derive(Clone, Debug)]
pub enum Start {
    /// It is started as a process of its own, with a data folder of its own, and stopped afterwards.
    Process(Process),
    /// It runs already.
    Running {
        /// Where it listens: `host:port`.
        address: String,
        /// Its process, if what it uses is to be measured.
        process: Option<u32>,
    },
}

/// A server's process. In arguments, environment and files `{data}` stands for its data folder and `{port}` for a port
/// that is free.
#[derive(Clone, Debug)]
pub struct Process {
    /// The program.
    pub program: PathBuf,
    /// What it is called with.
    pub arguments: Vec<String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
    /// Files that are written into the data folder before it starts: name and content.
    pub files: Vec<(String, String)>,
    /// How it tells that it is ready.
    pub ready: Ready,
}

/// How a process tells that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It prints `listening on http://host:port` to its standard output.
    Says,
    /// It takes connections on `127.0.0.1` at the port that stood for `{port}`.
    Accepts,
}

/// How one event is published: a `POST` of its own.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Path and query; `{channel}` stands for the channel's name.
    pub path: String,
    /// Header fields beside `Host` and `Content-Length`: name and value.
    pub headers: Vec<(String, String)>,
    /// The body, of the channel and the event's data (one line of letters, digits and `-`): appended to the bytes.
    pub body: fn(&str, &str, &mut Vec<u8>),
}

/// How several events are published by one `POST`.
#[derive(Clone, Debug)]
pub struct PublishMany {
    /// Path and query.
    pub path: String,
    /// Header fields beside `Host` and `Content-Length`: name and value.
    pub headers: Vec<(String, String)>,
    /// The body: appended to the bytes.
    pub body: fn(&[Item], &mut Vec<u8>),
}

/// One event among several.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Its channels, at least one.
    pub channels: Vec<String>,
    /// Its data: one line of letters, digits and `-`.
    pub data: String,
}

/// What a server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "promises have nothing to do with each other")]
pub struct Promises {
    /// An open stream gets every event that was acknowledged, once and in order.
    pub delivery: bool,
    /// A stream that comes back with its last id gets what it missed.
    pub resume: bool,
    /// One event may name several channels.
    pub many_channels: bool,
    /// It has many channels. A server without delivers everything to everyone.
    pub channels: bool,
}

impl Subject {
    /// Fanfare, with this program of its server.
    pub fn fanfare(program: PathBuf) -> Self {
        // As many streams as open files allow.
        let arguments = ["--listen", "127.0.0.1:0", "--data", "{data}", "--streams-max", "1000000"];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self::fanfare_of("fanfare", Start::Process(Process::new(program, arguments)))
    }

    /// Fanfare, where it runs already.
    pub fn fanfare_at(address: String, process: Option<u32>) -> Self {
        Self::fanfare_of("fanfare", Start::Running { address, process })
    }

    fn fanfare_of(name: &str, start: Start) -> Self {
        Self {
            name: name.to_owned(),
            start,
            subscribe: "/events?channel={channel}".to_owned(),
            subscribe_pattern: Some("/events?pattern={pattern}".to_owned()),
            publish: Publish { path: "/channels/{channel}".to_owned(), headers: vec![], body: bare_body },
            publish_many: Some(PublishMany {
                path: "/publish".to_owned(),
                headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
                body: json_array,
            }),
            dialect: || Box::new(Sse::default()),
            promises: Promises { delivery: true, resume: true, many_channels: true, channels: true },
        }
    }

    /// The same server with these settings.
    ///
    /// # Errors
    ///
    /// When it runs already.
    pub fn configured(mut self, settings: String) -> Result<Self, MeasureError> {
        let Start::Process(process) = &mut self.start else {
            return Err(MeasureError::Unsupported("settings, as it runs already"));
        };
        process.files.push(("fanfare.toml".to_owned(), settings));
        process.arguments.extend(["--config", "{data}/fanfare.toml"].map(str::to_owned));
        Ok(self)
    }

    /// The bare loop (see [`bare`](crate::bare)), with this program, which is `fanfare-bench` itself.
    pub fn bare(program: PathBuf, one_send_per_event: bool) -> Self {
        let mut arguments = ["bare", "--listen", "127.0.0.1:0", "--data", "{data}"].map(str::to_owned).to_vec();
        if one_send_per_event {
            arguments.push("--one-send-per-event".to_owned());
        }
        Self {
            name: if one_send_per_event { "bare loop, one send per event" } else { "bare loop" }.to_owned(),
            start: Start::Process(Process::new(program, arguments)),
            subscribe: "/{channel}".to_owned(),
            subscribe_pattern: None,
            publish: Publish { path: "/{channel}".to_owned(), headers: vec![], body: bare_body },
            publish_many: None,
            dialect: || Box::new(Sse::default()),
            promises: Promises { delivery: true, resume: true, many_channels: false, channels: false },
        }
    }
}

impl Process {
    /// A process that says where it listens.
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self { program, arguments, environment: vec![], files: vec![], ready: Ready::Says }
    }
}

/// A body that is the data, as it is.
pub fn bare_body(_channel: &str, data: &str, body: &mut Vec<u8>) {
    body.extend_from_slice(data.as_bytes());
}

/// A JSON array of `{"channels": […], "data": "…"}`. Names must need no escapes.
pub fn json_array(items: &[Item], body: &mut Vec<u8>) {
    let mut opening = "[";
    for Item { channels, data } in items {
        body.extend_from_slice(opening.as_bytes());
        body.extend_from_slice(br#"{"channels":[""#);
        body.extend_from_slice(channels.join(r#"",""#).as_bytes());
        body.extend_from_slice(br#""],"data":""#);
        body.extend_from_slice(data.as_bytes());
        body.extend_from_slice(br#""}"#);
        opening = ",";
    }
    body.push(b']');
}
