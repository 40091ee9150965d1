//! `[server]`, `[admin]`, `[metrics]`: listeners and limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::identity;
use super::model::{Admin, ClientCertificates, Limits, Metrics, Server, Tls};
use super::pem;
use super::read::{Place, Section};
use super::units::{KIB, MIB};
use super::value::Value;

/// Ranges of durations are made of these.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The addresses listened on so far, and the keys that took them.
#[derive(Default)]
pub(super) struct Listeners(Vec<(SocketAddr, Place)>);

impl Listeners {
    /// Takes an address for a key, once.
    fn claim(&mut self, section: &Section<'_>, place: Place, address: SocketAddr) {
        if let Some((other, owner)) = self.0.iter().find(|(other, _)| clash(*other, address)) {
            let line = section.reader.line(owner).map(|line| format!(", line {line}"));
            let default = if line.is_none() { ", by default" } else { "" };
            let message = format!(
                "can't listen on {address}: {} has {other}{}{default}; choose another port",
                owner.key,
                line.unwrap_or_default(),
            );
            section.reader.fault(&place, message);
        }
        self.0.push((address, place));
    }

    /// The key whose listener an upstream address leads back to.
    pub(super) fn owner(&self, address: &str) -> Option<&str> {
        let address: SocketAddr = address.parse().ok()?;
        let local = address.ip().is_loopback();
        let (_, place) = self.0.iter().find(|(other, _)| {
            *other == address || (local && other.ip().is_unspecified() && clash(*other, address))
        })?;
        Some(&place.key)
    }

    fn list(&mut self, section: &Section<'_>, default: u16, none_is_fine: bool) -> Vec<SocketAddr> {
        let Some(value) = section.value("listen") else {
            let address = local(default);
            self.claim(section, section.place_of("listen"), address);
            return vec![address];
        };
        let read = |item: &Value<'_>| {
            let address = address(item)?;
            self.claim(section, item.place.clone(), address);
            Some(address)
        };
        let listed = match none_is_fine {
            true => value.list("addresses", read),
            false => value.some("addresses", read),
        };
        listed.unwrap_or_default()
    }

    fn one(&mut self, section: &Section<'_>, default: u16) -> SocketAddr {
        let given = section.value("listen").map(|value| address(&value));
        let address = given.unwrap_or(Some(local(default)));
        if let Some(address) = address {
            self.claim(section, section.place_of("listen"), address);
        }
        address.unwrap_or(local(default))
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || (everywhere && a.is_ipv4() == b.is_ipv4()))
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let must = "must be an IP address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    let address: SocketAddr = value.parsed(must, |text| text.parse().ok())?;
    if address.port() == 0 {
        value.reader.warn(&value.place, "has port 0: the system picks another one at each start");
    }
    Some(address)
}

/// `[server]`.
pub(super) fn server(section: &Section<'_>, listeners: &mut Listeners) -> Option<Server> {
    let listen = listeners.list(section, 8080, section.has("tls"));
    let threads = section.or("threads", 0, |value| number(value, 0, 1024));
    let trusted_proxies =
        section.or("trusted_proxies", Vec::new(), |value| value.list("networks (CIDR)", network));
    let drain_timeout =
        section.or("drain_timeout", 30 * SECOND, |value| value.duration(Duration::ZERO..=HOUR));
    let shutdown_delay =
        section.or("shutdown_delay", Duration::ZERO, |value| value.duration(Duration::ZERO..=HOUR));
    let upgrade_timeout =
        section.or("upgrade_timeout", 120 * SECOND, |value| value.duration(SECOND..=HOUR));
    let tls = section.get("tls", |value| value.table(|section| tls(section, listeners)));
    let limits = section.table("limits", limits);
    Some(Server {
        listen,
        threads,
        trusted_proxies,
        drain_timeout,
        shutdown_delay,
        upgrade_timeout,
        tls,
        limits: limits?,
    })
}

