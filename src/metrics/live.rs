//! The numbers of this moment, for a page that people look at.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec};

use super::Metrics;

/// Labels by their name, and a number.
pub type Series = (BTreeMap<String, String>, u64);

/// Counters since the start, and gauges.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// `route`, `method`, `code`.
    pub requests: Vec<Series>,
    /// `route`, `decision`, `reason`.
    pub decisions: Vec<Series>,
    /// `outcome`.
    pub tokens_minted: Vec<Series>,
    /// `reason`.
    pub streams_cut: Vec<Series>,
    /// `upstream`, `address`: 1 if it could be reached when last looked at.
    pub upstream_up: Vec<Series>,
    /// Connections of clients.
    pub open_connections: u64,
    /// Requests with a token that are under way.
    pub open_streams: u64,
}

impl Metrics {
    /// What the live page shows. Gauges are as up to date as the last gathering.
    pub fn live(&self) -> Live {
        let whole = |gauge: i64| u64::try_from(gauge).unwrap_or(0);
        Live {
            requests: counters(&self.requests),
            decisions: counters(&self.decisions),
            tokens_minted: counters(&self.tokens_minted),
            streams_cut: counters(&self.streams_cut),
            upstream_up: gauges(&self.upstream_up),
            open_connections: whole(self.open_connections.get()),
            open_streams: whole(self.open_streams.get()),
        }
    }
}

fn counters(vec: &IntCounterVec) -> Vec<Series> {
    series(vec, |metric| metric.get_counter().get_value())
}

fn gauges(vec: &IntGaugeVec) -> Vec<Series> {
    series(vec, |metric| metric.get_gauge().get_value())
}

fn series(vec: &impl Collector, value: impl Fn(&prometheus::proto::Metric) -> f64) -> Vec<Series> {
    let families = vec.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let mut all: Vec<Series> = metrics
        .map(|metric| {
            let pairs = metric.get_label().iter();
            let labels = pairs.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole numbers that never go below 0; a cast from f64 saturates"
            )]
            let count = value(metric) as u64;
            (labels.collect(), count)
        })
        .collect();
    all.sort();
    all
}
