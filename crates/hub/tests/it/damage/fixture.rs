//! A folder with a story, copies of it to be damaged, and what a hub on such a copy delivers.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use fanfare_hub::{ChannelName, Follows, HistoryQuery, Hub, HubConfig, Order, Pattern, Since, Subscribe};

use crate::reading::read_until;

/// Where an event is: epoch and sequence.
pub(crate) type Place = (u64, u64);

/// A folder, and what was acknowledged there.
pub(crate) struct Story {
    pub(crate) folder: tempfile::TempDir,
    /// Channel and data of each event.
    pub(crate) events: BTreeMap<Place, (String, String)>,
}

/// What a hub on a copy of the folder did.
#[derive(Default)]
pub(crate) struct Told {
    /// Channel and data of each event that was delivered.
    pub(crate) events: BTreeMap<Place, (String, String)>,
    /// Channel or pattern, from, to.
    pub(crate) gaps: Vec<(String, Place, Place)>,
}

pub(crate) const CHANNELS: usize = 6;

fn config() -> HubConfig {
    HubConfig { shards: 1, readers: 1, ..HubConfig::default() }
}

/// Epoch and sequence of an id.
pub(crate) fn place(id: &str) -> Place {
    let parts: Vec<u64> = id.split('-').map(|part| u64::from_str_radix(part, 16).unwrap()).collect();
    (parts[0], parts[2])
}

/// The data of an event: no two are alike, and none compresses well.
fn data(channel: &str, n: u64) -> String {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut data = format!("{channel}/{n}/");
    for _ in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(data, "{state:016x}").unwrap();
    }
    data
}

impl Story {
    /// Two lives of a hub, each with events in tables and, of the second, in the journal too.
    pub(crate) async fn new(count: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut story = Self { folder, events: BTreeMap::new() };
        let mut n = 0;
        for life in 0..2 {
            let hub = Hub::open_with(story.folder.path(), config()).unwrap();
            for _ in 0..count {
                let channel = format!("c{}", n % CHANNELS as u64);
                let data = data(&channel, n);
                let id = hub.publish(&channel, data.clone()).await.unwrap().id.unwrap();
                story.events.insert(place(&id), (channel, data));
                n += 1;
                if life == 0 && n == count * 3 / 4 {
                    hub.reclaim().unwrap();
                }
            }
            hub.close().await;
        }
        story
    }

    /// The same with all of it in tables alone: no journal knows what they lose.
    pub(crate) async fn in_tables(count: u64) -> Self {
        let story = Self::new(count).await;
        let folder = story.folder.path();
        let mark = fs::read(folder.join("mark")).unwrap();
        let hub = Hub::open_with(folder, config()).unwrap();
        hub.reclaim().unwrap();
        hub.close().await;
        // That it was closed is only in the journal, which is not to be missed.
        fs::write(folder.join("mark"), mark).unwrap();
        drop_journals(folder);
        story
    }

    /// A copy, without the zeros at the ends of files being written.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    /// Checks what a hub told against what was published.
    pub(crate) fn check(&self, told: &Told, what: &str) {
        for (place, event) in &told.events {
            assert_eq!(self.events.get(place), Some(event), "{what}: {place:?} is not what was published");
        }
        for (place, (channel, _)) in &self.events {
            let is_told = told
                .gaps
                .iter()
                .any(|(scope, from, to)| (scope == channel || scope == "*") && from < place && place <= to);
            assert!(
                told.events.contains_key(place) || is_told,
                "{what}: {place:?} of {channel} is missing in silence; gaps {:?}",
                told.gaps,
            );
        }
    }
}

/// Removes the journals of a folder.
pub(crate) fn drop_journals(folder: &Path) {
    for file in files(folder).into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "jnl")) {
        fs::remove_file(file).unwrap();
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&copy).unwrap();
            copy_folder(&path, &copy);
        } else {
            let mut bytes = fs::read(&path).unwrap();
            if path.extension().is_some_and(|ending| ending == "jnl") {
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            }
            fs::write(copy, bytes).unwrap();
        }
    }
}

