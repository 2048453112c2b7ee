//! A small HTTP/1.1 client for the commands: one request per connection, encrypted where the URL says `https`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::tls::{HTTP1, certificates};

/// What may stand in a query as it is (RFC 3986, "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of a path or a query.
pub(crate) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

/// How a command says which server it means.
#[derive(Args, Debug)]
pub(crate) struct Remote {
    /// The server
    #[arg(long, default_value = "http://localhost:8080")]
    url: ServerUrl,

    /// A PEM file with certificates to trust, instead of those that this machine trusts
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// A server, and how to reach it.
#[derive(Clone)]
pub(crate) struct Client {
    url: ServerUrl,
    /// `None` where the URL is plain.
    tls: Option<TlsConnector>,
}

impl Remote {
    /// The server, with what is needed to trust it.
    ///
    /// # Errors
    ///
    /// When there is nobody to trust.
    pub(crate) fn client(self) -> anyhow::Result<Client> {
        anyhow::ensure!(self.url.is_encrypted || self.ca.is_none(), "--ca is for a server with https://");
        let tls = self.url.is_encrypted.then(|| connector(self.ca)).transpose()?;
        Ok(Client { url: self.url, tls })
    }
}

impl Client {
    /// A server that is trusted where this machine trusts it.
    ///
    /// # Errors
    ///
    /// When there is nobody to trust.
    #[cfg(feature = "otel")]
    pub(crate) fn to(url: ServerUrl) -> anyhow::Result<Self> {
        Remote { url, ca: None }.client()
    }
}

/// Trusts what is in the file, or what this machine trusts.
fn connector(ca: Option<PathBuf>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca {
        for certificate in certificates(&file)? {
            roots.add(certificate).with_context(|| format!("a certificate in {} can't be trusted", file.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        anyhow::ensure!(!roots.is_empty(), "this machine has no certificates to trust; name a file with --ca");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// Whether its scheme is `https`.
    is_encrypted: bool,
    /// As `Host` says it.
    authority: String,
    /// To connect to, without brackets.
    host: String,
    port: u16,
    /// What comes before the server's own paths, without a slash at its end.
    prefix: String,
}

/// A text that is no server's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must look like http://localhost:8080")]
pub(crate) struct NotAUrl;

impl FromStr for ServerUrl {
    type Err = NotAUrl;

    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let uri: Uri = text.parse().map_err(|_| NotAUrl)?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(NotAUrl),
        };
        let authority = uri.authority().ok_or(NotAUrl)?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(NotAUrl);
        }
        Ok(Self {
            is_encrypted,
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

/// A response, with the task that drives its connection. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) response: Response<Incoming>,
    connection: JoinHandle<()>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl ServerUrl {
    /// A request to a path of this server, with these parameters.
    fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> hyper::http::request::Builder {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let target = format!("{}{path}?{}", self.prefix, query.join("&"));
        let agent = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
        Request::builder()
            .method(method)
            .uri(target.trim_end_matches('?'))
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, agent)
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}

impl Client {
    /// A request to a path of this server, with these parameters.
    pub(crate) fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> hyper::http::request::Builder {
        self.url.request(method, path, query)
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Exchange> {
        let socket = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        let Some(tls) = &self.tls else { return exchange(socket, request).await };
        let name = ServerName::try_from(self.url.host.clone()).context("the URL's host is no name that TLS knows")?;
        exchange(tls.connect(name, socket).await?, request).await
    }
}

/// Sends a request over a connection, and waits for the head of the answer.
async fn exchange<I>(socket: I, request: Request<Full<Bytes>>) -> anyhow::Result<Exchange>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    // Its errors reach the response's body, too.
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    match sender.send_request(request).await {
        Ok(response) => Ok(Exchange { response, connection }),
        Err(error) => {
            connection.abort();
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_requests_point_there() {
        let url: ServerUrl = "http://[::1]:9/hub/".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port, url.prefix.as_str()), ("::1", 9, "/hub"));
        let request = url.request("GET", "/events", &[("channel", "a/b&c é")]).body(()).unwrap();
        assert_eq!(request.uri(), "/hub/events?channel=a%2Fb%26c%20%C3%A9");
        assert_eq!(request.headers()["host"], "[::1]:9");
        assert_eq!("http://localhost".parse::<ServerUrl>().unwrap().port, 80);
        let url: ServerUrl = "https://hub.example".parse().unwrap();
        assert_eq!((url.is_encrypted, url.port, url.to_string().as_str()), (true, 443, "https://hub.example"));
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        for text in ["", "localhost:8080", "ftp://a", "http://", "http://a/?b", "http://u:p@a", "/x"] {
            assert_eq!(text.parse::<ServerUrl>(), Err(NotAUrl), "{text}");
        }
    }
}
