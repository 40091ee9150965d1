//! Whose request it is: the client's own address, behind proxies that are believed.
//!
//! It is what failed sign-ins are counted by, and nothing is granted by it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use pingora::http::RequestHeader;

/// The nearest address that is no trusted proxy's. Each proxy adds, at the end, from whom
/// it had the request: what stands before that of the first one that is not believed may be
/// made up. What is no address ends the search, at the proxy that passed it on.
pub(super) fn client_address(request: &RequestHeader, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let believed = |address: &IpAddr| {
        let plain = address.to_canonical();
        trusted.iter().any(|network| network.contains(address) || network.contains(&plain))
    };
    let mut nearest = peer;
    let fields = request.headers.get_all("x-forwarded-for");
    // From the end: there may be as many as a head has room for.
    for hop in fields.iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b',')) {
        if !believed(&nearest) {
            break;
        }
        match std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) {
            Some(hop) => nearest = hop,
            None => break,
        }
    }
    nearest
}

/// An address as proxies write it: some add a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::tests::request;

    #[test]
    fn the_nearest_that_nobody_vouches_for() {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        for (peer, fields, expected) in [
            ("192.0.2.1", &["6.6.6.6"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.7 , 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["6.6.6.6, "], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["6.6.6.6", "\u{e9}, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.7, \u{e9}"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("::1", &["192.0.2.7"], "192.0.2.7"),
        ] {
            let fields: Vec<_> = fields.iter().map(|it| ("X-Forwarded-For", *it)).collect();
            let found = client_address(&request(&fields), peer.parse().unwrap(), &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {fields:?}");
        }
    }
}
