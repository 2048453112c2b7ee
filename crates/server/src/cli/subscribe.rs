//! `fanfare subscribe`: prints what a running server sends, for ever: it comes back after every cut, from where it was.
//!
//! The data goes to the standard output, everything about the connection to the standard error.

use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use fanfare_hub::Since;
use fanfare_wire::{Decoder, Event, Item};
use http_body_util::{BodyExt, Full};
use hyper::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, Stdout};

use super::publish::{detail_of, read_answer};
use crate::cli::client::{Client, Exchange, Remote};

/// How names of the hub's own events begin.
const OWN: &str = "fanfare.";

/// How long to wait before coming back, until the server says otherwise.
const RETRY: Duration = Duration::from_secs(3);

/// The longest wait, however often it failed.
const RETRY_MAX: Duration = Duration::from_mins(1);

/// How long a stream may be silent where the server doesn't say how often it gives a sign of life.
const SILENCE_MAX: Duration = Duration::from_mins(1);

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare subscribe news
  fanfare subscribe orders returns --since last:10
  fanfare subscribe --pattern 'chat:*' --json | jq .data
  fanfare subscribe --user ada --inbox --device shell --ack auto

Each event's data goes to the standard output as a line. With --json it is one of JSON: channel, key (in state channels
and inboxes), event, data, id, time. So are deletions of keys (event `fanfare.delete`), ends (`fanfare.end`) and gaps
(`fanfare.gap`), which without it are told on the standard error.")]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,

    #[command(flatten)]
    remote: Remote,
}

/// What the command line asks for.
#[derive(Args, Debug)]
struct Asked {
    /// The channels
    #[arg(required_unless_present_any = ["pattern", "inbox"])]
    channel: Vec<String>,

    /// A pattern of channels, in which `*` stands for any run of characters; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pattern: Vec<String>,

    /// From when on: last:N, start, an id, or a duration such as 5m [default: from now]
    #[arg(long, value_parser = since)]
    since: Option<String>,

    /// Who listens: what is for all but this user doesn't come
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// The messages of the user's inbox too, or alone
    #[arg(long, requires = "user")]
    inbox: bool,

    /// Which of the user's devices this is
    #[arg(long, value_name = "NAME", requires = "inbox")]
    device: Option<String>,

    /// What acknowledges messages: `auto`: coming back after a cut, those that came before it; `explicit`: nothing here
    /// [default: explicit]
    #[arg(long, value_parser = ["explicit", "auto"], requires = "device")]
    ack: Option<String>,

    /// Whether what is published to everyone comes too [default: yes]
    #[arg(long, value_parser = ["yes", "no"])]
    everyone: Option<String>,

    /// Print each event as one line of JSON: channel, key, event, data, id, time
    #[arg(long)]
    json: bool,
}

