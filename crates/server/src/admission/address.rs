//! Whose request it is, as far as addresses say it: the connection's other side, or, behind proxies that the settings trust,
//! who they say they speak for. What a client says of itself in these headers counts for nothing.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::as_text;
use crate::door::Door;

/// Some addresses: one, or all that begin alike, as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    /// How many bits all of them have in common.
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address or network; it takes `10.1.2.3`, `10.0.0.0/8`, `2001:db8::7` or `2001:db8::/32`")]
pub struct NotANetwork(String);

impl Network {
    /// The network of an address; beyond the length of an address it is the address itself.
    fn of(address: IpAddr, bits: u8) -> Self {
        let first = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { first, bits }
    }

    /// The network that counts as one client: an IPv4 address; the first half of an IPv6 address (`/64`), of which the other
    /// half is the client's to choose.
    pub(crate) fn of_client(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self::of(v4, 32),
            v6 @ IpAddr::V6(_) => Self::of(v6, 64),
        }
    }

    /// What counts as one client where there are too many to tell them apart.
    pub(crate) fn of_crowd(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self::of(v4, 16),
            v6 @ IpAddr::V6(_) => Self::of(v6, 32),
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && Self::of(address, self.bits) == self
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let refused = || NotANetwork(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| refused()))?;
        if bits > most { Err(refused()) } else { Ok(Self::of(address, bits)) }
    }
}

as_text!(Network);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole = self.bits == if self.first.is_ipv4() { 32 } else { 128 };
        if is_whole { write!(f, "{}", self.first) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

/// In which header trusted proxies say whom they speak for. The other one is ignored, since a proxy passes on unseen what it
/// doesn't write itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The client's address; none where nobody knows it, as in a program that embeds the routes and doesn't say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) Option<IpAddr>);

impl FromRequestParts<Door> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Infallible> {
        Ok(Self::of(parts, door))
    }
}

impl Client {
    /// Tells clients apart where a number is all that may be known; 0 for one that isn't known.
    pub(crate) fn number(self) -> u64 {
        match self.0.map(|address| address.to_canonical()) {
            None => 0,
            Some(IpAddr::V4(ip)) => ip.to_bits().into(),
            // The half that is not the client's to choose.
            Some(IpAddr::V6(ip)) => (ip.to_bits() >> 64) as u64,
        }
    }

    fn of(parts: &Parts, door: &Door) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let config = door.config();
        Self(peer.map(|peer| client(peer.0.ip(), &parts.headers, &config.trusted_proxies, config.address_header)))
    }
}

/// The rightmost address that no trusted proxy has. Who wrote an unreadable one can't be named: then it is the proxy's own.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network], header: AddressHeader) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest) {
        return nearest;
    }
    let name = match header {
        AddressHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        AddressHeader::Forwarded => HeaderName::from_static("forwarded"),
    };
    // Bytes that are no text become a hop that is no address. To leave them out would give a client's own words more weight.
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let hop = match header {
            AddressHeader::XForwardedFor => Some(hop.trim()),
            AddressHeader::Forwarded => forwarded_for(hop),
        };
        let Some(address) = hop.and_then(address) else { return nearest };
        nearest = address;
        if !is_trusted(nearest) {
            return nearest;
        }
    }
    nearest
}

/// The `for` of one element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address, which may have brackets and a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain.or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), text);
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{text}");
        }
        for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "example.com", "10.0.0.0/x"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork(text.into())), "{text}");
        }
    }

    #[test]
    fn an_ipv6_client_is_its_half() {
        assert_eq!(Network::of_client(ip("2001:db8::1")), Network::of_client(ip("2001:db8::ffff:1")));
        assert_ne!(Network::of_client(ip("2001:db8::1")), Network::of_client(ip("2001:db8:0:1::1")));
        assert_ne!(Network::of_client(ip("192.0.2.1")), Network::of_client(ip("192.0.2.2")));
        assert_eq!(Network::of_client(ip("::ffff:192.0.2.1")), Network::of_client(ip("192.0.2.1")));
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_up_to_the_first_stranger() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).to_vec();
        let by = |header, name: &'static str, peer, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(name, line.parse().unwrap());
            }
            client(ip(peer), &headers, &trusted, header).to_string()
        };
        let xff = |peer, lines: &[&'static str]| by(AddressHeader::XForwardedFor, "x-forwarded-for", peer, lines);
        assert_eq!(xff("192.0.2.9", &["203.0.113.1"]), "192.0.2.9", "a client that speaks for itself");
        assert_eq!(xff("10.0.0.1", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(
            xff("10.0.0.1", &["6.6.6.6, 203.0.113.1, 10.9.9.9"]),
            "203.0.113.1",
            "what is left of it is hearsay"
        );
        assert_eq!(xff("::1", &["6.6.6.6", "[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(xff("10.0.0.1", &["203.0.113.1, nonsense"]), "10.0.0.1");
        assert_eq!(xff("10.0.0.1", &[]), "10.0.0.1");
        let mut headers = HeaderMap::new();
        for line in [&b"6.6.6.6"[..], b"\xff, 10.9.9.9"] {
            headers.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(line).unwrap());
        }
        let behind = client(ip("10.0.0.1"), &headers, &trusted, AddressHeader::XForwardedFor);
        assert_eq!(behind, ip("10.9.9.9"), "bytes that are no text hide what is left of them");
        assert_eq!(xff("::ffff:10.0.0.1", &["203.0.113.1:80"]), "203.0.113.1");
        let forwarded = |lines: &[&'static str]| by(AddressHeader::Forwarded, "forwarded", "10.0.0.1", lines);
        assert_eq!(forwarded(&["for=6.6.6.6, for=203.0.113.1;proto=https"]), "203.0.113.1");
        assert_eq!(forwarded(&["proto=https;For=\"[2001:db8::7]:4711\""]), "2001:db8::7");
        assert_eq!(forwarded(&["for=_hidden"]), "10.0.0.1");
    }
}
