//! The whole life of a server: bind, open, serve, drain, join.
//!
//! [`serve()`] reads like a list. It returns once everything that it started has ended: connections, tasks, threads.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_hub::{HistoryLimits, Hub, HubConfig, NameError, OpenError, Pattern, Rule};
use tokio::task::JoinSet;

use crate::limits::{CONNECTIONS_BESIDE_STREAMS, STREAMS_MAX};
use crate::listener::{self, Listen, ListenError, PORT, Room};
use crate::stop::stop;
use crate::{DoorConfig, summary, system};

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Where its data is; made, for its owner alone, if it isn't there.
    pub data: PathBuf,
    /// Who may come in.
    pub door: DoorConfig,
    /// How many streams there may be; further ones are told to come back later.
    pub streams_max: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Localhost(PORT)],
            data: "fanfare-data".into(),
            door: DoorConfig::default(),
            streams_max: STREAMS_MAX,
        }
    }
}

/// Why a server did not come to life.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data folder can't be made.
    #[error("the data folder {} can't be made", .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    /// The data folder can't be used.
    #[error("the data folder {} can't be used", .0.display())]
    Open(PathBuf, #[source] OpenError),
    /// A built-in rule is wrong.
    #[error("a built-in pattern {0}")]
    Rule(#[from] NameError),
}

/// Serves until `until` is ready, then ends in order: streams are sent away with a time to come back, requests that are
/// being answered are finished, the log is closed.
///
/// Writes one line `listening on http://…` per address to the standard output once it accepts connections.
///
/// # Errors
///
/// When it can't begin: an address is taken, or the data folder can't be used.
pub async fn serve(config: ServeConfig, until: impl Future<Output = ()>) -> Result<(), ServeError> {
    let listeners = listener::bind(&config.listen, config.door.allow_anyone)?;
    let hub_config = HubConfig { rules: vec![system_rule()?], streams_max: config.streams_max, ..HubConfig::default() };
    let connections_max = hub_config.streams_max + CONNECTIONS_BESIDE_STREAMS;
    let hub = open(config.data.clone(), hub_config).await?;
    let app = crate::app(hub.clone(), config.door);
    let urls = listener::urls(&listeners);

    let (tell, told) = stop();
    let room = Room::new(hub.clone(), connections_max);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(listener::accept(listener, app.clone(), room.clone(), told.clone()));
    }
    tasks.spawn(system::publish(hub.clone(), config.data.clone(), told.clone()));
    tasks.spawn(summary::log(hub.clone(), told));
    announce(&urls);

    until.await;
    tracing::info!(streams = hub.stats().streams, "stopping");
    hub.drain();
    tell.now();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the server did not end in order");
        }
    }
    hub.close().await;
    tracing::info!("stopped");
    Ok(())
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

/// What holds for the hub's own channels: an hour of figures, one every two seconds.
fn system_rule() -> Result<Rule, NameError> {
    let history = HistoryLimits { count_max: 1_800, age_max: Duration::from_hours(1), ..HistoryLimits::default() };
    Ok(Rule::new(Pattern::new("@system/*")?).history(history))
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

    #[tokio::test]
    async fn a_server_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("made/for us");
        let config = ServeConfig { listen: vec![Listen::Localhost(0)], data: data.clone(), ..ServeConfig::default() };
        serve(config.clone(), std::future::ready(())).await.unwrap();
        serve(config, std::future::ready(())).await.expect("the folder was let go");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(data).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    async fn a_folder_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::open(folder.path()).unwrap();
        let data = folder.path().to_owned();
        let config = ServeConfig { listen: vec![Listen::Localhost(0)], data, ..ServeConfig::default() };
        let error = serve(config, std::future::ready(())).await.unwrap_err();
        assert!(matches!(&error, ServeError::Open(path, _) if path == folder.path()), "{error}");
        hub.close().await;
    }
}
