//! That the text is what Prometheus reads, that nothing is missing, and that it doesn't grow with what clients send.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use axum::http::StatusCode;
use fanfare_hub::{Hub, Stats};

use crate::testing::TestDoor;

/// A metric as it was read.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// By name and labels.
    pub(crate) samples: BTreeMap<String, f64>,
}

/// Reads the text, strictly: each family once, help and type before its samples, samples named as their type wants it,
/// no sample twice, buckets rising up to the count, the end at the end.
pub(crate) fn read(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut now = String::new();
    let body = text.strip_suffix("# EOF\n").expect("it has an end");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            match what {
                "HELP" => {
                    assert!(rest.ends_with('.') || rest.ends_with("1 or 0."), "{line}");
                    now = name.to_owned();
                    let family = Family { help: rest.to_owned(), ..Family::default() };
                    assert!(families.insert(now.clone(), family).is_none(), "twice: {line}");
                }
                "TYPE" => {
                    assert_eq!(name, now, "type and help stand together");
                    families.get_mut(name).unwrap().kind = rest.to_owned();
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let (name, labels) = sample.split_once('{').map_or((sample, None), |(name, labels)| (name, Some(labels)));
        for label in labels.into_iter().flat_map(|labels| labels.strip_suffix('}').expect(line).split(',')) {
            let (key, value) = label.split_once('=').expect(line);
            assert!(key.chars().all(|c| c.is_ascii_lowercase()), "{line}");
            assert!(value.starts_with('"') && value.ends_with('"') && value.len() > 2, "{line}");
        }
        let family = families.get_mut(&now).expect(line);
        let suffixes: &[&str] = match family.kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("type {other} of {now}"),
        };
        let suffix = name.strip_prefix(now.as_str()).expect(line);
        assert!(suffixes.contains(&suffix), "{line} in {now}");
        assert!(value >= 0.0 && value.is_finite(), "{line}");
        assert!(family.samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
    }
    for (name, family) in &families {
        check_buckets(name, family, text);
    }
    families
}

/// That a histogram's buckets rise in the order in which they stand, and that the last is all.
fn check_buckets(name: &str, family: &Family, text: &str) {
    let mut before = 0.0;
    for line in text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{"))) {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(value >= before, "{line}");
        before = value;
        if sample.contains("le=\"+Inf\"") {
            let labels = sample.replace("_bucket", "_count").replace(",le=\"+Inf\"", "").replace("{le=\"+Inf\"}", "");
            let key = labels.replace("le=\"+Inf\",", "");
            assert_eq!(family.samples.get(&key), Some(&value), "{line}");
            before = 0.0;
        }
    }
}

/// The text of a hub whose figures are these.
fn text_of(stats: Stats) -> String {
    let figures = crate::figures::Figures::default();
    for route in crate::routes::all().map(|route| Some(route.path)).chain([None]) {
        for status in [100, 200, 300, 400, 500] {
            figures.answered(route, StatusCode::from_u16(status).unwrap(), Duration::ZERO);
        }
    }
    let moment = super::Moment {
        stats,
        is_ready: true,
        seen: figures.seen(),
        connections_open: 0,
        connections: crate::connection::counts::Counts::default().all().to_vec(),
        spans: crate::traces::Traces::default().counts(),
        process: crate::figures::process::Process::now(),
    };
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(moment));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

/// Where each of the hub's figures is found. Whoever adds one to [`Stats`] adds it here and to `metrics/hub.rs`.
const WHERE: &[(&str, &str)] = &[
    ("streams", "fanfare_streams_open"),
    ("streams_max", "fanfare_streams_max"),
    ("streams_peak", "fanfare_streams_peak"),
    ("streams_behind", "fanfare_streams_behind"),
    ("streams_age", "fanfare_streams_age_seconds"),
    ("streams_opened", "fanfare_streams_opened_total"),
    ("streams_resumed", "fanfare_streams_resumed_total"),
    ("streams_changed", "fanfare_streams_changed_total"),
    ("streams_replaced", "fanfare_streams_replaced_total"),
    ("streams_remembered", "fanfare_streams_remembered"),
    ("streams_forgotten", "fanfare_streams_forgotten_total"),
    ("streams_refused_full", "fanfare_streams_refused_total{reason=\"full\"}"),
    ("streams_refused_stopping", "fanfare_streams_refused_total{reason=\"stopping\"}"),
    ("streams_closed", "fanfare_streams_closed_total{reason=\"*\"}"),
    ("streams_refused_over", "fanfare_streams_refused_total{reason=\"over\"}"),
    ("fell_behind", "fanfare_streams_fell_behind_total"),
    ("flushed", "fanfare_streams_flushed_total"),
    ("gaps", "fanfare_gaps_told_total{reason=\"*\"}"),
    ("published", "fanfare_events_published_total{durability=\"*\"}"),
    ("duplicates", "fanfare_events_not_published_total{reason=\"duplicate\"}"),
    ("refused", "fanfare_events_not_published_total{reason=\"*\"}"),
    ("ends", "fanfare_channels_ended_total{reason=\"*\"}"),
    ("acknowledged", "fanfare_messages_acknowledged_total{reason=\"*\"}"),
    ("acknowledgements_failed", "fanfare_acknowledgements_failed_total"),
    ("commits", "fanfare_commits_total"),
    ("publish_latency", "fanfare_publish_latency_seconds_count"),
    ("commit_duration", "fanfare_commit_duration_seconds_count"),
    ("commit_events", "fanfare_commit_events_count"),
    ("commit_bytes", "fanfare_commit_bytes_count"),
    ("queue", "fanfare_queue_requests"),
    ("queue_bytes", "fanfare_queue_bytes"),
    ("removed", "fanfare_retention_removed_total"),
    ("lag_events", "fanfare_shard_lag_events"),
    ("lag", "fanfare_shard_lag_seconds"),
    ("store_failures", "fanfare_store_failures_total"),
    ("store_reopenings", "fanfare_store_reopenings_total"),
    ("damaged", "fanfare_store_damaged_total"),
    ("pages_read", "fanfare_history_pages_read_total"),
    ("page_bytes", "fanfare_history_held_bytes"),
    ("window_bytes", "fanfare_window_bytes"),
    ("window_events", "fanfare_window_events"),
    ("disk_bytes", "fanfare_disk_bytes"),
    ("removed_by_reason", "fanfare_retention_removed_by_reason_total{reason=\"*\"}"),
    ("disk_table_bytes", "fanfare_disk_table_bytes"),
    ("disk_bytes_max", "fanfare_disk_max_bytes"),
    ("disk_free_bytes", "fanfare_disk_free_bytes"),
    ("disk_reserve_bytes", "fanfare_disk_reserve_bytes"),
    ("disk_full", "fanfare_disk_full"),
];

/// Figures of which no two are the same.
fn distinct(stats: Stats) -> Stats {
    let mut next = 1_000;
    let mut number = || {
        next += 1;
        next
    };
    let mut stats = Stats {
        streams: number(),
        streams_max: number(),
        streams_peak: number(),
        streams_behind: number(),
        streams_age: number() as f64,
        streams_opened: number(),
        streams_resumed: number(),
        streams_changed: number(),
        streams_replaced: number(),
        streams_remembered: number(),
        streams_forgotten: number(),
        streams_refused_full: number(),
        streams_refused_stopping: number(),
        streams_refused_over: number(),
        fell_behind: number(),
        flushed: number(),
        duplicates: number(),
        acknowledgements_failed: number(),
        commits: number(),
        queue: number(),
        queue_bytes: number(),
        removed: number(),
        lag_events: number(),
        lag: number() as f64,
        store_failures: number(),
        store_reopenings: number(),
        damaged: number(),
        pages_read: number(),
        page_bytes: number(),
        window_bytes: number(),
        window_events: number(),
        disk_bytes: number(),
        disk_table_bytes: number(),
        disk_bytes_max: Some(number()),
        disk_free_bytes: Some(number()),
        disk_reserve_bytes: number(),
        disk_full: true,
        ..stats
    };
    let Stats { streams_closed, gaps, published, refused, removed_by_reason, ends, acknowledged, .. } = &mut stats;
    [streams_closed, gaps, published, refused, removed_by_reason, ends, acknowledged]
        .into_iter()
        .flat_map(|map| map.values_mut())
        .for_each(|count| *count = number());
    stats
}

#[tokio::test]
async fn every_figure_of_the_hub_is_there_with_its_value() {
    let hub = Hub::open(tempfile::tempdir().unwrap().path()).unwrap();
    let stats = distinct(hub.stats());
    let json = serde_json::to_value(&stats).unwrap();
    let names: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let told: BTreeSet<&str> = WHERE.iter().map(|(name, _)| *name).chain(["epoch", "head"]).collect();
    assert_eq!(names, told, "every figure is in `WHERE`, and nothing else");
    let samples: BTreeMap<String, f64> =
        read(&text_of(stats)).into_values().flat_map(|family| family.samples).collect();
    let has = |sample: String, value: f64| {
        let found = samples.get(&sample).unwrap_or_else(|| panic!("{sample} is missing"));
        assert!((found - value).abs() < 1e-6, "{sample} is {found}, not {value}");
    };
    for (name, sample) in WHERE {
        match &json[name] {
            serde_json::Value::Object(counts) if sample.contains('*') => {
                counts.iter().for_each(|(word, count)| has(sample.replace('*', word), count.as_f64().unwrap()));
            }
            serde_json::Value::Object(distribution) => {
                has((*sample).to_owned(), distribution["count"].as_f64().unwrap());
            }
            serde_json::Value::Bool(flag) => has((*sample).to_owned(), f64::from(*flag)),
            value => has((*sample).to_owned(), value.as_f64().unwrap()),
        }
    }
    hub.close().await;
}

#[tokio::test]
async fn what_clients_send_makes_no_new_lines() {
    let door = TestDoor::open();
    let ask = async |n: u32| {
        door.post(&format!("/channels/channel-{n}"), "x").await;
        door.get(&format!("/channels/channel-{n}/history")).await;
        door.get(&format!("/nowhere/{n}")).await;
        door.request("GET", "/stats", &[("host", &format!("name-{n}.example"))], "").await;
        drop(door.get(&format!("/events?channel=channel-{n}")).await);
        door.get("/metrics").await.text().await
    };
    // The second answer has the first question for `/metrics` itself.
    ask(0).await;
    let before = read(&ask(1).await);
    for n in 2..12 {
        ask(n).await;
    }
    let text = ask(12).await;
    let after = read(&text);
    let names = |families: &BTreeMap<String, Family>| -> Vec<String> {
        families.values().flat_map(|family| family.samples.keys().cloned()).collect()
    };
    assert_eq!(names(&before), names(&after));
    assert!(!text.contains("channel-") && !text.contains(".example"), "{text}");
    let requests = &after["fanfare_request_duration_seconds"].samples;
    assert!(requests["fanfare_request_duration_seconds_count{route=\"none\",status=\"4xx\"}"] >= 13.0);
    assert!(requests["fanfare_request_duration_seconds_count{route=\"/channels/{channel}\",status=\"2xx\"}"] >= 13.0);
}

/// The page with the table of all metrics.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/metrics.md");

/// The table of all metrics, as it stands in the page.
fn table(families: &BTreeMap<String, Family>) -> String {
    let row = |(name, family): (&String, &Family)| format!("| `{name}` | {} | {} |\n", family.kind, family.help);
    families.iter().map(row).collect()
}

/// The table of all labels with their values, as it stands in the page. Those of histograms' buckets are no words.
fn labels(families: &BTreeMap<String, Family>) -> String {
    let mut table = String::new();
    for (name, family) in families.iter().filter(|(_, family)| family.kind != "info") {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for labels in family.samples.keys().filter_map(|sample| sample.split_once('{')?.1.strip_suffix("\"}")) {
            for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                values.entry(label).or_default().insert(value);
            }
        }
        values.remove("le");
        for (label, values) in values {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            writeln!(table, "| `{name}` | `{label}` | {} |", values.join(", ")).unwrap();
        }
    }
    table
}

