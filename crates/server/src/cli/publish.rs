//! `fanfare publish`: one event to a running server.

use std::io::{IsTerminal, Write as _};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use fanfare_hub::limits::EVENT_BYTES_MAX;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header;
use tokio::io::AsyncReadExt;

use crate::cli::client::{Exchange, Remote, encode};

/// Largest answer that is read: a receipt or a problem, and much room.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare publish news hello
  fanfare publish orders '{\"id\": 7}' --json --event created
  date | fanfare publish clock
  fanfare publish prices 17.40 --key ACME
  fanfare publish prices --key ACME --delete
  fanfare publish --user ada 'Lunch?'

The receipt goes to the standard output as JSON. Of data from the standard input one line end is taken off.")]
pub(super) struct Arguments {
    /// The channel; there is none with `--user`
    #[arg(required_unless_present = "user")]
    channel: Option<String>,

    /// The data; `-`, or nothing where the standard input is a pipe or a file, reads it from there
    data: Option<String>,

    /// The user whose inbox it is for, instead of a channel
    #[arg(long, value_name = "USER", conflicts_with = "key")]
    user: Option<String>,

    /// The key whose value it is, in a state channel
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Delete the key instead of publishing a value
    #[arg(long, requires = "key", conflicts_with_all = ["data", "event", "json"])]
    delete: bool,

    /// The event's name, for pages that listen for it
    #[arg(long, value_name = "NAME")]
    event: Option<String>,

    /// The data is JSON
    #[arg(long)]
    json: bool,

    /// Makes repeating this command within ten minutes harmless
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { mut channel, mut data, user, key, delete, event, json, idempotency_key, remote } = arguments;
    if user.is_some() {
        // What comes first is the data then.
        anyhow::ensure!(data.is_none(), "with --user there is no channel: give the data alone");
        data = channel.take();
    }
    let url = remote.client()?;
    let data = match data {
        _ if delete => Vec::new(),
        Some(data) if data != "-" => data.into_bytes(),
        None if std::io::stdin().is_terminal() => bail!("there is no data: give it, or `-` to type it"),
        _ => read_stdin().await?,
    };
    let path = user.map_or_else(|| "/channels".to_owned(), |user| format!("/inbox/{}", encode(&user)));
    let query = [("channel", &channel), ("key", &key), ("event", &event)];
    let query: Vec<_> = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let mut request = url.request(if delete { "DELETE" } else { "POST" }, &path, &query);
    if !delete {
        let content_type = if json { "application/json" } else { "text/plain; charset=utf-8" };
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(Bytes::from(data))).context("the idempotency key can't be sent")?;
    let exchange = url.send(request).await.with_context(|| format!("no answer from {url}"))?;
    let (status, answer) = read_answer(exchange).await?;
    if !status.is_success() {
        bail!("{}", detail_of(&answer).unwrap_or_else(|| format!("{url} answered {status}")));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(answer.trim_ascii())?;
    Ok(writeln!(out)?)
}

/// Reads the standard input, up to what an event may hold and a bit, so that the server can say that it is too much.
async fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut data = Vec::new();
    tokio::io::stdin().take(EVENT_BYTES_MAX as u64 + 16).read_to_end(&mut data).await.context("reading the data")?;
    if data.last() == Some(&b'\n') {
        data.pop();
        if data.last() == Some(&b'\r') {
            data.pop();
        }
    }
    Ok(data)
}

/// Reads a short answer whole.
pub(super) async fn read_answer(mut exchange: Exchange) -> anyhow::Result<(hyper::StatusCode, Bytes)> {
    let status = exchange.response.status();
    let body = Limited::new(exchange.response.body_mut(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
    Ok((status, body.to_bytes()))
}

/// What a problem says is wrong (RFC 9457).
pub(super) fn detail_of(answer: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(answer).ok()?;
    problem.get("detail").or_else(|| problem.get("title"))?.as_str().map(str::to_owned)
}
