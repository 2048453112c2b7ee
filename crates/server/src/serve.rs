//! The whole life of a server: bind, open, serve, drain, join.
//!
//! [`Server::start`] and [`Server::stop`] read like lists. Once a server is stopped, everything that it started has ended:
//! connections, tasks, threads.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::{Hub, HubConfig, NameError, OpenError};
use tokio::task::JoinSet;

use self::listener::{ListenError, Room};
use self::stop::{Stop, stop};
use crate::config::{Config, changed, keep, keys};
use crate::connection::Entrance;
use crate::connection::visit::Visit;
use crate::door::Door;
use crate::figures::summary;
use crate::figures::system;
use crate::tls::{Tls, TlsError};
use crate::traces::{self, Exporter};

pub(crate) mod listener;
pub(crate) mod open_files;
pub(crate) mod service;
pub(crate) mod stop;

/// How often a stop looks whether there are streams.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// What each stream adds to a drain, as long as the window has room: those who come back don't come all at once.
const DRAIN_PACE: Duration = Duration::from_millis(1);

/// How much longer than its window a drain may take: deadlines are rounded up.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Why a server did not come to life.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Certificate and key can't be used.
    #[error("TLS is not possible")]
    Tls(#[from] TlsError),
    /// The data folder can't be made.
    #[error("the data folder {} can't be made", .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    /// The data folder can't be used.
    #[error("the data folder {} can't be used", .0.display())]
    Open(PathBuf, #[source] OpenError),
    /// Traces can't be exported; the reason.
    #[error("telemetry.otlp {0}")]
    Telemetry(String),
    /// A built-in rule is wrong.
    #[error("a built-in pattern {0}")]
    Rule(#[from] NameError),
}

/// A server that runs.
pub struct Server {
    /// What it was started with, and what was changed since.
    config: Config,
    hub: Hub,
    door: Door,
    room: Room,
    tls: Option<Tls>,
    /// Tells all tasks to end.
    stop: Stop,
    tasks: JoinSet<()>,
    /// Sends traces; ends after all whose requests are traced.
    exporter: Exporter,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server. Writes one line `listening on http://…` (or `https://…`) per address to the standard output once it accepts
    /// connections.
    ///
    /// # Errors
    ///
    /// When certificate and key or the collector can't be used, an address is taken, or the data folder can't be used.
    pub async fn start(config: Config) -> Result<Self, ServeError> {
        open_files::allow(config.connections_max());
        let (traces, exporter) = traces::start(&config.telemetry).map_err(ServeError::Telemetry)?;
        let tls = config.tls.files().map(Tls::open).transpose()?;
        let listeners = match service::inherited(config.door.allow_anyone)? {
            none if none.is_empty() => listener::bind(&config.listen, config.door.allow_anyone)?,
            inherited => inherited,
        };
        let hub = open(config.storage.folder.clone(), config.hub()?).await?;
        let door = Door::traced(hub.clone(), config.door.clone(), traces);
        door.admission().reload(&config.limits, config.streams.per_address_max);
        let entrance = Entrance {
            app: Visit::new(crate::app(door.clone(), &config.http)),
            tls: tls.clone(),
            counts: Arc::clone(door.counts()),
            idle_max: config.limits.idle_max.duration(),
            http2_streams_max: config.http.http2_streams_max,
        };
        let urls = listener::urls(&listeners, tls.is_some());

        let (stop, stopped) = stop();
        let room = Room::new(hub.clone(), config.connections_max());
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(listener::accept(listener, entrance.clone(), room.clone(), stopped.clone()));
        }
        if let Some(tls) = tls.clone() {
            tasks.spawn(tls.watch(stopped.clone()));
        }
        tasks.spawn(system::publish(hub.clone(), config.storage.folder.clone(), stopped.clone()));
        tasks.spawn(summary::log(door.clone(), stopped));
        announce(&urls);
        service::ready();
        Ok(Self { config, hub, door, room, tls, stop, tasks, exporter })
    }

    /// Takes over those of these settings that can change while a server runs; no stream is dropped. What needs a restart is
    /// told in the log, and stays as it is.
    pub fn reload(&mut self, config: &Config) {
        let keys = keys();
        let needs_restart = |path: &String| keys.iter().any(|key| key.path == *path && key.restart);
        let mut waiting: Vec<_> = changed(&self.config, config).into_iter().filter(needs_restart).collect();
        let (tls, tls_keys) = (config.tls.files(), ["tls.certificate".to_owned(), "tls.key".to_owned()]);
        if self.tls.is_some() != tls.is_some() {
            waiting.extend(tls_keys.clone());
        }
        if !waiting.is_empty() {
            let settings = waiting.join(", ");
            tracing::warn!(settings, "these settings need a restart, and are as before until then");
        }
        if let (Some(ours), Some(files)) = (&self.tls, tls)
            && let Err(error) = ours.reload(files)
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the certificate is as before");
            waiting.extend(tls_keys);
        }
        let config = keep(&self.config, config, &waiting);
        match config.hub() {
            Ok(hub) => self.hub.reload(&hub),
            Err(error) => tracing::error!(%error, "the rules can't be used"),
        }
        open_files::allow(config.connections_max());
        self.room.resize(config.connections_max());
        self.door.reload(config.door.clone());
        self.door.admission().reload(&config.limits, config.streams.per_address_max);
        tracing::info!(changed = changed(&self.config, &config).join(", "), "settings were read again");
        self.config = config;
    }

    /// Ends it in order: streams are sent away with a time to come back, requests that are being answered are finished, the
    /// log is closed.
    pub async fn stop(mut self) {
        tracing::info!(streams = self.hub.stats().streams, "stopping");
        service::stopping();
        self.drain().await;
        self.stop.now();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the server did not end in order");
            }
        }
        drop(self.door);
        self.hub.close().await;
        self.exporter.finish().await;
        tracing::info!("stopped");
    }
}

