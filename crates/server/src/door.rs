//! The door: what all routes share. The hub behind it, its settings, and what it counts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fanfare_hub::{Clock, Hub, SystemClock};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::admission::address::{AddressHeader, Network};
use crate::connection::counts::Counts;
use crate::error::{ApiError, Code};
use crate::figures::Figures;
use crate::guard::host::{Host, Origin};
use crate::limits::{BODIES_BYTES_MAX, READS_MAX};
use crate::traces::Traces;

/// Who may come through the door.
///
/// By default it is a developer's: it answers to loopback names only and serves no pages but loopback ones, whatever
/// address it listens on. A server with a name of its own says so:
///
/// ```
/// let config = fanfare::DoorConfig {
///     allow_hosts: vec!["hub.example.com".into()],
///     allow_origins: vec!["https://www.example.com".into()],
///     ..Default::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DoorConfig {
    /// In which header trusted proxies say whom they speak for. The other one is ignored.
    pub address_header: AddressHeader,
    /// Whether to listen on addresses that other machines can reach, and to answer to any IP address in `Host`.
    pub allow_anyone: bool,
    /// Names beside the loopback ones that may stand in `Host`, with any port.
    #[serde(deserialize_with = "hosts")]
    pub allow_hosts: Vec<String>,
    /// Origins beside the loopback ones and the server's own whose pages may use the hub, exactly as browsers send them.
    #[serde(deserialize_with = "origins")]
    pub allow_origins: Vec<String>,
    /// Proxies, by address or network (`10.0.0.0/8`), that are believed when they say whom they speak for. A client's address
    /// is the last one in that header that is none of theirs.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    match hosts.iter().find(|host| Host::parse(host).is_none()) {
        Some(host) => Err(D::Error::custom(format!("{host:?} must be a name or an address without a port"))),
        None => Ok(hosts),
    }
}

fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(deserializer)?;
    let is_origin = |text: &String| Origin::parse(text).is_some() && *text == text.to_ascii_lowercase();
    match origins.iter().find(|text| !is_origin(text)) {
        Some(text) => Err(D::Error::custom(format!(
            "{text:?} must look as browsers send it: https://www.example.com, in lower case, no path"
        ))),
        None => Ok(origins),
    }
}

/// What all routes share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door(Arc<Shared>);

struct Shared {
    hub: Hub,
    /// Replaced as a whole by [`Door::reload`].
    config: RwLock<Arc<DoorConfig>>,
    figures: Figures,
    /// What happened to connections; nothing where others accept them.
    counts: Arc<Counts>,
    /// What one client may have.
    admission: Admission,
    /// Bounds the reads that block a thread.
    reads: Arc<Semaphore>,
    /// Bounds the bytes of bodies that are being read.
    bodies: Semaphore,
    /// Where requests are traced to.
    traces: Traces,
    /// Counts from when the door was made.
    clock: SystemClock,
}

impl Door {
    /// A door whose requests nobody traces.
    pub(crate) fn new(hub: Hub, config: DoorConfig) -> Self {
        Self::traced(hub, config, Traces::default())
    }

    /// A door whose requests are traced.
    pub(crate) fn traced(hub: Hub, config: DoorConfig, traces: Traces) -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let bodies = Semaphore::new(BODIES_BYTES_MAX);
        let config = RwLock::new(Arc::new(config));
        Self(Arc::new(Shared {
            hub,
            config,
            figures: Figures::default(),
            counts: Arc::default(),
            admission: Admission::default(),
            reads,
            bodies,
            traces,
            clock: SystemClock::default(),
        }))
    }

    /// What one client may have.
    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// The hub behind the door.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Who may come in.
    pub(crate) fn config(&self) -> Arc<DoorConfig> {
        self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes who may come in, from the next request on.
    pub(crate) fn reload(&self, config: DoorConfig) {
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How long the door has been there.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.clock.elapsed()
    }

    /// Where requests are traced to.
    pub(crate) fn traces(&self) -> &Traces {
        &self.0.traces
    }

    /// What the door counts.
    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// What happened to connections so far.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.0.counts
    }

    /// Room for the bytes of bodies that are being read.
    pub(crate) fn bodies(&self) -> &Semaphore {
        &self.0.bodies
    }

    /// Reads from the hub what may have to come from disk, on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Hub) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        // The semaphore is never closed. The turn goes with the read, which goes on if the client hangs up.
        let turn = self.0.reads.clone().acquire_owned().await;
        let hub = self.0.hub.clone();
        let turned = move || {
            let _turn = turn;
            read(&hub)
        };
        tokio::task::spawn_blocking(turned).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a read ended early");
            ApiError::new(Code::Internal, "the read ended early; the server's log says more")
        })
    }
}
