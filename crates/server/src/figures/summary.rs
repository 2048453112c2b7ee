//! One line a minute in the log: how many streams are open, how many came and went, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_hub::{Hub, Stats};

use crate::door::Door;
use crate::error::ApiError;
use crate::serve::stop::Stopped;

/// How often.
const EVERY: Duration = Duration::from_mins(1);

/// Logs until stopped.
pub(crate) async fn log(door: Door, mut stopped: Stopped) {
    let Ok(mut before) = Minute::of(&door).await else { return };
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopped.wait() => return,
        }
        let Ok(now) = Minute::of(&door).await else { return };
        now.say(&before);
        before = now;
    }
}

/// The figures at the end of a minute.
struct Minute {
    hub: Stats,
    /// Requests refused by the door.
    refused: u64,
}

impl Minute {
    /// The figures now. Some are asked of the disk, which may block.
    async fn of(door: &Door) -> Result<Self, ApiError> {
        let hub = door.read(Hub::stats).await?;
        Ok(Self { hub, refused: sum(door.figures().seen().refusals.values()) })
    }

    /// Says what has happened since `before`.
    fn say(&self, before: &Self) {
        let (now, then) = (&self.hub, &before.hub);
        let published = sum(now.published.values()) - sum(then.published.values());
        let not_published = |stats: &Stats| sum(stats.refused.values());
        let closed = sum(now.streams_closed.values()) - sum(then.streams_closed.values());
        tracing::info!(
            streams = now.streams,
            opened = now.streams_opened - then.streams_opened,
            closed,
            closed_by = by_reason(&then.streams_closed, &now.streams_closed),
            streams_refused = streams_refused(now) - streams_refused(then),
            behind = now.streams_behind,
            fell_behind = now.fell_behind - then.fell_behind,
            gaps = sum(now.gaps.values()) - sum(then.gaps.values()),
            published,
            not_published = not_published(now) - not_published(then),
            requests_refused = self.refused - before.refused,
            "last minute"
        );
    }
}

fn streams_refused(stats: &Stats) -> u64 {
    stats.streams_refused_full + stats.streams_refused_stopping
}

fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.sum()
}

/// How many there were between the two, by reason: `left 2, stalled 1`; none where there were none.
fn by_reason(before: &BTreeMap<&'static str, u64>, now: &BTreeMap<&'static str, u64>) -> Option<String> {
    let since = |reason: &str| before.get(reason).copied().unwrap_or_default();
    let counts = now.iter().map(|(reason, count)| (reason, count - since(reason))).filter(|(_, count)| *count > 0);
    let reasons: Vec<String> = counts.map(|(reason, count)| format!("{reason} {count}")).collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::testing::{Captured, TestDoor};

    #[tokio::test]
    async fn a_minute_is_one_line_with_what_came_and_went_and_why() {
        let door = TestDoor::open();
        let before = Minute::of(&door.door).await.unwrap();
        door.post("/channels/a", "x").await;
        door.post("/channels/@reserved", "x").await;
        let mut now = Minute::of(&door.door).await.unwrap();
        now.hub.streams_closed.insert("left", 2);
        now.hub.streams_closed.insert("stalled", 1);
        now.hub.streams_opened += 5;
        let captured = Captured::default();
        let subscriber = captured.subscriber(LogFormat::Json, "info");
        tracing::subscriber::with_default(subscriber, || {
            now.say(&before);
            now.say(&now);
        });
        let lines = captured.lines();
        assert_eq!(lines.len(), 2);
        let line = &lines[0];
        assert_eq!(
            (&line["opened"], &line["closed"], &line["closed_by"]),
            (&5.into(), &3.into(), &"left 2, stalled 1".into())
        );
        assert_eq!((&line["published"], &line["requests_refused"], &line["behind"]), (&1.into(), &1.into(), &0.into()));
        assert!(lines[1].get("closed_by").is_none() && lines[1]["opened"] == 0);
    }
}
