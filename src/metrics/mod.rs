//! Counters and gauges, made once and handed out as handles.
//!
//! Labels come from closed sets: routes, upstreams and reasons that the
//! configuration or the code names, never a client, a token or a path.

mod access_log;
mod line;
mod live;
mod make;
mod meters;
mod store;

use std::sync::OnceLock;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

use make::{counter, counters, gauge, histogram, histograms, int_gauge, int_gauges, registered};

use crate::revocation::CutReason;

pub use access_log::{AccessLog, AccessRecord};
pub use live::{Live, Series};
pub use meters::{Meters, RouteMeters};
pub use store::{MeteredObserver, MeteredStore};

/// The label of what no route is about.
pub const NO_ROUTE: &str = "none";

/// Every metric of the gateway (contract, section 9).
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests that were answered, by route, method and status.
    pub requests: IntCounterVec,
    /// Judgements, by route, decision and reason.
    pub decisions: IntCounterVec,
    /// Seconds from the head to the last byte of the answer.
    pub request_duration: HistogramVec,
    /// Seconds from choosing an upstream to the last byte of its answer.
    pub upstream_duration: HistogramVec,
    /// Answers of the token endpoint.
    pub tokens_minted: IntCounterVec,
    /// Revocations that were made here.
    pub revocations: IntCounterVec,
    /// What the set in memory holds.
    pub revocation_set_size: IntGaugeVec,
    /// Seconds to bring a committed change into memory and cut what it ends.
    pub revocation_apply: Histogram,
    /// Verified tokens that were known.
    pub token_cache_hits: IntCounter,
    /// Tokens that had to be verified.
    pub token_cache_misses: IntCounter,
    /// Verified tokens that are remembered.
    pub token_cache_entries: IntGauge,
    /// Connections of clients.
    pub open_connections: IntGauge,
    /// TLS handshakes of clients, by how they ended.
    pub tls_handshakes: IntCounterVec,
    /// Requests that wait for an upstream's answer.
    pub requests_waiting: IntGauge,
    /// Seconds that the data plane was late when last looked at.
    pub data_plane_lag: Gauge,
    /// Requests with a token that are under way.
    pub open_streams: IntGauge,
    /// Requests that were cut while under way.
    pub streams_cut: IntCounterVec,
    /// Whether an address could be reached when last looked at.
    pub upstream_up: IntGaugeVec,
    /// Seconds from asking for a change to its receipt.
    pub store_commit: Histogram,
    /// The revision that memory is up to.
    pub store_revision: IntGauge,
    /// Times that a role was armed, by role.
    pub armed_role_armings: IntCounterVec,
    /// 1 while the store takes no changes.
    pub store_failed: IntGauge,
    /// By how much the clock is behind what was forgotten as over.
    pub clock_behind: Gauge,
    /// Requests that only an armed role allowed, by role.
    pub armed_role_uses: IntCounterVec,
    /// Times that a role was armed for ran out, by role.
    pub armed_role_lapses: IntCounterVec,
    /// Reloads of the configuration.
    pub config_reloads: IntCounterVec,
    /// Upgrades to a new binary.
    pub upgrades: IntCounterVec,
    /// Wrong keys at the admin port.
    pub admin_auth_failures: IntCounter,
    /// Lines of the access log that were lost because nobody read them.
    pub access_log_lost: IntCounter,
    /// Seconds since the epoch when the process began to serve.
    pub started: Gauge,
}

/// What is revoked.
const REVOCATION_KINDS: [&str; 6] =
    ["credential", "token", "cut_off", "suspension", "secret", "key"];
