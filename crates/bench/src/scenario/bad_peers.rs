//! Bad peers: beside good readers some read slowly, some never, and some vanish without a word. What do the good ones
//! notice, round by round, and does the server close each kind of the bad ones in its time and with its word?

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies};
use crate::load::LoadOptions;
use crate::load::cable::{Cable, NEAR};
use crate::load::publishing::Publishing;
use crate::load::readers::{Plan, Record};
use crate::load::slow::SlowReaders;
use crate::load::vanished::Vanished;
use crate::scenario::closings::{Closed, Closings};
use crate::scenario::stage::{CHANNEL, Since, Stage};
use crate::subject::{Start, Subject};

/// What a slow reader reads in a second, in bytes.
const SLOW_BYTES: usize = 1_000;

/// When those who vanish do: so much later that what becomes of them is told from what becomes of who never reads. Their
/// system takes ahead what comes until then.
const VANISH_AFTER: Duration = Duration::from_secs(3);

/// Kinds of bad peers, and the channels that only they follow.
const SLOW: &str = "slow";
const STOPPED: &str = "stopped";
const VANISHED: &str = "vanished";

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct BadPeersOptions {
    /// Good readers.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Streams that read 1 kB a second.
    #[arg(long, default_value_t = 50)]
    pub slow: usize,
    /// Streams that never read.
    #[arg(long, default_value_t = 50)]
    pub stopped: usize,
    /// Clients that vanish without a word soon after their streams were opened. It takes root, and `ip` of iproute2; where they
    /// can't be had they are left out, and the figures say so.
    #[arg(long, default_value_t = 50)]
    pub vanished: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds for which events are published without bad peers, in each round.
    #[arg(long, default_value_t = 20)]
    pub calm_s: u64,
    /// Seconds for which events are published with them: longer than the server bears them.
    #[arg(long, default_value_t = 90)]
    pub duration_s: u64,
    /// Rounds, without and with them in turn.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What became of good and bad peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BadPeersFigures {
    /// What the good readers got.
    pub delivery: Delivery,
    /// Why nobody vanished, where that couldn't be had.
    pub vanished_left_out: Option<String>,
    /// Each round.
    pub rounds: Vec<BadPeersRound>,
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BadPeersRound {
    /// From due to delivered to good readers, without bad peers.
    pub latency_without: Latencies,
    /// The same with them.
    pub latency_with: Latencies,
    /// The 99th percentile with them by that without.
    pub p99_ratio: f64,
    /// Memory of the server before they came, in bytes.
    pub memory_before_bytes: Option<u64>,
    /// The most memory of the server while they were there, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// What became of each kind of them. Empty where the server doesn't tell.
    pub peers: BTreeMap<String, Closed>,
}

impl BadPeersOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        let (slow, stopped, vanished) = (self.slow.min(5), self.stopped.min(5), self.vanished.min(5));
        Self { streams: self.streams.min(50), slow, stopped, vanished, calm_s: 1, duration_s: 1, rounds: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &BadPeersOptions) -> Result<BadPeersFigures, MeasureError> {
    let (cable, vanished_left_out) = match lay(subject, options) {
        None => (None, None),
        Some(Ok(cable)) => (Some(Arc::new(cable)), None),
        Some(Err(why)) => (None, Some(why)),
    };
    let (subject, far) = match &cable {
        Some(_) => reachable(subject)?,
        None => (subject.clone(), None),
    };
    let stage = Stage::set(&subject, &options.load)?;
    let path = stage.path(CHANNEL);
    let readers = stage.open(&Plan::alike(options.streams, &path, 2 * options.rounds, Record::Every))?;
    let mut of_series = Vec::new();
    let mut count = 0;
    let mut publish = |seconds| {
        let publishing = Publishing { first_series: of_series.len() as u32, ..stage.publishing(&[CHANNEL.to_owned()]) };
        let published = publishing.paced(options.rate, Duration::from_secs(seconds))?.join()?;
        count += published.count();
        of_series.extend(published.of_series);
        stage.settle(&readers, count);
        Ok::<_, MeasureError>(Latencies::from(&readers.take_latencies()))
    };
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let latency_without = publish(options.calm_s)?;
        let since = stage.watch()?;
        let bad = Bad::open(&stage, options, cable.as_ref().zip(far))?;
        let latency_with = publish(options.duration_s)?;
        let used = since.map(Since::until_now).transpose()?;
        rounds.push(BadPeersRound {
            latency_without,
            latency_with,
            p99_ratio: latency_with.p99_us as f64 / latency_without.p99_us.max(1) as f64,
            memory_before_bytes: used.map(|used| used.memory_before_bytes),
            memory_peak_bytes: used.map(|used| used.memory_peak_bytes),
            peers: bad.close()?,
        });
    }
    let delivery = stage.strike(readers, &of_series)?;
    Ok(BadPeersFigures { delivery, vanished_left_out, rounds })
}

