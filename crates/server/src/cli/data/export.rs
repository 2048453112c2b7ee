//! `fanfare data export`: the events as lines of JSON, of a damaged folder too.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use fanfare_hub::{ChannelName, Clock as _, Pattern, StoreError, SystemClock};

use super::Folder;
use super::line::Line;
use crate::config::Span;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare data export > events.ndjson
  fanfare data export --pattern 'chat:*' --since 7d -o chat.ndjson
  fanfare data export --data /mnt/broken | fanfare data import --data /srv/fresh

One event a line: channels, time and expires (milliseconds since 1970), event, data, content_type, publisher, retry, id. Ids,
and with them the places of listeners, don't survive an import; a copy of the folder keeps them.")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,

    /// Only events of this channel; may be repeated
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<String>,

    /// Only events of channels that match; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pattern: Vec<String>,

    /// Only events that are younger than this, such as `90s`, `12h` or `7d`
    #[arg(long, value_name = "DURATION")]
    since: Option<Span>,

    /// The file to write; it must not be there yet [default: the standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Why an export stops.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the events can't be written")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let names: Vec<ChannelName> =
        arguments.channel.iter().map(|name| ChannelName::new(name.as_str())).collect::<Result<_, _>>()?;
    let patterns: Vec<Pattern> =
        arguments.pattern.iter().map(|text| Pattern::new(text.as_str())).collect::<Result<_, _>>()?;
    let is_all = names.is_empty() && patterns.is_empty();
    let now_ms = SystemClock::default().unix_ms();
    let since_ms = match arguments.since {
        Some(span) => now_ms.saturating_sub(u64::try_from(span.duration().as_millis())?),
        None => 0,
    };
    let mut archive = arguments.folder.open()?;
    let mut out: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(BufWriter::new(File::create_new(path)?)),
        None => Box::new(BufWriter::new(std::io::stdout().lock())),
    };
    let mut count = 0u64;
    let damaged = archive.events::<Stop>(now_ms, |event| {
        let is_wanted =
            |name: &ChannelName| is_all || names.contains(name) || patterns.iter().any(|pattern| pattern.matches(name));
        if event.record.time_ms >= since_ms && event.channels.iter().any(is_wanted) {
            serde_json::to_writer(&mut out, &Line::of(event)?).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
            count += 1;
        }
        Ok(())
    })?;
    out.flush()?;
    eprintln!("{count} events were exported");
    if damaged > 0 {
        anyhow::bail!("{damaged} places can't be read; the events that were there are left out");
    }
    Ok(())
}
