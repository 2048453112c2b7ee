//! Tables that know what retention removed, lost: nothing that it removed is missing in silence afterwards.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::{
    ChannelName, EndReason, Follows, HistoryLimits, Hub, HubConfig, ManualClock, Pattern, Rule, Since, Subscribe,
};

use super::fixture::{copy_folder, drop_journals};

fn config(clock: &Arc<ManualClock>) -> HubConfig {
    let rule = |pattern: &str, history| Rule::new(Pattern::new(pattern).unwrap()).history(history);
    let unlimited = HistoryLimits::default();
    let rules = vec![
        rule("count", HistoryLimits { count_max: 5, ..unlimited }),
        rule("age", HistoryLimits { age_max: Duration::from_mins(1), ..unlimited }),
    ];
    HubConfig { clock: clock.clone(), rules, shards: 1, readers: 1, ..HubConfig::default() }
}

/// What a stream gets that resumes, until its hub's last event.
async fn resume(hub: &Hub, follows: Follows, id: &str) -> String {
    let last_event_id = Some(id.to_owned());
    let mut stream = hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap();
    let mut text = String::new();
    while !text.contains("data: end\n") {
        let bytes = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    text
}

#[tokio::test]
async fn what_retention_removed_is_a_gap_though_nobody_knows_the_floors_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let hub = Hub::open_with(folder.path(), config(&clock)).unwrap();
    let id = hub.publish("first", "seen").await.unwrap().id.unwrap();
    hub.publish("age", "removed").await.unwrap();
    for n in 0..50 {
        hub.publish("count", n.to_string()).await.unwrap();
    }
    hub.publish("kept", "kept").await.unwrap();
    clock.advance(Duration::from_mins(2));
    let age = ChannelName::new("age").unwrap();
    while hub.channel(&age).unwrap().events > 0 {
        hub.publish("first", "time goes by").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hub.close().await;
    let mark = fs::read(folder.path().join("mark")).unwrap();
    let hub = Hub::open_with(folder.path(), config(&clock)).unwrap();
    hub.reclaim().unwrap();
    hub.close().await;
    fs::write(folder.path().join("mark"), mark).unwrap();
    drop_journals(folder.path());
    for tables in [&[][..], &[2], &[3], &[7], &[2, 3], &[3, 7]] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        for table in tables {
            fs::remove_dir_all(copy.path().join(format!("keyspaces/{table}"))).unwrap();
        }
        let hub = Hub::open_with(copy.path(), config(&clock)).unwrap();
        hub.publish("zzz", "end").await.unwrap();
        let names = ["age", "count", "first", "kept", "zzz"].map(|name| (ChannelName::new(name).unwrap(), Since::Now));
        let by_name = resume(&hub, Follows::new(names.to_vec(), vec![]), &id).await;
        let all = Follows::new(vec![], vec![(Pattern::new("*").unwrap(), Since::Now)]);
        let by_pattern = resume(&hub, all, &id).await;
        for (text, way) in [(&by_name, "name"), (&by_pattern, "pattern")] {
            let gap_of = |channel: &str| {
                text.contains(&format!(r#""channel":"{channel}""#)) || text.contains(r#""pattern":"*""#)
            };
            assert!(gap_of("age"), "tables {tables:?}, by {way}: {text}");
            assert!(gap_of("count"), "tables {tables:?}, by {way}: {text}");
            assert!(
                text.contains("data: 49\n") && text.contains("data: kept\n"),
                "tables {tables:?}, by {way}: {text}"
            );
            assert!(!text.contains("data: 20\n"), "tables {tables:?}, by {way}: {text}");
        }
        if !tables.contains(&3) {
            assert!(!by_name.contains(r#""channel":"kept""#), "tables {tables:?}: {by_name}");
        }
        hub.close().await;
    }
}

#[tokio::test]
async fn a_channel_that_has_ended_stays_so_though_its_row_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let hub = Hub::open_with(folder.path(), config(&clock)).unwrap();
    for name in ["ended", "open"] {
        hub.publish(name, "first").await.unwrap();
        hub.end(name, EndReason::Done).await.unwrap();
    }
    hub.reopen("open").await.unwrap();
    hub.reclaim().unwrap();
    hub.close().await;
    drop_journals(folder.path());
    for table in [3, 7] {
        fs::remove_dir_all(folder.path().join(format!("keyspaces/{table}"))).unwrap();
    }
    let hub = Hub::open_with(folder.path(), config(&clock)).unwrap();
    hub.publish("ended", "late").await.unwrap_err();
    hub.publish("open", "more").await.unwrap();
    hub.close().await;
}
