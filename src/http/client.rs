//! Address of the client, through as many proxies as are trusted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;

/// The address that `request` came from, `hops` proxies away.
pub(super) fn of(request: &Request, hops: usize) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    address(peer.map_or(unknown, |peer| peer.0), request.headers(), hops)
}

/// The address `hops` proxies away, told by `X-Forwarded-For`; the peer's own if that says nothing usable.
///
/// Each proxy appends the address it was called from, so the last entry is the nearest; entries further left
/// than the trusted ones can be anybody's invention.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, hops: usize) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if hops == 0 {
        return peer;
    }
    let values = headers.get_all("x-forwarded-for");
    let entries: Vec<&str> = values
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    let index = entries.len().saturating_sub(hops);
    entries
        .get(index)
        .and_then(|entry| parse(entry.trim()))
        .unwrap_or(peer)
}

// Azure's front ends write `ip:port`.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare
        .parse()
        .ok()
        .or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(hops: usize, forwarded: &[&str]) -> String {
        let peer = "10.0.0.1:1234".parse().unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        address(peer, &headers, hops).to_string()
    }

    #[test]
    fn only_trusted_hops_count() {
        assert_eq!(through(0, &["1.1.1.1"]), "10.0.0.1");
        assert_eq!(through(1, &["6.6.6.6, 1.1.1.1"]), "1.1.1.1");
        assert_eq!(through(2, &["6.6.6.6, 1.1.1.1, 2.2.2.2"]), "1.1.1.1");
        assert_eq!(through(2, &["6.6.6.6", "1.1.1.1, 2.2.2.2"]), "1.1.1.1");
        assert_eq!(through(1, &[]), "10.0.0.1");
        assert_eq!(through(1, &["nonsense"]), "10.0.0.1");
    }

    #[test]
    fn ports_and_brackets_are_understood() {
        assert_eq!(through(1, &["1.1.1.1:4711"]), "1.1.1.1");
        assert_eq!(through(1, &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(through(1, &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(through(1, &["::ffff:1.2.3.4"]), "1.2.3.4");
    }
}
