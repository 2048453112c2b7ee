//! The door's figures: requests, refusals, connections.

use std::fmt;

use super::{Moment, Sheet};

pub(super) fn write(sheet: &mut Sheet<'_>, moment: &Moment) -> fmt::Result {
    let help =
        "From a request's head to its answer's, by route and class of status. A stream's answer is its first bytes.";
    sheet.histograms("fanfare_request_duration_seconds", help, ("route", "status"), &moment.seen.requests)?;
    let refusals = moment.seen.refusals.iter().map(|(code, count)| (*code, *count));
    sheet.counters("fanfare_requests_refused", "Requests refused, by the code of the problem.", "code", refusals)?;
    let refused = moment.seen.items.iter().map(|(code, count)| (*code, *count));
    let help = "Items of batches refused one by one, by the code of the problem. Their requests are not refused.";
    sheet.counters("fanfare_items_refused", help, "code", refused)?;
    let help = "Open connections; not those that a stream has for itself.";
    sheet.gauge("fanfare_connections_open", help, moment.connections_open as f64)?;
    let help = "What happened to connections: accepted, ended, refused because there were too many, could not be accepted, and \
                what became of those with TLS and HTTP/2.";
    sheet.counters("fanfare_connections", help, "event", moment.connections.iter().copied())?;
    let help = "Spans of traces: taken by the collector, dropped since the queue was full, failed to be taken.";
    sheet.counters("fanfare_spans", help, "event", moment.spans)
}
