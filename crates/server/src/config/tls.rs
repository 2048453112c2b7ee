//! `[tls]`: how connections are encrypted.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How connections are encrypted: with both files, all addresses speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with the server's certificate, followed by those between it and a root: certbot's `fullchain.pem`. It is
    /// read again on SIGHUP, and within a minute after it has changed; open connections stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key, not encrypted: certbot's `privkey.pem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Both files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate's.
    pub certificate: PathBuf,
    /// The key's.
    pub key: PathBuf,
}

impl TlsConfig {
    /// Both files; `None` where connections are plain.
    pub fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.certificate.clone().zip(self.key.clone())?;
        Some(TlsFiles { certificate, key })
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(("tls.certificate", "needs `tls.key`, the file with its private key".into())),
            (None, Some(_)) => Err(("tls.key", "needs `tls.certificate`, the file with its certificate".into())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_alone_is_refused_with_the_name_of_the_other() {
        let alone = TlsConfig { certificate: Some("a.pem".into()), key: None };
        assert!(alone.check().unwrap_err().1.contains("tls.key") && alone.files().is_none());
        let alone = TlsConfig { certificate: None, key: Some("a.pem".into()) };
        assert!(alone.check().unwrap_err().1.contains("tls.certificate"));
        assert_eq!(TlsConfig::default().check(), Ok(()));
    }
}
