//! One line a minute in the log: how many streams are open, how many came and went, and why.

use std::time::Duration;

use fanfare_hub::{Hub, Stats};

use crate::stop::Stopped;

/// How often.
const EVERY: Duration = Duration::from_mins(1);

/// Logs until stopped.
pub(crate) async fn log(hub: Hub, mut stopped: Stopped) {
    let mut before = hub.stats();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopped.wait() => return,
        }
        let now = hub.stats();
        let published = sum(now.published.values()) - sum(before.published.values());
        let opened = now.streams_opened - before.streams_opened;
        let refused = now.streams_refused_full - before.streams_refused_full;
        tracing::info!(
            streams = now.streams,
            opened,
            closed = closed(&before, &now),
            refused,
            published,
            "last minute"
        );
        before = now;
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.sum()
}

/// How many streams were closed between the two, by reason: `3 (left 2, stalled 1)`.
fn closed(before: &Stats, now: &Stats) -> String {
    let since = |reason: &str| before.streams_closed.get(reason).copied().unwrap_or_default();
    let counts = now.streams_closed.iter().map(|(reason, count)| (*reason, count - since(reason)));
    let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    let total = sum(counts.iter().map(|(_, count)| count));
    let reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if reasons.is_empty() { total.to_string() } else { format!("{total} ({})", reasons.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closed_streams_are_told_by_reason() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let before = hub.stats();
        assert_eq!(closed(&before, &before), "0");
        let mut now = before.clone();
        now.streams_closed.insert("left", 2);
        now.streams_closed.insert("stalled", 1);
        assert_eq!(closed(&before, &now), "3 (left 2, stalled 1)");
        hub.close().await;
    }
}
