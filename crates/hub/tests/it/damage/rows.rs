//! Rows of channels that are lost: who may publish stays as it was, though no event tells it any more.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::{
    AppendError, ChannelName, Draft, EndReason, Event, HistoryLimits, Hub, HubConfig, ManualClock, Pattern,
    PublishError, Publisher, Rule,
};

use super::fixture::{copy_folder, drop_journals};

fn config(clock: &Arc<ManualClock>) -> HubConfig {
    let minute = HistoryLimits { age_max: Duration::from_mins(1), ..HistoryLimits::default() };
    let rules = vec![Rule::new(Pattern::new("old:*").unwrap()).history(minute)];
    HubConfig { clock: clock.clone(), rules, shards: 1, readers: 1, ..HubConfig::default() }
}

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

/// What a hub says to an event of a channel's producer, or of nobody's.
async fn refusal(hub: &Hub, channel: &str, fence: Option<u64>) -> Option<AppendError> {
    let draft = Draft::new(vec![name(channel)], Event::text("more"), Publisher::Anyone).unwrap();
    let draft = match fence {
        Some(fence) => draft.fenced(fence),
        None => draft,
    };
    match hub.publish_draft(draft).await {
        Ok(_) => None,
        Err(PublishError::Append(error)) => Some(error),
        Err(error) => panic!("{error}"),
    }
}

/// A folder whose channels have ended, been reopened and been taken over, all of it in tables.
async fn with_deeds(clock: &Arc<ManualClock>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open_with(folder.path(), config(clock)).unwrap();
    for channel in ["old:ended", "ended", "reopened"] {
        hub.publish(channel, "first").await.unwrap();
        hub.end(channel, EndReason::Done).await.unwrap();
    }
    hub.reopen("reopened").await.unwrap();
    for channel in ["silent", "old:fenced", "old:fenced", "fenced"] {
        hub.producer(name(channel)).await.unwrap();
    }
    let fenced = |channel| Draft::new(vec![name(channel)], Event::text("first"), Publisher::Anyone).unwrap();
    hub.publish_draft(fenced("old:fenced").fenced(2)).await.unwrap();
    hub.publish_draft(fenced("fenced").fenced(1)).await.unwrap();
    hub.producer(name("fenced")).await.unwrap();
    clock.advance(Duration::from_mins(2));
    while ["old:ended", "old:fenced"].iter().any(|channel| hub.channel(&name(channel)).unwrap().events > 0) {
        hub.publish("other", "time goes by").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hub.close().await;
    into_tables(folder.path(), clock).await;
    folder
}

/// Has a folder keep all that it has in tables.
async fn into_tables(folder: &Path, clock: &Arc<ManualClock>) {
    let mark = fs::read(folder.join("mark")).unwrap();
    let hub = Hub::open_with(folder, config(clock)).unwrap();
    hub.reclaim().unwrap();
    hub.close().await;
    fs::write(folder.join("mark"), mark).unwrap();
    drop_journals(folder);
}

#[tokio::test]
async fn nobody_is_let_in_who_was_kept_out_though_rows_are_lost() {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let folder = with_deeds(&clock).await;
    // The rows; what has copies of them, and then the rows; nothing.
    for tables in [&[3][..], &[7, 3], &[]] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        for table in tables {
            fs::remove_dir_all(copy.path().join(format!("keyspaces/{table}"))).unwrap();
            into_tables(copy.path(), &clock).await;
        }
        let hub = Hub::open_with(copy.path(), config(&clock)).unwrap();
        for (channel, fence, expected) in [
            ("old:ended", None, Some(AppendError::Ended)),
            ("ended", None, Some(AppendError::Ended)),
            ("reopened", None, None),
            ("silent", None, Some(AppendError::NoFence)),
            ("silent", Some(1), None),
            ("old:fenced", Some(1), Some(AppendError::Fenced)),
            ("old:fenced", Some(2), None),
            ("fenced", Some(1), Some(AppendError::Fenced)),
            ("fenced", Some(3), Some(AppendError::UnknownFence)),
            ("fenced", Some(2), None),
        ] {
            let found = refusal(&hub, channel, fence).await;
            assert_eq!(found, expected, "{channel} with {fence:?}, without {tables:?}");
        }
        assert_eq!(hub.producer(name("silent")).await.unwrap().fence, 2, "without {tables:?}");
        hub.close().await;
    }
}
