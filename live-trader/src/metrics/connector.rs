//! What a connector has counted, in the format of the rest.

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Float, Named};
use crate::binance::{CacheCounters, EndpointClass, Histogram, LATENCY_BOUNDS_US, Metrics, Outcome};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRequest {
    class: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

/// A histogram as it is now, seconds.
#[derive(Debug)]
struct Frozen {
    sum: f64,
    /// Upper bounds and counts; the last bound is the largest number there is.
    buckets: Vec<(f64, u64)>,
}

impl Frozen {
    fn of(histogram: &Histogram) -> Frozen {
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        Frozen { sum: histogram.sum_us() as f64 / 1e6, buckets: bounds.zip(histogram.counts()).collect() }
    }
}

impl EncodeMetric for Frozen {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let count = self.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Adds everything to `registry`.
pub(super) fn register(registry: &mut Registry, metrics: &Metrics) {
    registry.register(
        "decision_to_wire_seconds",
        "Arrival of a closed bar to the frame written to the socket",
        Frozen::of(&metrics.decision_to_wire),
    );
    registry.register(
        "send_seconds",
        "Call to the request handed to the socket, of orders",
        Frozen::of(&metrics.send_latency),
    );
    let requests = Family::<OfRequest, Counter>::default();
    let breakers = Family::<OfClass, Gauge>::default();
    for class in EndpointClass::ALL {
        for outcome in Outcome::ALL {
            let label = OfRequest { class: class.name(), outcome: outcome.name() };
            requests.get_or_create(&label).inc_by(metrics.requests(class, outcome));
        }
        let state = i64::try_from(metrics.breaker(class)).unwrap_or(i64::MAX);
        breakers.get_or_create(&OfClass { class: class.name() }).set(state);
        let name = match class {
            EndpointClass::Data => "data_request_seconds",
            EndpointClass::Account => "account_request_seconds",
            EndpointClass::Orders => "order_request_seconds",
        };
        registry.register(
            name,
            "Call to answer, waits for limits included",
            Frozen::of(metrics.latency(class)),
        );
    }
    registry.register("requests", "Requests by what became of them", requests);
    registry.register("breaker", "0 closed, 1 open, 2 half-open", breakers);
    register_caches(registry, metrics);
    for (name, help, counter) in [
        ("request_retries", "Questions that were repeated", &metrics.retries),
        ("clock_syncs", "Comparisons of the clock", &metrics.clock_syncs),
        ("stream_connects", "Market connections opened", &metrics.stream_connects),
        ("session_connects", "WebSocket API connections opened", &metrics.session_connects),
        ("bars", "Bars handed on", &metrics.bars),
        ("duplicate_bars", "Bars that had been handed on already", &metrics.duplicate_bars),
        ("backfills", "Holes in streams asked for over REST", &metrics.backfills),
        ("ignored_messages", "Messages that cannot be read", &metrics.ignored_messages),
    ] {
        let copy = Counter::<u64>::default();
        copy.inc_by(counter.get());
        registry.register(name, help, copy);
    }
    for (name, help, percent) in [
        ("weight_used_ratio", "Largest share used of a weight limit", &metrics.weight_used_percent),
        ("order_limit_used_ratio", "Largest share used of an order limit", &metrics.orders_used_percent),
    ] {
        let gauge = Float::default();
        gauge.set(percent.get() as f64 / 100.0);
        registry.register(name, help, gauge);
    }
}

fn register_caches(registry: &mut Registry, metrics: &Metrics) {
    let lookups = Family::<Named, Counter>::default();
    let rates = Family::<Named, Float>::default();
    let caches: [(&str, &CacheCounters); 3] =
        [("rules", &metrics.info_cache), ("prices", &metrics.price_cache), ("bars", &metrics.kline_cache)];
    for (name, cache) in caches {
        let label = Named { name: name.to_owned() };
        lookups.get_or_create(&label).inc_by(cache.lookups.get());
        if let Some(rate) = cache.hit_rate() {
            rates.get_or_create(&label).set(rate);
        }
    }
    registry.register("connector_cache_lookups", "Lookups in the connector's caches", lookups);
    registry.register("connector_cache_hit_ratio", "Share of lookups that asked nobody", rates);
}