/// Lays a cable, if somebody is to vanish; says why not, where it can't be had.
fn lay(subject: &Subject, options: &BadPeersOptions) -> Option<Result<Cable, String>> {
    if options.vanished == 0 {
        return None;
    }
    if !subject.promises.channels || !matches!(subject.start, Start::Process(_)) {
        return Some(Err("it takes a server with channels that is started here".to_owned()));
    }
    Some(Cable::lay())
}

/// The same server, which also listens at the near end of the cable; and where.
fn reachable(subject: &Subject) -> Result<(Subject, Option<SocketAddr>), MeasureError> {
    let far = TcpListener::bind((NEAR, 0))?.local_addr()?;
    let mut subject = subject.clone();
    if let Start::Process(process) = &mut subject.start {
        let further = ["--listen", &far.to_string(), "--allow-anyone"].map(str::to_owned);
        process.arguments.extend(further);
    }
    Ok((subject, Some(far)))
}

/// The bad peers of one round.
struct Bad {
    slow: SlowReaders,
    stopped: SlowReaders,
    vanished: Option<Vanished>,
    closings: Option<Closings>,
}

impl Bad {
    /// Opens all of them, and watches what becomes of them.
    fn open(
        stage: &Stage<'_>,
        options: &BadPeersOptions,
        cable: Option<(&Arc<Cable>, SocketAddr)>,
    ) -> Result<Self, MeasureError> {
        let (address, dialect) = (stage.server.address(), stage.subject.dialect);
        let is_told = stage.subject.promises.channels;
        // What they follow beside the others' channel tells which kind they are.
        let path = |kind: &str| {
            let path = stage.path(CHANNEL);
            if is_told { format!("{path}&channel={kind}") } else { path }
        };
        let slow = SlowReaders::open(address, &path(SLOW), dialect, (options.slow, 0), SLOW_BYTES)?;
        let stopped = SlowReaders::open(address, &path(STOPPED), dialect, (0, options.stopped), SLOW_BYTES)?;
        let vanished = cable
            .map(|(cable, to)| Vanished::open(cable, to, (&path(VANISHED), options.vanished), dialect, VANISH_AFTER))
            .transpose()?;
        let mut kinds = vec![(SLOW, options.slow, Duration::ZERO), (STOPPED, options.stopped, Duration::ZERO)];
        kinds.extend(vanished.as_ref().map(|_| (VANISHED, options.vanished, VANISH_AFTER)));
        let closings = is_told.then(|| Closings::watch(address, &kinds)).transpose()?;
        Ok(Self { slow, stopped, vanished, closings })
    }

    /// Lets them go; tells what had become of them before.
    fn close(self) -> Result<BTreeMap<String, Closed>, MeasureError> {
        let peers = self.closings.map(Closings::finish).transpose()?.unwrap_or_default();
        self.slow.close()?;
        self.stopped.close()?;
        self.vanished.map(Vanished::close).transpose()?;
        Ok(peers)
    }
}