/// All files of a folder, by their names, without those that hold nothing.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path).unwrap().len() > 0 {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Opens a hub on a folder, which always succeeds, and reads all that it has, by a pattern and by names, as streams and as
/// pages.
pub(crate) async fn read(folder: &Path) -> Told {
    let hub = Hub::open_with(folder, config()).unwrap_or_else(|error| panic!("it doesn't open: {error:?}"));
    // After all names that are in the folder, so that no damaged place is in its way.
    hub.publish("zzz", "end").await.expect("the hub takes events of other channels");
    let pattern = Follows::new(vec![], vec![(Pattern::new("*").unwrap(), Since::Start)]);
    let by_pattern = follow(&hub, pattern).await;
    let names = (0..CHANNELS).map(|n| format!("c{n}")).chain(["zzz".into()]);
    let names = names.map(|name| (ChannelName::new(name.as_str()).unwrap(), Since::Start)).collect();
    let by_names = follow(&hub, Follows::new(names, vec![])).await;
    let missing = |one: &Told, other: &Told| one.events.keys().find(|place| !other.events.contains_key(place)).copied();
    let gaps = (&by_pattern.gaps, &by_names.gaps);
    assert_eq!(missing(&by_pattern, &by_names), None, "by pattern, but not by names {gaps:?}");
    assert_eq!(missing(&by_names, &by_pattern), None, "by names, but not by pattern {gaps:?}");
    for n in 0..CHANNELS {
        for order in [Order::Ascending, Order::Descending] {
            pages(&hub, &format!("c{n}"), order, &by_names);
        }
    }
    hub.close().await;
    let mut told = by_names;
    told.gaps.extend(by_pattern.gaps);
    told.gaps.sort();
    told
}

/// Reads a channel's history page by page: nothing but what streams got.
fn pages(hub: &Hub, channel: &str, order: Order, told: &Told) {
    let name = ChannelName::new(channel).unwrap();
    let mut query = HistoryQuery { since: Since::Start, before: None, order, limit: 100 };
    for _ in 0..1000 {
        // An entry of a channel that can't be read is said to be so.
        let Ok(page) = hub.history_of(&name, query) else { return };
        for entry in &page.entries {
            let place = (entry.position.ordinal().into(), entry.position.sequence());
            let data = std::str::from_utf8(&entry.record.data).unwrap();
            assert_eq!(told.events.get(&place).map(|(_, data)| data.as_str()), Some(data), "{channel} {place:?}");
        }
        let Some(next) = page.next else { return };
        let cursor = next.parse().unwrap();
        match order {
            Order::Ascending => query.since = Since::After(cursor),
            Order::Descending => query.before = Some(cursor),
        }
    }
    panic!("the pages of {channel} never end");
}

/// What a stream gets until its hub's last event.
async fn follow(hub: &Hub, follows: Follows) -> Told {
    let mut stream = hub.subscribe(Subscribe { follows, ..Subscribe::default() }).unwrap();
    let text = read_until(&mut stream, "data: end\n").await;
    let mut told = Told::default();
    for block in text.split("\n\n") {
        let fields: HashMap<&str, &str> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        match (fields.get("event"), fields.get("channel"), fields.get("data")) {
            (Some(&"fanfare.gap"), _, Some(data)) => {
                let gap: serde_json::Value = serde_json::from_str(data).unwrap();
                let scope = gap["channel"].as_str().or(gap["pattern"].as_str()).unwrap().to_owned();
                assert_eq!(gap["reason"], "damaged", "{data}");
                let from = gap["from"].as_str().map_or((0, 0), place);
                told.gaps.push((scope, from, place(gap["to"].as_str().unwrap())));
            }
            (None, Some(channel), Some(data)) if *channel != "zzz" => {
                let id = fields["id"].rsplit('.').next().unwrap();
                // The id of a backfill ends with the position alone.
                let number = |digits| u64::from_str_radix(digits, 16).unwrap();
                let id = if id.len() == 16 { (number(&id[..6]), number(&id[6..])) } else { place(id) };
                assert_eq!(told.events.insert(id, ((*channel).into(), (*data).into())), None, "{id:?} came twice");
            }
            _ => {}
        }
    }
    told
}
