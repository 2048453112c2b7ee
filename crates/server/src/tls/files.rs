//! The files of a certificate: read, checked, and watched for changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

use crate::config::TlsFiles;
use crate::tls::{HTTP1, HTTP2};

/// Why certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file holds something else than it should, or is damaged.
    #[error("{} is not what it should be in PEM form: {}", .0.display(), .1)]
    Pem(PathBuf, String),
    /// No certificate is in the file.
    #[error("{} holds no certificate; it must begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// No key is in the file.
    #[error("{} holds no private key that can be read; an encrypted key must be decrypted first", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key are of different pairs.
    #[error("the key {} does not belong to the certificate {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// They can't be used for TLS.
    #[error("certificate and key can't be used")]
    Unusable(#[source] rustls::Error),
}

/// Reads both files, and makes of them what connections need. Blocks.
pub(super) fn read_both(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(&files.certificate)?;
    let key = key(&files.key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            error => TlsError::Unusable(error),
        })?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // A crowd that comes back brings tickets, which spare a signature each and no memory in between.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Unusable)?;
    Ok(Arc::new(config))
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| TlsError::Pem(path.to_owned(), error.to_string()))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(certificates) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        // What is in the file is nobody's business.
        _ => TlsError::Pem(path.to_owned(), "it is damaged".to_owned()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read(path.to_owned(), error))
}

/// What both files look like from outside: as long as it is the same, they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    /// Looks at the files that the paths lead to. Tools that renew certificates often put a link to another file.
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self([&files.certificate, &files.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }))
    }
}

#[cfg(test)]
pub(in crate::tls) mod tests {
    use super::*;

    /// Writes a certificate for this name, signed by itself, and its key.
    pub(crate) fn write(folder: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let config = TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        std::fs::write(&config.certificate, made.cert.pem()).unwrap();
        std::fs::write(&config.key, made.signing_key.serialize_pem()).unwrap();
        config
    }

    #[test]
    fn a_pair_is_read_and_offers_both_protocols() {
        let folder = tempfile::tempdir().unwrap();
        let config = read_both(&write(folder.path(), "hub.example")).unwrap();
        assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let good = write(folder.path(), "a.example");
        let foreign = write(other.path(), "b.example");
        let wrong = |certificate: &Path, key: &Path| {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            read_both(&TlsFiles { certificate, key }).unwrap_err().to_string()
        };
        let missing = folder.path().join("missing.pem");
        assert!(wrong(&missing, &good.key).contains("missing.pem can't be read"));
        assert!(wrong(&good.certificate, &missing).contains("missing.pem can't be read"));
        assert!(wrong(&good.key, &good.key).contains("key.pem holds no certificate"));
        assert!(wrong(&good.certificate, &good.certificate).contains("certificate.pem holds no private key"));
        assert!(wrong(&good.certificate, &foreign.key).contains("does not belong to the certificate"));
        let text = std::fs::read_to_string(&good.key).unwrap();
        std::fs::write(&missing, text.split_at(text.len() / 2).0).unwrap();
        let damaged = wrong(&good.certificate, &missing);
        assert!(damaged.contains("PEM") && !damaged.contains("BEGIN"), "{damaged}");
    }
}
