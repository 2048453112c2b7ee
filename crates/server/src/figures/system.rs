//! This machine's figures, published as event `metrics` to `@system/metrics` every two seconds: what the first page shows,
//! and an example of a publisher within the process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_hub::{ChannelName, Clock, Draft, Event, Hub, Publisher, SystemClock};
use serde::Serialize;
use sysinfo::{Disk, Disks, Networks, System};
use tokio::time::{Instant, MissedTickBehavior};

use crate::serve::stop::Stopped;

/// Where the figures go.
const CHANNEL: &str = "@system/metrics";

/// The event's name.
const NAME: &str = "metrics";

/// How often. Short enough for a live plot, long enough to cost nothing.
const EVERY: Duration = Duration::from_secs(2);

/// The figures at one moment. Sizes in bytes, rates in bytes per second, shares in per cent.
#[derive(Debug, Serialize)]
struct Figures {
    cpu: Cpu,
    memory: Share,
    /// Average number of tasks that run or want to, over 1, 5 and 15 minutes.
    load: [f64; 3],
    network: Network,
    disk: DiskFigures,
    /// Of the machine, in seconds.
    uptime: u64,
    /// In milliseconds since the Unix epoch.
    timestamp: u64,
}

#[derive(Debug, Serialize)]
struct Cpu {
    usage: f64,
    cores: Vec<f64>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Share {
    total: u64,
    used: u64,
    percentage: f64,
}

#[derive(Debug, Serialize)]
struct Network {
    received: u64,
    sent: u64,
}

#[derive(Debug, Default, Serialize)]
struct DiskFigures {
    #[serde(flatten)]
    share: Share,
    read: u64,
    written: u64,
}

impl Share {
    fn of(used: u64, total: u64) -> Self {
        let percentage = if total == 0 { 0.0 } else { used as f64 / total as f64 * 100.0 };
        Self { total, used, percentage: tenths(percentage) }
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Publishes figures until stopped. `data` is the folder whose disk is shown.
pub(crate) async fn publish(hub: Hub, data: PathBuf, mut stopped: Stopped) {
    let mut sampler = match blocking(move || Sampler::new(&data)).await {
        Some(Ok(sampler)) => sampler,
        Some(Err(error)) => return tracing::warn!(error = %error, "this machine's figures can't be had"),
        None => return,
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first figures are differences too: they need a moment to arise.
    ticks.reset();
    let mut has_failed = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped.wait() => return,
        }
        let reading = blocking(move || {
            let figures = sampler.sample();
            (sampler, figures)
        });
        let Some((same, figures)) = reading.await else { return };
        sampler = same;
        let published = publish_one(&hub, &figures).await;
        if let Err(error) = &published
            && !has_failed
        {
            tracing::warn!(%error, "this machine's figures can't be published");
        }
        has_failed = published.is_err();
    }
}

/// Runs what reads files of the system on a thread that may block. `None` if it broke.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "reading this machine's figures broke")).ok()
}

async fn publish_one(hub: &Hub, figures: &Figures) -> anyhow::Result<()> {
    let event = Event::json(figures)?.named(NAME);
    hub.publish_draft(Draft::new(vec![ChannelName::new(CHANNEL)?], event, Publisher::Hub)?).await?;
    Ok(())
}

/// Reads figures. Rates are differences from one reading to the next.
struct Sampler {
    system: System,
    networks: Networks,
    disks: Disks,
    /// The data folder, with all links resolved.
    data: PathBuf,
    /// When it was read last.
    at: Instant,
    clock: SystemClock,
}

impl Sampler {
    fn new(data: &Path) -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_cpu_usage();
        Ok(Self {
            system,
            networks: Networks::new_with_refreshed_list()?,
            disks: Disks::new_with_refreshed_list()?,
            data: data.canonicalize().unwrap_or_else(|_| data.to_owned()),
            at: Instant::now(),
            clock: SystemClock::default(),
        })
    }

    fn sample(&mut self) -> Figures {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        self.disks.refresh(true);
        let now = Instant::now();
        let seconds = (now - self.at).as_secs_f64().max(0.001);
        self.at = now;
        let load = System::load_average().unwrap_or_default();
        Figures {
            cpu: Cpu {
                usage: tenths(self.system.global_cpu_usage().into()),
                cores: self.system.cpus().iter().map(|core| tenths(core.usage().into())).collect(),
            },
            memory: Share::of(self.system.used_memory(), self.system.total_memory()),
            load: [load.one, load.five, load.fifteen],
            network: self.network(seconds),
            disk: self.disk(seconds),
            uptime: System::uptime().unwrap_or_default(),
            timestamp: self.clock.unix_ms(),
        }
    }

    /// All interfaces together; the loopback only where there is nothing else.
    fn network(&self, seconds: f64) -> Network {
        let is_loopback = |name: &std::ffi::OsStr| name == "lo" || name == "lo0";
        let only_loopback = self.networks.iter().all(|(name, _)| is_loopback(name.as_ref()));
        let mut total = (0, 0);
        for (name, network) in &self.networks {
            if only_loopback || !is_loopback(name.as_ref()) {
                total.0 += network.received();
                total.1 += network.transmitted();
            }
        }
        Network { received: rate(total.0, seconds), sent: rate(total.1, seconds) }
    }

    /// The disk that holds the data; the largest where that can't be told.
    fn disk(&self, seconds: f64) -> DiskFigures {
        let holds_data = |disk: &&Disk| self.data.starts_with(disk.mount_point());
        let own = self.disks.iter().filter(holds_data).max_by_key(|disk| disk.mount_point().as_os_str().len());
        let own = own.filter(|disk| disk.total_space() > 0);
        let Some(disk) = own.or_else(|| self.disks.iter().max_by_key(|disk| disk.total_space())) else {
            return DiskFigures::default();
        };
        let usage = disk.usage();
        DiskFigures {
            share: Share::of(disk.total_space().saturating_sub(disk.available_space()), disk.total_space()),
            read: rate(usage.read_bytes, seconds),
            written: rate(usage.written_bytes, seconds),
        }
    }
}

/// Bytes per second.
#[expect(clippy::cast_sign_loss, reason = "neither bytes nor seconds are negative")]
fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_never_of_nothing() {
        assert_eq!(Share::of(412, 1000), Share { total: 1000, used: 412, percentage: 41.2 });
        assert_eq!(Share::of(1, 3), Share { total: 3, used: 1, percentage: 33.3 });
        assert_eq!(Share::of(0, 0), Share::default());
        assert_eq!(rate(3_000, 2.0), 1_500);
    }

    #[test]
    fn the_figures_have_the_shape_that_the_page_reads() {
        let mut sampler = Sampler::new(Path::new(".")).unwrap();
        let figures = serde_json::to_value(sampler.sample()).unwrap();
        assert!(figures["cpu"]["cores"].as_array().unwrap().iter().all(serde_json::Value::is_number));
        for pointer in [
            "/cpu/usage",
            "/memory/total",
            "/memory/used",
            "/memory/percentage",
            "/load/2",
            "/network/received",
            "/network/sent",
            "/disk/total",
            "/disk/used",
            "/disk/percentage",
            "/disk/read",
            "/disk/written",
            "/uptime",
            "/timestamp",
        ] {
            assert!(figures.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer}: {figures}");
        }
        assert!(figures["memory"]["total"].as_u64() > figures["memory"]["used"].as_u64());
    }
}