fn since(text: &str) -> Result<String, String> {
    text.parse::<Since>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { asked, remote } = arguments;
    let mut listener = Listener {
        asked,
        url: remote.client()?,
        last_event_id: String::new(),
        retry: RETRY,
        failures: 0,
        silence_max: SILENCE_MAX,
        out: tokio::io::stdout(),
    };
    tokio::select! {
        ended = listener.listen() => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Why a connection ended.
enum Cut {
    /// The server ended it, or it broke: come back.
    Again(String),
    /// Nothing will come any more, or nobody reads it.
    Done,
}

/// What lasts from one connection to the next.
struct Listener {
    asked: Asked,
    /// The server.
    url: Client,
    /// Where to go on; empty at first.
    last_event_id: String,
    /// What the server said last.
    retry: Duration,
    /// Connections that failed since the last one that was open.
    failures: u32,
    /// After how much silence the other side counts as gone.
    silence_max: Duration,
    out: Stdout,
}

impl Asked {
    fn query(&self) -> Vec<(&str, &str)> {
        let Self { channel, pattern, since, user, inbox, device, ack, everyone, json } = self;
        let mut query: Vec<(&str, &str)> = channel.iter().map(|name| ("channel", name.as_str())).collect();
        query.extend(pattern.iter().map(|text| ("pattern", text.as_str())));
        let given = [("since", since), ("user", user), ("device", device), ("ack", ack), ("everyone", everyone)];
        query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        query.extend(inbox.then_some(("inbox", "1")));
        query.extend([("as", if *json { "json" } else { "raw" }), ("errors", "status")]);
        query
    }
}

impl Listener {
    async fn listen(&mut self) -> anyhow::Result<()> {
        loop {
            let reason = match self.connect().await? {
                Cut::Done => return Ok(()),
                Cut::Again(reason) => reason,
            };
            let wait = pause(self.retry, self.failures, rand::random());
            self.failures = self.failures.saturating_add(1);
            eprintln!("{reason}; coming back in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens a stream and reads it to its end.
    async fn connect(&mut self) -> anyhow::Result<Cut> {
        let url = self.url.clone();
        let exchange = match url.send(self.request()?).await {
            Ok(exchange) => exchange,
            Err(error) => return Ok(Cut::Again(format!("no answer from {url}: {error:#}"))),
        };
        let status = exchange.response.status();
        if status == StatusCode::OK {
            return self.read(exchange).await;
        }
        if let Some(after) = retry_after(&exchange) {
            self.retry = after;
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Cut::Done);
        }
        let reason = match read_answer(exchange).await {
            Ok((_, answer)) => detail_of(&answer).unwrap_or_else(|| format!("{url} answered {status}")),
            Err(error) => error.to_string(),
        };
        let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        if status.is_server_error() || passes.contains(&status) {
            return Ok(Cut::Again(reason));
        }
        bail!(reason)
    }

    fn request(&self) -> anyhow::Result<hyper::Request<Full<Bytes>>> {
        let query = self.asked.query();
        let mut request = self.url.request("GET", "/events", &query).header(header::ACCEPT, "text/event-stream");
        if !self.last_event_id.is_empty() {
            request = request.header("last-event-id", &self.last_event_id);
        }
        Ok(request.body(Full::default())?)
    }

    async fn read(&mut self, mut exchange: Exchange) -> anyhow::Result<Cut> {
        let mut decoder = Decoder::new().resuming(&self.last_event_id);
        let mut bye = None;
        loop {
            let frame = match tokio::time::timeout(self.silence_max, exchange.response.body_mut().frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Ok(Cut::Again(format!("the stream broke off: {error}"))),
                Ok(None) => return Ok(bye.unwrap_or_else(|| Cut::Again("the stream ended".into()))),
                Err(_) => return Ok(Cut::Again("the server has fallen silent".into())),
            };
            decoder.push(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            for item in &mut decoder {
                match item? {
                    Item::Retry(retry) => self.retry = retry,
                    Item::Event(event) => {
                        if let Some(line) = line_of(&event, self.asked.json)
                            && !self.print(&line).await
                        {
                            return Ok(Cut::Done);
                        }
                        bye = self.hear(&event).or(bye);
                    }
                }
            }
            decoder.last_event_id().clone_into(&mut self.last_event_id);
        }
    }

    /// Takes note of what the server itself says.
    fn hear(&mut self, event: &Event) -> Option<Cut> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        match event.event.as_str() {
            "fanfare.hello" => {
                self.failures = 0;
                if let Some(heartbeat) = data.get("heartbeat").and_then(Value::as_f64) {
                    self.silence_max = Duration::try_from_secs_f64(heartbeat * 3.0).unwrap_or(SILENCE_MAX);
                }
                let resumed = data.get("resumed").and_then(Value::as_bool).unwrap_or_default();
                eprintln!("listening to {}{}", self.url, if resumed { ", from where it was" } else { "" });
                None
            }
            "fanfare.gap" | "fanfare.delete" | "fanfare.end" | "fanfare.reopen" => {
                if !self.asked.json {
                    eprintln!("{}: {}", event.event.trim_start_matches(OWN), event.data);
                }
                None
            }
            "fanfare.bye" => {
                let reason = data.get("reason").and_then(Value::as_str).unwrap_or("no reason");
                let reason = format!("the server says goodbye ({reason})");
                if data.get("reconnect").and_then(Value::as_bool).unwrap_or(true) {
                    return Some(Cut::Again(reason));
                }
                eprintln!("{reason}, for good");
                Some(Cut::Done)
            }
            _ => None,
        }
    }

    /// Prints an event's data. `false` once nobody reads it.
    async fn print(&mut self, data: &str) -> bool {
        let line = format!("{data}\n");
        self.out.write_all(line.as_bytes()).await.is_ok() && self.out.flush().await.is_ok()
    }
}

/// What goes to the standard output of an event. Of the hub's own it is what tells of the channels, as JSON: without it
/// nobody could keep values, or know that something is missing.
fn line_of(event: &Event, json: bool) -> Option<String> {
    match event.event.strip_prefix(OWN) {
        None => Some(event.data.clone()),
        // They have the envelope of events.
        Some("end" | "reopen") if json => Some(event.data.clone()),
        Some("delete" | "gap") if json => {
            let told: Value = serde_json::from_str(&event.data).ok()?;
            let (channel, key) = (told.get("channel").cloned(), told.get("key").cloned());
            let data = if key.is_some() { Value::from("") } else { told };
            let line = Line { channel: channel.unwrap_or_default(), key, event: &event.event, data };
            serde_json::to_string(&line).ok()
        }
        Some(_) => None,
    }
}

/// A deletion or a gap, in the envelope that events have. A deletion looks as in pages of history.
#[derive(Serialize)]
struct Line<'a> {
    channel: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Value>,
    event: &'a str,
    data: Value,
}

fn retry_after(exchange: &Exchange) -> Option<Duration> {
    let value = exchange.response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// How long to wait: what the server said, doubled with each failure, and never the same for all that were cut off at
/// once. `random` is in 0..1.
fn pause(retry: Duration, failures: u32, random: f64) -> Duration {
    let longest = retry.saturating_mul(1 << failures.min(16)).min(RETRY_MAX.max(retry));
    longest.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(4), 0, 0.0), seconds(2));
        assert_eq!(pause(seconds(4), 0, 1.0), seconds(4));
        assert_eq!(pause(seconds(4), 2, 1.0), seconds(16));
        assert_eq!(pause(seconds(4), 40, 1.0), RETRY_MAX);
        assert_eq!(pause(seconds(600), 3, 1.0), seconds(600), "what the server asks for is never shortened");
    }
}
