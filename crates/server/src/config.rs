//! The settings of a server: one [`Config`] made of the rooms' sections, as they stand in the file `fanfare.toml`.
//!
//! What is said more closely counts: a flag over the environment over the file over the default ([`Sources`]). A section is
//! a struct whose fields' documentation, types and defaults are help and reference page, too ([`keys`]). Everything is read
//! and checked before a port is bound. What the settings do, the rooms know; nothing here acts on them.

use std::time::Duration;

use fanfare_hub::{HistoryLimits, HubConfig, NameError, Pattern, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod byte_size;
mod drain;
mod error;
mod http;
mod keys;
mod limits;
mod log;
mod reference;
mod rule;
mod share;
mod sources;
mod span;
mod storage;
mod streams;
mod telemetry;
mod text;
mod tls;

pub use self::byte_size::ByteSize;
pub use self::drain::DrainConfig;
pub use self::error::ConfigError;
pub use self::http::HttpConfig;
pub(crate) use self::keys::keep;
pub use self::keys::{Key, changed, keys};
pub use self::limits::LimitsConfig;
pub use self::log::{LogConfig, LogFormat};
pub use self::reference::reference;
pub use self::rule::{HistoryConfig, RuleConfig};
pub use self::share::Share;
pub use self::sources::{Loaded, Said, Sources};
pub use self::span::Span;
pub use self::storage::StorageConfig;
pub use self::streams::StreamsConfig;
pub use self::telemetry::TelemetryConfig;
pub(crate) use self::text::as_text;
pub use self::tls::{TlsConfig, TlsFiles};
use crate::DoorConfig;
use crate::serve::listener::{Listen, PORT};

/// All settings of a server. The default serves a developer on the machine itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. `localhost:PORT` is both loopback addresses, IPv4 and IPv6; port 0 takes a free one.
    #[schemars(with = "Vec<String>", extend("x-restart" = true))]
    pub listen: Vec<Listen>,
    /// Who may come in.
    pub door: DoorConfig,
    /// What a stop does with those who are there.
    pub drain: DrainConfig,
    /// How HTTP is spoken.
    pub http: HttpConfig,
    /// What one client may take of the server. A client is an IPv4 address, or an IPv6 network of 64 bits.
    pub limits: LimitsConfig,
    /// What is written to the standard error, and how.
    pub log: LogConfig,
    /// Where events are kept.
    pub storage: StorageConfig,
    /// What holds for all streams.
    pub streams: StreamsConfig,
    /// Traces of requests for an OpenTelemetry collector; for binaries that were built with them.
    pub telemetry: TelemetryConfig,
    /// How connections are encrypted: with both files, all addresses speak TLS.
    pub tls: TlsConfig,
    /// What holds for the channels that a pattern matches. The first rule that matches a channel counts; a channel that none
    /// matches has all defaults.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Localhost(PORT)],
            door: DoorConfig::default(),
            drain: DrainConfig::default(),
            http: HttpConfig::default(),
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
            storage: StorageConfig::default(),
            streams: StreamsConfig::default(),
            telemetry: TelemetryConfig::default(),
            tls: TlsConfig::default(),
            rules: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what no section can check alone.
    ///
    /// # Errors
    ///
    /// The key, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.listen.is_empty() {
            return Err(("listen", "is empty; a server must listen somewhere".into()));
        }
        self.storage.check()?;
        self.streams.check()?;
        self.http.check()?;
        self.limits.check()?;
        self.log.check()?;
        self.telemetry.check()?;
        self.tls.check()?;
        self.drain.check()?;
        self.rules.iter().try_for_each(RuleConfig::check)
    }

    /// How many connections there may be, streams too.
    pub(crate) fn connections_max(&self) -> usize {
        self.streams.max + self.limits.connections_max
    }

    /// The engine's part.
    ///
    /// # Errors
    ///
    /// When a built-in pattern is wrong, which a test excludes.
    pub(crate) fn hub(&self) -> Result<HubConfig, NameError> {
        Ok(HubConfig {
            rules: self.hub_rules()?,
            streams_max: self.streams.max,
            shards: self.streams.threads,
            readers: self.storage.readers,
            window_bytes: self.storage.window.bytes() as usize,
            cursor_age_max: self.storage.cursor_age_max.duration(),
            disk_bytes_max: self.storage.disk_max.map(ByteSize::bytes),
            disk_reserve_bytes: self.storage.reserve.map(ByteSize::bytes),
            stall_max: self.streams.stall_max.duration(),
            rate_min: self.streams.rate_min.bytes(),
            slow_max: self.streams.slow_max.duration(),
            age_max: self.streams.age_max.map(Span::duration),
            retry: (self.streams.retry_min.duration(), self.streams.retry_max.duration()),
            bye_retry: (self.drain.retry_min.duration(), self.drain.retry_max.duration()),
            ..HubConfig::default()
        })
    }

    /// The rules, and after them what holds for the hub's own channels unless a rule says otherwise.
    ///
    /// # Errors
    ///
    /// When a built-in pattern is wrong, which a test excludes.
    pub(crate) fn hub_rules(&self) -> Result<Vec<Rule>, NameError> {
        // An hour of figures, one every two seconds.
        let history = HistoryLimits { count_max: 1_800, age_max: Duration::from_hours(1), ..HistoryLimits::default() };
        let system = Rule::new(Pattern::new("@system/*")?).history(history);
        Ok(self.rules.iter().map(RuleConfig::rule).chain([system]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_the_same_as_the_hubs() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        let (hub, default) = (config.hub().unwrap(), HubConfig::default());
        assert_eq!(hub.streams_max, default.streams_max);
        assert_eq!(
            (hub.shards, hub.readers, hub.window_bytes),
            (default.shards, default.readers, default.window_bytes)
        );
        assert_eq!((hub.cursor_age_max, hub.stall_max), (default.cursor_age_max, default.stall_max));
        assert_eq!((hub.rate_min, hub.slow_max, hub.age_max), (default.rate_min, default.slow_max, default.age_max));
        assert_eq!((hub.retry, hub.bye_retry), (default.retry, default.bye_retry));
        assert_eq!((hub.disk_reserve_bytes, hub.disk_bytes_max), (default.disk_reserve_bytes, default.disk_bytes_max));
    }

    #[test]
    fn a_reserve_or_limit_of_the_disk_that_is_too_small_is_refused() {
        let mut config = Config::default();
        config.storage.reserve = Some(ByteSize::new(1024));
        let (key, why) = config.check().unwrap_err();
        assert_eq!((key, why.as_str()), ("storage.reserve", "is 1KiB; the store itself may need 64MiB"));
        let mut config = Config::default();
        config.storage.disk_max = Some(ByteSize::new(1024));
        assert_eq!(config.check().unwrap_err().0, "storage.disk_max");
    }

    #[test]
    fn settings_survive_being_written_and_read() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }
}