fn number(value: &Value<'_>, least: u64, most: u64) -> Option<usize> {
    value.number(least..=most).and_then(|number| usize::try_from(number).ok())
}

fn network(value: &Value<'_>) -> Option<IpNet> {
    let must = "must be a network such as \"10.0.0.0/8\", or one address";
    let network: IpNet = value.parsed(must, |text| {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    })?;
    if network.prefix_len() == 0 {
        let message = "takes in every address: anybody's X-Forwarded-* is believed";
        value.reader.warn(&value.place, message);
    }
    Some(network.trunc())
}

fn tls(section: &Section<'_>, listeners: &mut Listeners) -> Tls {
    let listen = listeners.list(section, 8443, false);
    let example = "[{ cert = \"a.pem\", key = \"a.key\" }]";
    let identities = section.need("certificates", example, |value| {
        let identities = value.some("{ cert, key }", identity::identity)?;
        identity::cross_check(value, &identities);
        Some(identities)
    });
    let ca = section.value("client_ca");
    let auth = section.value("client_auth");
    if let (None, Some(auth)) = (&ca, &auth) {
        auth.fault::<()>("needs client_ca, the authorities that sign the clients' certificates");
    }
    let required = auth.and_then(|auth| auth.word(&[("optional", false), ("required", true)]));
    let authorities = ca.and_then(|ca| pem::authorities(&ca)).map(|of| Arc::new(of.roots));
    let required = required.unwrap_or(false);
    let clients = authorities.map(|authorities| ClientCertificates { authorities, required });
    Tls { listen, identities: identities.unwrap_or_default(), clients }
}

fn limits(section: &Section<'_>) -> Limits {
    let bytes = |value: &Value<'_>, least, most| {
        value.size(least..=most).and_then(|size| usize::try_from(size).ok())
    };
    let header = section.or("header_bytes", 32 << 10, |value| bytes(value, KIB, MIB));
    let target = section.value("target_bytes");
    let target_bytes = target.as_ref().and_then(|value| bytes(value, 256, 64 * KIB));
    if let (Some(value), true) = (&target, target_bytes.is_some_and(|bytes| bytes > header)) {
        value.wrong::<()>("must not be more than header_bytes, of which it is a part");
    }
    let connections = section.or("connections", 20_000, |value| number(value, 1, 10_000_000));
    Limits {
        header_bytes: header,
        target_bytes: target_bytes.unwrap_or(header.min(8 << 10)),
        body_bytes: section.or("body_bytes", 64 * MIB, body_bytes),
        header_timeout: section
            .or("header_timeout", 10 * SECOND, |value| value.duration(100 * MILLISECOND..=HOUR)),
        idle_timeout: section.or("idle_timeout", 75 * SECOND, |value| value.duration(SECOND..=DAY)),
        connections,
        // Each connection of HTTP/1.1 may have one; those of HTTP/2 share.
        requests: section.or("requests", connections, |value| number(value, 1, 10_000_000)),
        lag: section
            .or("lag", 500 * MILLISECOND, |value| value.duration(Duration::ZERO..=60 * SECOND)),
    }
}

/// A limit for bodies; 0 for none.
pub(super) fn body_bytes(value: &Value<'_>) -> Option<u64> {
    value.size(0..=(1 << 50))
}

/// `[admin]`.
pub(super) fn admin(section: &Section<'_>, listeners: &mut Listeners) -> Admin {
    let listen = listeners.one(section, 8081);
    if !listen.ip().is_loopback() {
        let message = "lets other machines reach the admin port, and it speaks plain HTTP";
        section.reader.warn(&section.place_of("listen"), message);
    }
    Admin { listen }
}

/// `[metrics]`.
pub(super) fn metrics(section: &Section<'_>, listeners: &mut Listeners) -> Metrics {
    Metrics { listen: listeners.one(section, 9464) }
}
