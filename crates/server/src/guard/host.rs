//! Who is meant by `Host`, and who asks according to `Origin`: names, addresses and ports, read strictly. Whether they are
//! let in is the guard's.

use std::net::IpAddr;

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    /// An IPv4 address, or an IPv6 address that was given in brackets.
    Ip(IpAddr),
}

impl Host {
    /// Reads a host without a port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse().ok().map(|address| Self::Ip(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Ip(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!name.is_empty() && name.len() <= 253 && name.bytes().all(is_good))
            .then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether it can only mean this machine: `localhost`, a name below it (RFC 6761 section 6.3), a loopback address.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Ip(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// A host with its port, if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The last colon of `[::1]` stands within the brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

/// Where a page comes from (RFC 6454): a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) host: Host,
    /// The one given, or the scheme's own.
    port: u16,
    /// The scheme's own.
    default_port: u16,
}

impl Origin {
    /// Reads an origin of the web; `None` for `null` and all others.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let Authority { host, port } = Authority::parse(rest)?;
        Some(Self { host, port: port.unwrap_or(default_port), default_port })
    }

    /// Whether the page comes from the server that it asks. The scheme can't be told behind a proxy, so that a `Host`
    /// without a port has the port of the origin's scheme.
    pub(crate) fn is_same(&self, host: &Authority) -> bool {
        self.host == host.host && self.port == host.port.unwrap_or(self.default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        assert_eq!(authority("LocalHost.:8080"), Authority { host: Host::Name("localhost".into()), port: Some(8080) });
        assert_eq!(authority("[::1]"), Authority { host: Host::Ip("::1".parse().unwrap()), port: None });
        assert_eq!(authority("[::1]:80").port, Some(80));
        assert_eq!(authority("127.0.0.1").host, Host::Ip("127.0.0.1".parse().unwrap()));
        for text in
            ["", ":", ":80", "a:b", "a:65536", "a:", "user@a", "a/b", "a b", "::1", "[::1", "[::1]x", "é", "a:-1"]
        {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_what_can_only_be_this_machine() {
        for text in ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(Host::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in ["localhost.example", "notlocalhost", "0.0.0.0", "10.0.0.1", "[::]", "127.0.0.1.nip.io", "0x7f.1"] {
            assert!(!Host::parse(text).unwrap().is_loopback(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_the_same_by_host_and_port() {
        for (origin, host, same) in [
            ("http://hub.example", "hub.example", true),
            ("https://hub.example", "hub.example", true),
            ("https://hub.example", "hub.example:443", true),
            ("https://hub.example", "hub.example:80", false),
            ("http://hub.example:8080", "HUB.example:8080", true),
            ("http://hub.example:8080", "hub.example", false),
            ("http://www.hub.example", "hub.example", false),
        ] {
            assert_eq!(Origin::parse(origin).unwrap().is_same(&authority(host)), same, "{origin} {host}");
        }
        for text in ["null", "", "file://", "ftp://a", "http://", "http://a/", "HTTP://a", "http://a,http://b"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
