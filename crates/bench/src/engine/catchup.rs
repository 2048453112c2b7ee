//! Catch-up: one stream that resumes from where history begins, of a hub that was just opened and so has nothing in its
//! window, against a bare read of a file with the same bytes.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fanfare_hub::event::JSON;
use fanfare_hub::limits::{BATCH_EVENTS_MAX, BODY_BYTES_MAX};
use fanfare_hub::{ChannelName, Draft, Event, Follows, HistoryLimits, Pattern, Publisher, Rule, Since};

use crate::engine::{Bench, open, publish_end, subscribe};
use crate::error::MeasureError;
use crate::round::{Rounds, Sample, Stopwatch};
use crate::table::Row;
use crate::witness::{END, Witness};

/// Data of one event, in bytes.
const DATA_BYTES: usize = 256;

/// What of a chunk's end is searched for the last event; more than it and a frame of the hub's own together have.
const TAIL_BYTES: usize = 1024;

/// What is stored, and what a stream follows of it (all).
struct Shape {
    subject: &'static str,
    channels: Vec<ChannelName>,
    follows: Follows,
}

/// Measures all shapes.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>, MeasureError> {
    let orders = named("orders", 1)?;
    let rooms = named("rooms", 20)?;
    let news_few = named("news", 80)?;
    let shapes = [
        Shape { subject: "catch-up, 1 channel", follows: follow(&orders, None)?, channels: orders },
        Shape {
            subject: "catch-up, 20 channels and a pattern of 80",
            follows: follow(&rooms, Some("news:*"))?,
            channels: [rooms, news_few].concat(),
        },
        Shape {
            subject: "catch-up, a pattern of 1,000 channels",
            follows: follow(&[], Some("news:*"))?,
            channels: named("news", 1_000)?,
        },
    ];
    shapes.into_iter().map(|shape| shape.measure(bench)).collect()
}

/// So many channels whose names begin alike.
fn named(prefix: &str, count: usize) -> Result<Vec<ChannelName>, MeasureError> {
    (0..count).map(|number| Ok(ChannelName::new(&format!("{prefix}:{number:03}"))?)).collect()
}

/// These channels and this pattern, all from where history begins.
fn follow(channels: &[ChannelName], pattern: Option<&str>) -> Result<Follows, MeasureError> {
    let channels = channels.iter().map(|name| (name.clone(), Since::Start)).collect();
    let pattern = pattern.map(Pattern::new).transpose()?;
    Ok(Follows::new(channels, pattern.map(|pattern| (pattern, Since::Start)).into_iter().collect()))
}

impl Shape {
    fn measure(&self, bench: &Bench) -> Result<Row, MeasureError> {
        let events = bench.quick_or_full(2_000, 200_000);
        let folder = bench.data_folder()?;
        bench.runtime.block_on(self.store(bench, folder.path(), events))?;
        let copy = folder.path().join("limit");
        let mut delivered = 0;
        let rounds = Rounds::alternate(
            bench.quick_or_full(1, 7),
            || {
                let (chunks, elapsed) = bench.runtime.block_on(self.catch_up(folder.path()))?;
                let found = witness(&chunks)?;
                let bytes = write(&chunks, &copy)?;
                delivered += found;
                Ok(Sample::new(events as u64, bytes, elapsed))
            },
            |subject| read(&copy, subject.events),
        )?;
        Ok(Row::new(self.subject, "read of a file", &rounds, delivered))
    }

    /// Fills a hub, then closes it.
    async fn store(&self, bench: &Bench, folder: &Path, events: usize) -> Result<(), MeasureError> {
        let hub = open(folder, rules()?)?;
        let drafts: Vec<Draft> = (0..events)
            .zip(self.channels.iter().cycle())
            .map(|(number, channel)| {
                let event = Event::text(bench.payloads.json(DATA_BYTES, 0, number)).typed(JSON);
                Draft::new(vec![channel.clone()], event, Publisher::Anyone)
            })
            .collect::<Result<_, _>>()?;
        for batch in drafts.chunks(BATCH_EVENTS_MAX) {
            for receipt in hub.publish_all(batch.to_vec(), false).await? {
                receipt?;
            }
        }
        if let Some(last) = self.channels.last() {
            publish_end(&hub, last.as_str()).await?;
        }
        hub.close().await;
        Ok(())
    }

    /// Opens the hub again and reads a stream to its last event. Gives what came, and how long it took from asking for
    /// the stream on.
    async fn catch_up(&self, folder: &Path) -> Result<(Vec<Bytes>, Duration), MeasureError> {
        let hub = open(folder, rules()?)?;
        let mark = format!("\nevent: {END}\n");
        let watch = Stopwatch::start();
        let mut stream = subscribe(&hub, self.follows.clone())?;
        let mut chunks: Vec<Bytes> = Vec::new();
        while !chunks.last().is_some_and(|chunk| has_end(chunk, mark.as_bytes())) {
            let Some(chunk) = stream.next().await else {
                return Err(MeasureError::Lost("the stream ended too early".into()));
            };
            chunks.push(chunk);
        }
        let elapsed = watch.elapsed();
        drop(stream);
        hub.close().await;
        Ok((chunks, elapsed))
    }
}

/// Rules that keep everything of one channel, too.
fn rules() -> Result<Vec<Rule>, MeasureError> {
    let history = HistoryLimits { count_max: u64::MAX, bytes_max: u64::MAX, ..HistoryLimits::default() };
    Ok(vec![Rule::new(Pattern::new("*")?).history(history)])
}

/// Whether the last event is at the end of a chunk, before at most one frame of the hub's own.
fn has_end(chunk: &[u8], mark: &[u8]) -> bool {
    let tail = chunk.get(chunk.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
    tail.windows(mark.len()).any(|bytes| bytes == mark)
}

/// Looks at everything that came; gives how many events were in it.
fn witness(chunks: &[Bytes]) -> Result<u64, MeasureError> {
    let mut witness = Witness::new(1);
    chunks.iter().try_for_each(|chunk| witness.take(chunk))?;
    Ok(witness.events())
}

/// Writes everything that came to a file; gives how many bytes that were.
fn write(chunks: &[Bytes], path: &Path) -> Result<u64, MeasureError> {
    let mut file = BufWriter::new(File::create(path)?);
    chunks.iter().try_for_each(|chunk| file.write_all(chunk))?;
    file.flush()?;
    Ok(chunks.iter().map(|chunk| chunk.len() as u64).sum())
}

/// Reads a file from its beginning to its end, in pieces as large as a stream's are.
fn read(path: &Path, events: u64) -> Result<Sample, MeasureError> {
    let mut buffer = vec![0; BODY_BYTES_MAX];
    let watch = Stopwatch::start();
    let mut file = File::open(path)?;
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
        black_box(&buffer);
    }
    Ok(Sample::new(events, bytes, watch.elapsed()))
}
