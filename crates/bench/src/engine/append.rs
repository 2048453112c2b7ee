//! Append: publishers that each wait for their acknowledgement before they publish again. `durable` is held against
//! bare groups of the same bytes with one `fdatasync` each, `memory` against bare round trips to another thread; events with
//! keys against the same events without.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_hub::event::JSON;
use fanfare_hub::limits::QUEUE_DRAFTS_MAX;
use fanfare_hub::{Durability, Event, Hub, Pattern, PublishError, Rule, WhenFull};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::engine::{Bench, everything, open, publish_end, subscribe, witness};
use crate::error::MeasureError;
use crate::payload::Payloads;
use crate::round::{Latency, Rounds, Sample, Stopwatch};
use crate::table::{Row, thousands};
use crate::witness::Witness;

/// Data of one event, in bytes.
const DATA_BYTES: usize = 256;

/// Channels that the events are spread over.
const CHANNELS: usize = 100;

/// Publishers at once, how many events each publishes in a round with `durable` and with `memory`: a second or so.
const FULL: [(usize, usize, usize); 3] = [(1, 5_000, 30_000), (64, 1_500, 3_000), (1_024, 150, 200)];

/// The same for a quick run.
const QUICK: [(usize, usize, usize); 3] = [(1, 20, 50), (64, 4, 8), (1_024, 2, 2)];

/// Publishers, and what they do.
#[derive(Clone)]
struct Shape {
    durability: Durability,
    publishers: usize,
    /// How many events each of them publishes.
    events_each: usize,
    /// Among how many the keys of its events are, if they have keys. Each key is of one channel.
    keys: Option<NonZeroUsize>,
    channels: Arc<Vec<String>>,
    payloads: Arc<Payloads>,
}

/// Measures all shapes.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>, MeasureError> {
    let channels: Arc<Vec<String>> = Arc::new((0..CHANNELS).map(|number| format!("orders:{number:02}")).collect());
    let mut rows = Vec::new();
    for durability in [Durability::Durable, Durability::Memory] {
        for (publishers, durable, memory) in bench.quick_or_full(QUICK, FULL) {
            let events_each = if durability == Durability::Durable { durable } else { memory };
            for keys in std::iter::once(None).chain(bench.keyed.map(Some)) {
                let (channels, payloads) = (channels.clone(), bench.payloads.clone());
                rows.push(Shape { durability, publishers, events_each, keys, channels, payloads }.measure(bench)?);
            }
        }
    }
    Ok(rows)
}

impl Shape {
    fn measure(&self, bench: &Bench) -> Result<Row, MeasureError> {
        let mut delivered = 0;
        let rounds = Rounds::alternate(
            bench.quick_or_full(1, 7),
            || {
                let (sample, found) = self.publish(bench)?;
                delivered += found;
                Ok(sample)
            },
            |subject| match (self.keys, self.durability) {
                (Some(_), _) => Ok(Self { keys: None, ..self.clone() }.publish(bench)?.0),
                (None, Durability::Durable) => self.synced_groups(bench, subject),
                (None, Durability::Memory | Durability::Transient) => self.round_trips(bench),
            },
        )?;
        let who = match self.publishers {
            1 => "1 publisher".to_owned(),
            many => format!("{} publishers", thousands(many as f64)),
        };
        let limit = match (self.keys, self.durability) {
            (Some(_), _) => "the same without keys",
            (None, Durability::Durable) => "same groups, each with fdatasync",
            (None, Durability::Memory | Durability::Transient) => "round trips to a thread",
        };
        let keys = self.keys.map(|keys| format!(", {} keys", thousands(keys.get() as f64))).unwrap_or_default();
        Ok(Row::new(format!("append {}{keys}, {who}", self.durability.as_str()), limit, &rounds, delivered))
    }

    fn events(&self) -> u64 {
        (self.publishers * self.events_each) as u64
    }

    fn sample(&self, elapsed: Duration, waits: Vec<Duration>, group: u64) -> Sample {
        let bytes = self.events() * DATA_BYTES as u64;
        Sample { latency: Latency::of(waits), group, ..Sample::new(self.events(), bytes, elapsed) }
    }

    fn data(&self, from: usize, number: usize) -> String {
        self.payloads.json(DATA_BYTES, from, number)
    }

    /// Publishes to a new hub, then reads everything back; gives how many events were found.
    fn publish(&self, bench: &Bench) -> Result<(Sample, u64), MeasureError> {
        let folder = bench.data_folder()?;
        let rule = Rule::new(Pattern::new("*")?).durability(self.durability);
        let hub = match self.keys {
            Some(keys) => open(folder.path(), vec![rule.keys(keys.get() as u64, WhenFull::default())])?,
            None => open(folder.path(), vec![rule])?,
        };
        bench.runtime.block_on(async {
            let mut publishers = JoinSet::new();
            let watch = Stopwatch::start();
            for from in 0..self.publishers {
                publishers.spawn(self.clone().publish_one_by_one(hub.clone(), from));
            }
            let waits = joined(publishers).await?;
            let elapsed = watch.elapsed();
            let stats = hub.stats();
            let published = stats.published.get(self.durability.as_str()).copied().unwrap_or_default();
            if published != self.events() {
                return Err(MeasureError::Lost(format!("{published} of {} events were counted", self.events())));
            }
            publish_end(&hub, "orders:end").await?;
            let stream = subscribe(&hub, everything("*")?)?;
            let found = match self.values() {
                None => witness(stream, Witness::new(self.publishers)).await?,
                Some(values) => {
                    let found = witness(stream, Witness::of_values(self.publishers)).await?;
                    if found != values {
                        return Err(MeasureError::Lost(format!("{found} of {values} values are there")));
                    }
                    found
                }
            };
            hub.close().await;
            let commits = stats.commits.max(1);
            let group = (published + commits / 2) / commits;
            Ok((self.sample(elapsed, waits, group), found))
        })
    }