impl Server {
    /// Lets the streams go, while everything else goes on: publishers are served until the last stream has ended.
    async fn drain(&self) {
        self.hub.announce_stop();
        tokio::time::sleep(self.config.drain.notice.duration()).await;
        // A few streams have nothing to be spread for.
        let streams = u32::try_from(self.hub.open_streams()).unwrap_or(u32::MAX);
        let window = self.config.drain.window.duration().min(DRAIN_PACE * streams);
        self.hub.drain_over(window);
        let ended = async {
            while self.hub.open_streams() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // Streams end when they are due and wait for no reader; a shard that doesn't end them must not hold up a stop.
        if tokio::time::timeout(window + DRAIN_GRACE, ended).await.is_err() {
            tracing::warn!(streams = self.hub.open_streams(), "streams that did not end in time are cut");
            self.hub.drain();
        }
    }
}

/// Opens the hub. Reading back its log may take a moment, which blocks a thread.
async fn open(folder: PathBuf, config: HubConfig) -> Result<Hub, ServeError> {
    make_folder(&folder)?;
    let opening = folder.clone();
    let opened = tokio::task::spawn_blocking(move || Hub::open_with(&opening, config)).await;
    let opened = opened.unwrap_or_else(|error| Err(OpenError::Thread(std::io::Error::other(error))));
    opened.map_err(|error| ServeError::Open(folder, error))
}

/// Makes the folder, for its owner alone, unless it is there.
fn make_folder(folder: &Path) -> Result<(), ServeError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| ServeError::Folder(folder.to_owned(), error))
}

/// Tells who started us where we listen. Scripts and tests read these lines, so they leave at once.
fn announce(urls: &[String]) {
    let mut out = std::io::stdout().lock();
    for url in urls {
        // A closed standard output is no reason not to serve.
        let _ = writeln!(out, "listening on {url}");
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Listen;

    fn config(folder: &Path) -> Config {
        let mut config = Config { listen: vec![Listen::Localhost(0)], ..Config::default() };
        config.storage.folder = folder.to_owned();
        config
    }

    #[tokio::test]
    async fn a_server_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("made/for us");
        Server::start(config(&data)).await.unwrap().stop().await;
        Server::start(config(&data)).await.expect("the folder was let go").stop().await;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(data).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    #[cfg(feature = "otel")]
    async fn a_stop_sends_the_traces_that_are_left() {
        use crate::traces::tests::{self, Collector};
        let (folder, collector) = (tempfile::tempdir().unwrap(), Collector::default());
        let mut config = config(folder.path());
        config.telemetry = tests::config(collector.good().await, 1.0);
        let server = Server::start(config).await.unwrap();
        tests::make_span(server.door.traces());
        server.stop().await;
        collector.span("GET /stats");
    }

    #[tokio::test]
    async fn a_collector_that_can_not_be_used_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.telemetry.otlp = Some("nowhere".into());
        let error = Server::start(config).await.unwrap_err();
        assert!(
            matches!(&error, ServeError::Telemetry(_)) && error.to_string().contains("telemetry.otlp is"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_folder_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let error = Server::start(config(folder.path())).await.unwrap_err();
        assert!(matches!(&error, ServeError::Open(path, _) if path == folder.path()), "{error}");
        hub.close().await;
    }
}
