//! `[[upstream]]`: where requests go.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::uri::PathAndQuery;

use super::files;
use super::model::{
    HealthCheck, OutlierEjection, Protocol, Upstream, UpstreamAuthorization, UpstreamTls,
};
use super::pem;
use super::read::{Place, Section};
use super::server::{DAY, Listeners, MILLISECOND, SECOND};
use super::value::Value;
use crate::domain::UpstreamName;

const PROTOCOLS: [(&str, Protocol); 3] =
    [("http1", Protocol::Http1), ("h2", Protocol::H2), ("h2c", Protocol::H2c)];

/// All of them. One whose name has a fault is left out; faults of other keys
/// are stood in for, so that routes find it.
pub(super) fn upstreams(root: &Section<'_>, listeners: &Listeners) -> Vec<(Place, Upstream)> {
    let mut names = BTreeSet::new();
    let upstreams = root.tables("upstream", "name", |section| {
        let name = section.need("name", "\"legacy\"", |value| {
            let name = value.name(UpstreamName::new)?;
            if !names.insert(name.clone()) {
                return value.fault("is the name of another upstream too; names are unique");
            }
            Some(name)
        });
        upstream(section, listeners, name)
    });
    upstreams.into_iter().filter_map(|(section, one)| Some((section.place, one?))).collect()
}

fn upstream(
    section: &Section<'_>,
    listeners: &Listeners,
    name: Option<UpstreamName>,
) -> Option<Upstream> {
    let mut seen = BTreeSet::new();
    let addresses = section.need("addresses", "[\"127.0.0.1:9000\"]", |value| {
        value.some("addresses", |value| {
            let address = address(value)?;
            if let Some(owner) = listeners.owner(&address) {
                return value.wrong(format_args!(
                    "must not be the gateway's own ({owner}): requests would go round and round"
                ));
            }
            if !seen.insert(address.clone()) {
                return value.wrong("must be listed once");
            }
            Some(address)
        })
    });
    // Three answers: where `tls` has a fault, nothing is said of what hangs on it.
    let secure = section.value("tls").map_or(Some(false), |value| value.boolean());
    let tls = tls(section, secure);
    let protocol =
        section.or("protocol", Protocol::Http1, |value| match (value.word(&PROTOCOLS)?, secure) {
            (Protocol::H2, Some(false)) => value.fault(
                "is \"h2\", HTTP/2 over TLS; set tls = true, or write \"h2c\" for HTTP/2 in clear",
            ),
            (Protocol::H2c, Some(true)) => {
                value.fault("is \"h2c\", HTTP/2 in clear; with tls = true write \"h2\"")
            }
            (protocol, _) => Some(protocol),
        });
    let authorization = section.or("authorization", UpstreamAuthorization::Strip, authorization);
    let connect_timeout = section
        .or("connect_timeout", 2 * SECOND, |value| value.duration(10 * MILLISECOND..=600 * SECOND));
    let read_timeout =
        section.or("read_timeout", 60 * SECOND, |value| value.duration(10 * MILLISECOND..=DAY));
    let health_check = section.table("health_check", health_check);
    let outlier_ejection = section.table("outlier_ejection", outlier_ejection);
    Some(Upstream {
        name: name?,
        addresses: addresses.unwrap_or_default(),
        tls,
        protocol,
        authorization,
        connect_timeout,
        read_timeout,
        health_check: health_check?,
        outlier_ejection: outlier_ejection?,
    })
}

fn health_check(section: &Section<'_>) -> HealthCheck {
    let path = section.get("path", |value| {
        value.parsed("must be a path such as \"/health\"", |text| {
            let fits = text.starts_with('/') && text.len() <= 1024 && !text.contains('#');
            let fits = fits && text.bytes().all(|b| b.is_ascii_graphic());
            (fits && PathAndQuery::try_from(text).is_ok()).then(|| text.to_owned())
        })
    });
    let a_while = |value: &Value<'_>| value.duration(100 * MILLISECOND..=600 * SECOND);
    let times = |value: &Value<'_>| value.number(1..=100).and_then(|n| u32::try_from(n).ok());
    HealthCheck {
        path,
        interval: section.or("interval", 2 * SECOND, a_while),
        timeout: section.or("timeout", 2 * SECOND, a_while),
        unhealthy_after: section.or("unhealthy_after", 3, times),
        healthy_after: section.or("healthy_after", 2, times),
    }
}

