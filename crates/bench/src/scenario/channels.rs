//! Channels: many channels with one stream each, and events to random ones. What does finding the listeners cost?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::readers::{Plan, Record, StreamPlan};
use crate::scenario::stage::{Since, Stage, cpu_us_per};
use crate::subject::Subject;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct ChannelsOptions {
    /// Channels, each with one stream.
    #[arg(long, default_value_t = 10_000)]
    pub channels: usize,
    /// Channels that each event names.
    #[arg(long, default_value_t = 1)]
    pub named: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 10_000.0)]
    pub rate: f64,
    /// Events in one request.
    #[arg(long, default_value_t = 100)]
    pub batch: usize,
    /// Seconds for which events are published, without streams and then with them.
    #[arg(long, default_value_t = 10)]
    pub duration_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What finding the listeners costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelsFigures {
    /// What streams got.
    pub delivery: Delivery,
    /// Channels, each with one stream.
    pub channels: u64,
    /// Channels that each event named.
    pub named: u64,
    /// Events that were published in a second while the streams were open.
    pub published_per_s: f64,
    /// From the instant at which an event was due until its stream had it.
    pub latency: Latencies,
    /// From the instant at which a request was due until it was acknowledged.
    pub acknowledgement: Latencies,
    /// What the server used while nobody listened.
    pub unheard: Option<ServerUse>,
    /// Processor time of the server for one event that nobody hears, in microseconds.
    pub cpu_us_per_unheard_event: Option<f64>,
    /// What the server used while the streams were open.
    pub server: Option<ServerUse>,
    /// Processor time of the server for one delivery, in microseconds. Publishing is included.
    pub cpu_us_per_delivery: Option<f64>,
    /// The same without what publishing costs when nobody listens.
    pub cpu_us_per_delivery_alone: Option<f64>,
}

impl ChannelsOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { channels: self.channels.min(100), rate: self.rate.min(500.0), batch: 10, duration_s: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server has no channels, or it or the load couldn't be run.
pub fn run(subject: &Subject, options: &ChannelsOptions) -> Result<ChannelsFigures, MeasureError> {
    let group_size = options.named.max(1);
    if !subject.promises.channels {
        return Err(MeasureError::Unsupported("channels"));
    }
    if group_size > 1 && !subject.promises.many_channels {
        return Err(MeasureError::Unsupported("events that name several channels"));
    }
    let stage = Stage::set(subject, &options.load)?;
    let names: Vec<String> = (0..options.channels).map(|at| format!("bench:{at}")).collect();
    // An event names one group, so what a stream gets are all events of its channel's group.
    let groups: Vec<Vec<String>> = names.chunks(group_size).map(<[String]>::to_vec).collect();
    let stream = |(at, name): (usize, &String)| StreamPlan {
        path: stage.path(name).into(),
        first_series: (at / group_size) as u32,
    };
    let streams = names.iter().enumerate().map(stream).collect();
    let plan = Plan { streams, width: 1, remembers_ids: false, record: Record::Every };
    let duration = Duration::from_secs(options.duration_s);
    let mut spread = stage.spread(groups.clone(), options.batch)?;

    let since = stage.watch()?;
    let unheard_events = spread.paced(options.rate, duration)?.count();
    let unheard = since.map(Since::until_now).transpose()?;

    let readers = stage.open(&plan)?;
    let since = stage.watch()?;
    let published = spread.paced(options.rate, duration)?;
    let hearers = published.of_series.iter().zip(&groups);
    let expected = hearers.map(|(count, group)| u64::from(*count) * group.len() as u64).sum();
    // What is missing is counted below.
    let _ = readers.await_delivered(expected, options.load.patience());
    let server = since.map(Since::until_now).transpose()?;
    let latencies = readers.take_latencies();
    let delivery = stage.strike(readers, &published.of_series)?;

    let per_unheard = cpu_us_per(unheard.as_ref(), unheard_events);
    let per_delivery = cpu_us_per(server.as_ref(), delivery.delivered);
    let published_us = per_unheard.map(|us| us * published.count() as f64 / delivery.delivered.max(1) as f64);
    Ok(ChannelsFigures {
        delivery,
        channels: options.channels as u64,
        named: group_size as u64,
        published_per_s: published.per_s(),
        latency: Latencies::from(&latencies),
        acknowledgement: Latencies::from(&published.waits),
        unheard,
        cpu_us_per_unheard_event: per_unheard,
        server,
        cpu_us_per_delivery: per_delivery,
        cpu_us_per_delivery_alone: per_delivery.zip(published_us).map(|(all, published)| all - published),
    })
}