/// What the set in memory holds.
const SET_KINDS: [&str; 4] = ["token", "credential", "cut_off", "key"];

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// When two have one name, which a test would show.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        let build = int_gauges(r, "portcullis_build_info", "The version that runs", &["version"])?;
        build.with_label_values(&[version]).set(1);
        #[cfg(target_os = "linux")]
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        registered(r, panics()?)?;
        let metrics = Metrics {
            requests: counters(
                r,
                "portcullis_requests_total",
                "Requests answered",
                &["route", "method", "code"],
            )?,
            decisions: counters(
                r,
                "portcullis_decisions_total",
                "Requests judged",
                &["route", "decision", "reason"],
            )?,
            request_duration: histograms(
                r,
                "portcullis_request_duration_seconds",
                "From the head to the end of the answer",
                "route",
            )?,
            upstream_duration: histograms(
                r,
                "portcullis_upstream_duration_seconds",
                "Spent on an upstream",
                "upstream",
            )?,
            tokens_minted: counters(
                r,
                "portcullis_tokens_minted_total",
                "Answers of the token endpoint",
                &["outcome"],
            )?,
            revocations: counters(
                r,
                "portcullis_revocations_total",
                "Revocations made",
                &["kind"],
            )?,
            revocation_set_size: int_gauges(
                r,
                "portcullis_revocation_set_size",
                "Revocations in memory",
                &["kind"],
            )?,
            revocation_apply: histogram(
                r,
                "portcullis_revocation_apply_seconds",
                "From durable to in force",
            )?,
            token_cache_hits: counter(
                r,
                "portcullis_token_cache_hits_total",
                "Verified tokens that were known",
            )?,
            token_cache_misses: counter(
                r,
                "portcullis_token_cache_misses_total",
                "Tokens that had to be verified",
            )?,
            token_cache_entries: int_gauge(
                r,
                "portcullis_token_cache_entries",
                "Verified tokens remembered",
            )?,
            open_connections: int_gauge(
                r,
                "portcullis_open_connections",
                "Connections of clients",
            )?,
            tls_handshakes: counters(
                r,
                "portcullis_tls_handshakes_total",
                "TLS handshakes of clients",
                &["outcome"],
            )?,
            requests_waiting: int_gauge(
                r,
                "portcullis_requests_waiting",
                "Requests that wait for an upstream's answer",
            )?,
            open_streams: int_gauge(
                r,
                "portcullis_open_streams",
                "Requests with a token under way",
            )?,
            streams_cut: counters(
                r,
                "portcullis_streams_cut_total",
                "Requests cut while under way",
                &["reason"],
            )?,
            upstream_up: int_gauges(
                r,
                "portcullis_upstream_up",
                "Whether an address could be reached",
                &["upstream", "address"],
            )?,
            store_commit: histogram(
                r,
                "portcullis_store_commit_seconds",
                "From asking for a change to its receipt",
            )?,
            store_revision: int_gauge(r, "portcullis_store_revision", "The revision in force")?,
            armed_role_armings: counters(
                r,
                "portcullis_armed_role_armings_total",
                "Times that a role was armed",
                &["role"],
            )?,
            store_failed: int_gauge(
                r,
                "portcullis_store_failed",
                "1 while the store takes no changes",
            )?,
            data_plane_lag: gauge(
                r,
                "portcullis_data_plane_lag_seconds",
                "How long what happens waits for the data plane, when last looked at; of the latest thread",
            )?,
            clock_behind: gauge(
                r,
                "portcullis_clock_behind_seconds",
                "By how much the clock is behind the time up to which revocations were forgotten",
            )?,
            armed_role_uses: counters(
                r,
                "portcullis_armed_role_uses_total",
                "Requests that only an armed role allowed",
                &["role"],
            )?,
            armed_role_lapses: counters(
                r,
                "portcullis_armed_role_lapses_total",
                "Armed roles whose time ran out",
                &["role"],
            )?,
            config_reloads: counters(
                r,
                "portcullis_config_reloads_total",
                "Reloads of the configuration",
                &["outcome"],
            )?,
            upgrades: counters(
                r,
                "portcullis_upgrades_total",
                "Upgrades: over to a new process, or failed and back",
                &["outcome"],
            )?,
            admin_auth_failures: counter(
                r,
                "portcullis_admin_auth_failures_total",
                "Wrong keys at the admin port",
            )?,
            access_log_lost: counter(
                r,
                "portcullis_access_log_lost_total",
                "Access log lines lost to a slow reader",
            )?,
            started: gauge(r, "portcullis_start_time_seconds", "When the gateway began to serve")?,
            registry,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Labels of closed sets stand at 0 from the start: a rate over what appears
    /// with its first event misses that event.
    fn begin(&self) {
        for kind in REVOCATION_KINDS {
            self.revocations.with_label_values(&[kind]);
        }
        for kind in SET_KINDS {
            self.revocation_set_size.with_label_values(&[kind]);
        }
        for reason in CutReason::ALL {
            self.streams_cut.with_label_values(&[reason.as_str()]);
        }
        for outcome in ["ok", "refused"] {
            self.config_reloads.with_label_values(&[outcome]);
        }
        for outcome in ["ok", "failed", "refused"] {
            self.upgrades.with_label_values(&[outcome]);
        }
    }

    /// All of them in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric can't be written, which is a bug.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Panics of this process, each of which ended no more than the work that it was in.
/// There is one count a process, since there is one hook.
static PANICS: OnceLock<IntCounter> = OnceLock::new();

fn panics() -> prometheus::Result<IntCounter> {
    let made = IntCounter::new("portcullis_panics_total", "Panics, each kept to its own work")?;
    Ok(PANICS.get_or_init(|| made).clone())
}

/// Counts a panic.
pub fn count_panic() {
    if let Some(panics) = PANICS.get() {
        panics.inc();
    }
}

/// The label of a method: a closed set, whatever clients send.
pub fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_register_and_render() {
        let metrics = Metrics::new("0.0.0").unwrap();
        metrics.decisions.with_label_values(&["r", "allow", ""]).inc();
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(text.contains("portcullis_build_info{version=\"0.0.0\"} 1"), "{text}");
        assert!(
            text.contains(
                "portcullis_decisions_total{decision=\"allow\",reason=\"\",route=\"r\"} 1"
            )
        );
        assert!(text.contains("process_resident_memory_bytes"));
        for zero in [
            "portcullis_revocations_total{kind=\"key\"} 0",
            "portcullis_revocation_set_size{kind=\"credential\"} 0",
            "portcullis_streams_cut_total{reason=\"narrowed\"} 0",
            "portcullis_config_reloads_total{outcome=\"refused\"} 0",
        ] {
            assert!(text.contains(zero), "{zero}");
        }
    }

    #[test]
    fn methods_are_a_closed_set() {
        assert_eq!(method_label("PATCH"), "PATCH");
        assert_eq!(method_label("BREW"), "OTHER");
    }
}