fn outlier_ejection(section: &Section<'_>) -> OutlierEjection {
    let after = section.or("after", 5, |value| {
        value.number(0..=10_000).and_then(|number| u32::try_from(number).ok())
    });
    let base_time =
        section.or("base_time", 10 * SECOND, |value| value.duration(100 * MILLISECOND..=DAY));
    let max_time = section
        .or("max_time", base_time.max(300 * SECOND), |value| value.duration(MILLISECOND..=DAY));
    if max_time < base_time {
        let message = "must not be shorter than base_time";
        section.reader.fault(&section.place_of("max_time"), message);
    }
    OutlierEjection { after, base_time, max_time }
}

fn address(value: &Value<'_>) -> Option<String> {
    let must = "must be a host and a port such as \"api.internal:9000\" or \"127.0.0.1:9000\"";
    value.parsed(must, |text| {
        let valid = match text.parse::<SocketAddr>() {
            Ok(address) => address.port() != 0 && !address.ip().is_unspecified(),
            Err(_) => text.rsplit_once(':').is_some_and(|(host, port)| {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                is_host_name(host) && digits && port.parse::<u16>().is_ok_and(|port| port != 0)
            }),
        };
        valid.then(|| text.to_owned())
    })
}

/// A name that DNS could know (RFC 1123 section 2.1, and `_` as people use it).
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // What ends in a number would be taken for an IPv4 address, a broken one.
    let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(numeric)
}

fn tls(section: &Section<'_>, on: Option<bool>) -> Option<UpstreamTls> {
    let values = ["server_name", "ca", "client_certificate"].map(|key| section.value(key));
    if !on? {
        for value in values.iter().flatten() {
            value.fault::<()>("means nothing without tls = true; set that, or remove this");
        }
        return None;
    }
    let [name, ca, certificate] = values;
    if name.is_none() {
        section.reader.fault(
            &section.place_of("server_name"),
            "is missing; with tls = true, name what the certificate must be for",
        );
    }
    let must = "must be a host name such as \"api.example.com\", or an IP address";
    let name = name.and_then(|value| {
        value.parsed(must, |text| {
            let valid = is_host_name(text) || text.parse::<std::net::IpAddr>().is_ok();
            valid.then(|| text.to_owned())
        })
    });
    let ca = ca.and_then(|value| pem::authorities(&value)).map(|of| of.in_der());
    let client_certificate = certificate.and_then(|value| pem::client_identity(&value));
    Some(UpstreamTls { server_name: name.unwrap_or_default(), ca, client_certificate })
}

fn authorization(value: &Value<'_>) -> Option<UpstreamAuthorization> {
    // Somebody may have put the header value here: it must not be shown.
    let must = "must be \"strip\", \"forward\", { set_file = \"…\" } or { set = \"${NAME}\" }";
    if value.is_string() {
        return match value.text()?.as_str() {
            "strip" => Some(UpstreamAuthorization::Strip),
            "forward" => Some(UpstreamAuthorization::Forward),
            _ => value.fault(must),
        };
    }
    if !value.is_table() {
        return value.fault(must);
    }
    value.table(|section| {
        if !section.has("set") && !section.has("set_file") {
            section.reader.fault(&section.place, must);
        }
        files::secret(section, "set", "set_file", |text| {
            let visible = |b: u8| b.is_ascii_graphic() || b == b' ';
            let trimmed = !text.is_empty() && text.trim() == text;
            match trimmed && text.bytes().all(visible) {
                true => Ok(()),
                false => Err("must be a header value: one line of visible ASCII characters, \
                              without spaces around it (its text is not shown here)"
                    .to_owned()),
            }
        })
        .map(UpstreamAuthorization::Set)
    })?
}
