//! The hub's figures: everything that [`Stats`] has, but for the names of epoch and head.

use std::fmt;

use fanfare_hub::Stats;

use super::Sheet;

pub(super) fn write(sheet: &mut Sheet<'_>, stats: &Stats) -> fmt::Result {
    streams(sheet, stats)?;
    publishing(sheet, stats)?;
    delivery(sheet, stats)?;
    disk(sheet, stats)
}

fn streams(sheet: &mut Sheet<'_>, stats: &Stats) -> fmt::Result {
    sheet.gauge("fanfare_streams_open", "Open streams.", stats.streams as f64)?;
    sheet.gauge("fanfare_streams_max", "How many streams there may be.", stats.streams_max as f64)?;
    sheet.gauge("fanfare_streams_peak", "The most streams that were open at a time.", stats.streams_peak as f64)?;
    let help = "Open streams that are still sent what came before now: history, or what waits in the window.";
    sheet.gauge("fanfare_streams_behind", help, stats.streams_behind as f64)?;
    sheet.gauge("fanfare_streams_age_seconds", "The average age of open streams.", stats.streams_age)?;
    sheet.counter("fanfare_streams_opened", "Streams opened.", stats.streams_opened)?;
    let help = "Streams opened that took up where their listener had stopped.";
    sheet.counter("fanfare_streams_resumed", help, stats.streams_resumed)?;
    let help = "Changes of what streams follow.";
    sheet.counter("fanfare_streams_changed", help, stats.streams_changed)?;
    let help = "Streams whose listener opened them anew before they had ended.";
    sheet.counter("fanfare_streams_replaced", help, stats.streams_replaced)?;
    let help = "Streams that are not open, of which it is remembered what they followed.";
    sheet.gauge("fanfare_streams_remembered", help, stats.streams_remembered as f64)?;
    let help = "Streams that were forgotten before their time, for want of room.";
    sheet.counter("fanfare_streams_forgotten", help, stats.streams_forgotten)?;
    let closed = stats.streams_closed.iter().map(|(reason, count)| (*reason, *count));
    sheet.counters("fanfare_streams_closed", "Streams closed, by reason.", "reason", closed)?;
    let refused = [
        ("full", stats.streams_refused_full),
        ("stopping", stats.streams_refused_stopping),
        ("over", stats.streams_refused_over),
    ];
    sheet.counters("fanfare_streams_refused", "Streams refused by the hub, by reason.", "reason", refused)
}

fn publishing(sheet: &mut Sheet<'_>, stats: &Stats) -> fmt::Result {
    let published = stats.published.iter().map(|(durability, count)| (*durability, *count));
    sheet.counters("fanfare_events_published", "Events published, by durability.", "durability", published)?;
    let refused = stats.refused.iter().map(|(reason, count)| (*reason, *count));
    let not_published = refused.chain([("duplicate", stats.duplicates)]);
    let help = "Publishes that the log did not take, by reason: the code of the problem; `batch` where another item of an \
                atomic batch is meant by that; `duplicate` where the answer was the first receipt.";
    sheet.counters("fanfare_events_not_published", help, "reason", not_published)?;
    let ends = stats.ends.iter().map(|(reason, count)| (*reason, *count));
    sheet.counters("fanfare_channels_ended", "Channels that ended, by reason.", "reason", ends)?;
    let acknowledged = stats.acknowledged.iter().map(|(reason, count)| (*reason, *count));
    let help = "Messages of inboxes that were acknowledged, by reason: somebody asked for it, a device came back from \
                behind them, the inbox was emptied.";
    sheet.counters("fanfare_messages_acknowledged", help, "reason", acknowledged)?;
    let help = "How often a device came back and the log did not take what that acknowledges.";
    sheet.counter("fanfare_acknowledgements_failed", help, stats.acknowledgements_failed)?;
    let help = "From a publisher's asking to its acknowledgement, within the hub.";
    sheet.histogram("fanfare_publish_latency_seconds", help, &stats.publish_latency)?;
    sheet.counter("fanfare_commits", "Group commits, failed ones included.", stats.commits)?;
    let help = "How long group commits took, the sync to disk included.";
    sheet.histogram("fanfare_commit_duration_seconds", help, &stats.commit_duration)?;
    sheet.histogram("fanfare_commit_events", "Events that one group commit was to write.", &stats.commit_events)?;
    sheet.histogram("fanfare_commit_bytes", "Bytes that one group commit was to write.", &stats.commit_bytes)?;
    sheet.gauge("fanfare_queue_requests", "Publishes that wait for the log's writer.", stats.queue as f64)?;
    let help = "Bytes that wait for the log's writer.";
    sheet.gauge("fanfare_queue_bytes", help, stats.queue_bytes as f64)?;
    let help = "Index entries that retention removed: one for each channel of an event.";
    sheet.counter("fanfare_retention_removed", help, stats.removed)?;
    let help = "The same by reason: beyond the limits of a channel's history, as the oldest when the disk limit was \
                reached, at the end of a time to live, values whose key got another one or was deleted.";
    let removed = stats.removed_by_reason.iter().map(|(reason, count)| (*reason, *count));
    sheet.counters("fanfare_retention_removed_by_reason", help, "reason", removed)
}

