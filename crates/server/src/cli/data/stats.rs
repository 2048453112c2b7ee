//! `fanfare data stats`: what a data folder holds.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use fanfare_hub::archive::ChannelStats;

use super::Folder;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare data stats                      the folder that the settings name
  fanfare data stats --by bytes --top 5   the five largest channels
  fanfare data stats --json               all channels, for programs")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,

    /// How many channels to list
    #[arg(long, value_name = "COUNT", default_value_t = 20, conflicts_with = "json")]
    top: usize,

    /// What makes a channel large
    #[arg(long, value_enum, default_value_t = By::Events)]
    by: By,

    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    Events,
    Bytes,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut stats = arguments.folder.open()?.stats()?;
    let size = |channel: &ChannelStats| match arguments.by {
        By::Events => channel.events,
        By::Bytes => channel.bytes,
    };
    stats.channels.sort_by_key(|channel| std::cmp::Reverse(size(channel)));
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &stats)?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "events    {}", stats.events)?;
    writeln!(out, "bytes     {} of events, {} on disk", stats.bytes, stats.disk_bytes)?;
    writeln!(out, "oldest    {}", time(stats.oldest))?;
    writeln!(out, "newest    {}", time(stats.newest))?;
    writeln!(out, "openings  {}", stats.epochs)?;
    writeln!(out, "damaged   {}", stats.damaged)?;
    writeln!(out, "channels  {}", stats.channels.len())?;
    if !stats.channels.is_empty() {
        writeln!(out, "\n{:>12} {:>14}  {:<29}  channel", "events", "bytes", "newest")?;
    }
    for channel in stats.channels.iter().take(arguments.top) {
        let ChannelStats { channel: name, events, bytes, newest, .. } = channel;
        writeln!(out, "{events:>12} {bytes:>14}  {:<29}  {name}", time(*newest))?;
    }
    Ok(())
}

/// A time for people.
fn time(unix_ms: Option<u64>) -> String {
    unix_ms.map_or_else(|| "-".into(), |ms| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms)))
}
