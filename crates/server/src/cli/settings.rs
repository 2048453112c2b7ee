//! The flags that say how to serve. Each is a key of the settings; those that people type most have a name of their own.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Said, Sources};

#[derive(Args, Debug, Default)]
pub(super) struct Arguments {
    /// The file of settings [default: fanfare.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Any setting, such as `streams.retry_max=10s`; lists with commas; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Where to listen; may be repeated. `localhost:PORT` is both loopback addresses, IPv4 and IPv6; port 0 takes a free one
    /// [default: localhost:8080]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<String>,

    /// The folder of the data; made if it isn't there [default: fanfare-data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,

    /// A name, beside localhost, by which this server may be called; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allow_host: Vec<String>,

    /// An origin, `https://` and a name, whose pages may publish and listen; may be repeated
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,

    /// Listen on addresses that other machines can reach, and answer to any IP address
    #[arg(long)]
    allow_anyone: bool,

    /// How many streams there may be; further ones are told to come back later [default: 10000]
    #[arg(long, value_name = "COUNT")]
    streams_max: Option<String>,

    /// A PEM file with the server's certificate and those between it and a root: speak TLS on all addresses
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,

    /// A PEM file with the certificate's private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl Arguments {
    /// Where the settings come from, flags among them.
    ///
    /// # Errors
    ///
    /// When `--set` has no `=`.
    pub(super) fn sources(&self) -> anyhow::Result<Sources> {
        let mut flags = Vec::new();
        for text in &self.set {
            let Some((key, value)) = text.split_once('=') else {
                anyhow::bail!("--set {text}: it takes a key, `=` and a value, such as `streams.max=500`");
            };
            let values = vec![value.trim().to_owned()];
            flags.push(Said { origin: format!("--set {text}"), key: key.trim().to_owned(), values });
        }
        let anyone = self.allow_anyone.then(|| "true".to_owned());
        for (flag, key, values) in [
            ("--listen", "listen", &self.listen[..]),
            ("--data", "storage.folder", self.data.as_slice()),
            ("--allow-host", "door.allow_hosts", &self.allow_host),
            ("--allow-origin", "door.allow_origins", &self.allow_origin),
            ("--allow-anyone", "door.allow_anyone", anyone.as_slice()),
            ("--streams-max", "streams.max", self.streams_max.as_slice()),
            ("--tls-certificate", "tls.certificate", self.tls_certificate.as_slice()),
            ("--tls-key", "tls.key", self.tls_key.as_slice()),
        ] {
            if !values.is_empty() {
                flags.push(Said { origin: flag.to_owned(), key: key.to_owned(), values: values.to_vec() });
            }
        }
        Ok(Sources { file: self.config.clone(), environment: std::env::vars().collect(), flags })
    }
}