fn delivery(sheet: &mut Sheet<'_>, stats: &Stats) -> fmt::Result {
    let help = "Events that the slowest shard has not passed on yet.";
    sheet.gauge("fanfare_shard_lag_events", help, stats.lag_events as f64)?;
    let help = "How long the oldest of the events that the slowest shard has not passed on has been waiting.";
    sheet.gauge("fanfare_shard_lag_seconds", help, stats.lag)?;
    let help = "How often a stream's reader did not take what it was sent, so that the stream fell behind.";
    sheet.counter("fanfare_streams_fell_behind", help, stats.fell_behind)?;
    let help = "How often a stream was sent what it had gathered for a flush interval.";
    sheet.counter("fanfare_streams_flushed", help, stats.flushed)?;
    let gaps = stats.gaps.iter().map(|(reason, count)| (*reason, *count));
    sheet.counters("fanfare_gaps_told", "Gaps that streams were told of, by reason.", "reason", gaps)?;
    sheet.counter("fanfare_history_pages_read", "Pages of history read for streams.", stats.pages_read)?;
    let help = "Pages of history that streams hold because their readers are slow.";
    sheet.gauge("fanfare_history_held_bytes", help, stats.page_bytes as f64)?;
    let help = "Size of the newest events, which are kept in memory for all streams.";
    sheet.gauge("fanfare_window_bytes", help, stats.window_bytes as f64)?;
    sheet.gauge("fanfare_window_events", "Events that are kept in memory for all streams.", stats.window_events as f64)
}

fn disk(sheet: &mut Sheet<'_>, stats: &Stats) -> fmt::Result {
    let help = "How often the store failed, so that it had to be reopened.";
    sheet.counter("fanfare_store_failures", help, stats.store_failures)?;
    sheet.counter("fanfare_store_reopenings", "How often the store was reopened.", stats.store_reopenings)?;
    let help = "Places of the store that were found damaged.";
    sheet.counter("fanfare_store_damaged", help, stats.damaged)?;
    sheet.gauge("fanfare_disk_bytes", "What the log takes on disk, some seconds ago.", stats.disk_bytes as f64)?;
    let help = "What events and their indexes take of it, which is what the disk limit bounds.";
    sheet.gauge("fanfare_disk_table_bytes", help, stats.disk_table_bytes as f64)?;
    if let Some(max) = stats.disk_bytes_max {
        sheet.gauge("fanfare_disk_max_bytes", "The disk limit, where there is one.", max as f64)?;
    }
    if let Some(free) = stats.disk_free_bytes {
        sheet.gauge("fanfare_disk_free_bytes", "What is free on the log's disk.", free as f64)?;
    }
    let help = "Free bytes below which durable events are refused.";
    sheet.gauge("fanfare_disk_reserve_bytes", help, stats.disk_reserve_bytes as f64)?;
    let help = "Whether durable events are refused because the disk is full: 1 or 0.";
    sheet.gauge("fanfare_disk_full", help, stats.disk_full.into())
}
