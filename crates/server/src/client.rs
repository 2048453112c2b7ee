//! A small HTTP/1.1 client for the commands: one request per connection, plain HTTP only.

use std::str::FromStr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What may stand in a query as it is (RFC 3986, "unreserved").
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
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
pub(crate) enum UrlError {
    /// The scheme is `https`.
    #[error("this command speaks plain http only; for https use curl, or reach the server directly")]
    Https,
    /// It is something else.
    #[error("must look like http://localhost:8080")]
    Form,
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(UrlError::Https),
            _ => return Err(UrlError::Form),
        }
        let authority = uri.authority().ok_or(UrlError::Form)?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(UrlError::Form);
        }
        Ok(Self {
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
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
    pub(crate) fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> hyper::http::request::Builder {
        let encode = |text| utf8_percent_encode(text, UNRESERVED);
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encode(*value))).collect();
        let target = format!("{}{path}?{}", self.prefix, query.join("&"));
        let agent = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
        Request::builder()
            .method(method)
            .uri(target.trim_end_matches('?'))
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, agent)
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Exchange> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
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
    }

    #[test]
    fn what_is_no_plain_http_is_refused() {
        assert_eq!("https://localhost".parse::<ServerUrl>(), Err(UrlError::Https));
        for text in ["", "localhost:8080", "ftp://a", "http://", "http://a/?b", "http://u:p@a", "/x"] {
            assert_eq!(text.parse::<ServerUrl>(), Err(UrlError::Form), "{text}");
        }
    }
}