/// `FANFARE_WRITE=1 cargo test` writes the tables anew.
#[tokio::test]
async fn the_page_lists_all_metrics_with_their_meanings_and_all_their_labels() {
    let hub = Hub::open(tempfile::tempdir().unwrap().path()).unwrap();
    let families = read(&text_of(distinct(hub.stats())));
    for (head, table) in [
        ("| name | type | meaning |\n|---|---|---|\n", table(&families)),
        ("| name | label | its values |\n|---|---|---|\n", labels(&families)),
    ] {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(head).expect("the page has the table");
        let (old, after) = rest.split_once("\n\n").expect("a line is empty after the table");
        if std::env::var_os("FANFARE_WRITE").is_some() {
            std::fs::write(PAGE, format!("{before}{head}{table}\n{after}")).unwrap();
        } else {
            assert_eq!(format!("{old}\n"), table, "`FANFARE_WRITE=1 cargo test -p fanfare the_page_lists` writes it");
        }
    }
    hub.close().await;
}

/// The dashboard.
const DASHBOARD: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/grafana.json"));

/// The names of metrics that a text has, in expressions or between them.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| ["fanfare_", "process_"].iter().any(|prefix| word.starts_with(prefix))).collect()
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let door = TestDoor::open();
    door.get("/stats").await;
    let samples = read(&text_of(distinct(door.hub.stats()))).into_values().flat_map(|family| family.samples);
    let asked = read(&door.get("/metrics").await.text().await).into_values().flat_map(|family| family.samples);
    let there: BTreeSet<String> =
        samples.chain(asked).map(|(sample, _)| sample.split('{').next().unwrap().to_owned()).collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, alerts) = page.split_once("## Alerts").unwrap();
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|text| metrics_in(text)).collect();
    assert!(shown.len() > 30, "{shown:?}");
    // In the alerts, words for reading stand between the expressions: names of families, too.
    let is_family = |name: &&str| there.iter().any(|sample| sample.starts_with(*name));
    let missing: Vec<&str> = shown.iter().filter(|name| !there.contains(**name)).copied().collect();
    assert_eq!(missing, <[&str; 0]>::default(), "the dashboard asks for what isn't there");
    let missing: Vec<&str> = metrics_in(alerts).into_iter().filter(|name| !is_family(name)).collect();
    assert_eq!(missing, <[&str; 0]>::default(), "the alerts ask for what isn't there");
}