    /// The key of a publisher's event, if events have keys.
    fn key(&self, from: usize, number: usize) -> Option<usize> {
        self.keys.map(|keys| (number * self.publishers + from) % keys)
    }

    /// How many values all events leave, if they have keys.
    fn values(&self) -> Option<u64> {
        self.keys?;
        let of = |from| (0..self.events_each).filter_map(move |number| self.key(from, number));
        Some((0..self.publishers).flat_map(of).collect::<HashSet<_>>().len() as u64)
    }

    /// One publisher. Gives how long it waited for each acknowledgement.
    async fn publish_one_by_one(self, hub: Hub, from: usize) -> Result<Vec<Duration>, PublishError> {
        let mut waits = Vec::with_capacity(self.events_each);
        for number in 0..self.events_each {
            let event = Event::text(self.data(from, number)).typed(JSON);
            let key = self.key(from, number);
            let at = key.unwrap_or(from + number) % self.channels.len();
            let Some(channel) = self.channels.get(at) else { break };
            let event = if let Some(key) = key { event.keyed(key.to_string()) } else { event };
            let watch = Stopwatch::start();
            hub.publish(channel, event).await?;
            waits.push(watch.elapsed());
        }
        Ok(waits)
    }

    /// The limit of `durable`: the same bytes in groups as large as the hub's were, one sync for each.
    fn synced_groups(&self, bench: &Bench, subject: &Sample) -> Result<Sample, MeasureError> {
        let folder = bench.data_folder()?;
        let mut file = File::create(folder.path().join("limit"))?;
        let group = (0..subject.group as usize).map(|number| self.data(0, number));
        let bytes = group.collect::<String>().into_bytes();
        let mut left = subject.bytes as usize;
        let mut waits = Vec::new();
        let watch = Stopwatch::start();
        while left > 0 {
            let part = bytes.get(..left).unwrap_or(&bytes);
            let wait = Stopwatch::start();
            file.write_all(part)?;
            file.sync_data()?;
            waits.push(wait.elapsed());
            left -= part.len();
        }
        Ok(self.sample(watch.elapsed(), waits, subject.group))
    }

    /// The limit of `memory`: the same publishers hand the same bytes to another thread, which answers at once.
    fn round_trips(&self, bench: &Bench) -> Result<Sample, MeasureError> {
        let (queue, mut requests) = mpsc::channel::<Request>(QUEUE_DRAFTS_MAX);
        let thread = std::thread::Builder::new().name("limit".into()).spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                // A publisher that went away has failed by itself and says so.
                let _ = request.answer.send(request.data.len());
            }
        })?;
        let (elapsed, waits) = bench.runtime.block_on(async {
            let mut publishers = JoinSet::new();
            let watch = Stopwatch::start();
            for from in 0..self.publishers {
                publishers.spawn(self.clone().ask_one_by_one(queue.clone(), from));
            }
            joined(publishers).await.map(|waits| (watch.elapsed(), waits))
        })?;
        drop(queue);
        thread.join().map_err(|_| MeasureError::Limit)?;
        Ok(self.sample(elapsed, waits, 1))
    }

    async fn ask_one_by_one(self, queue: mpsc::Sender<Request>, from: usize) -> Result<Vec<Duration>, MeasureError> {
        let mut waits = Vec::with_capacity(self.events_each);
        for number in 0..self.events_each {
            let data = Bytes::from(self.data(from, number));
            let watch = Stopwatch::start();
            let (answer, answered) = oneshot::channel();
            queue.send(Request { data, answer }).await.map_err(|_| MeasureError::Limit)?;
            if answered.await != Ok(DATA_BYTES) {
                return Err(MeasureError::Limit);
            }
            waits.push(watch.elapsed());
        }
        Ok(waits)
    }
}

/// What the bare thread is asked.
struct Request {
    data: Bytes,
    answer: oneshot::Sender<usize>,
}

/// The waits of all publishers, once all are done.
async fn joined<E>(mut publishers: JoinSet<Result<Vec<Duration>, E>>) -> Result<Vec<Duration>, MeasureError>
where
    E: Into<MeasureError> + 'static,
{
    let mut waits = Vec::new();
    while let Some(done) = publishers.join_next().await {
        waits.extend(done?.map_err(Into::into)?);
    }
    Ok(waits)
}
