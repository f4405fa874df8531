//! Latency percentiles.

use crate::clock::{Micros, millis};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Three digits: a percentile is within 0.1 % of the truth.
const DIGITS: u8 = 3;

/// Latency of a set of requests, in milliseconds **from when each was due**,
/// so that a stall counts for every request it delayed, not only for those
/// under way. A request that timed out counts with the time it was given;
/// other lost requests do not count: a fast error is no good answer.
/// All 0 when `count` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many requests.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 90 % were at most this.
    pub p90_ms: f64,
    /// 99 % were at most this.
    pub p99_ms: f64,
    /// 99.9 % were at most this.
    pub p999_ms: f64,
    /// The greatest.
    pub max_ms: f64,
}

/// Collects a [`Latency`].
#[derive(Debug, Clone)]
pub(crate) struct Gauge {
    histogram: Histogram<u64>,
}

impl Gauge {
    pub(crate) fn new() -> Self {
        // The bounds only size the histogram at first: it grows by itself.
        let mut histogram = match Histogram::new_with_max(1_000_000, DIGITS) {
            Ok(histogram) => histogram,
            Err(_) => unreachable!("constant bounds, valid by the crate's documentation"),
        };
        histogram.auto(true);
        Self { histogram }
    }

    pub(crate) fn record(&mut self, latency: Micros) {
        // Zero cannot be told from one microsecond.
        self.histogram.saturating_record(latency.max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Fails only for a histogram that may not grow; this one may.
        let _ = self.histogram.add(&other.histogram);
    }

    pub(crate) fn sum_up(&self) -> Latency {
        if self.histogram.is_empty() {
            return Latency::default();
        }
        let max = self.histogram.max();
        // A bucket's upper end may lie above the greatest value in it.
        let at = |quantile| millis(self.histogram.value_at_quantile(quantile).min(max));
        Latency {
            count: self.histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: millis(max),
        }
    }
}

/// Percentiles of the last second, exact: for a live display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Recent {
    pub(crate) fn of(mut values: Vec<u32>) -> Self {
        values.sort_unstable();
        let at = |quantile: f64| {
            let index = (values.len() as f64 * quantile) as usize;
            let value = values.get(index.min(values.len().saturating_sub(1)));
            Duration::from_micros(value.copied().unwrap_or(0).into())
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_never_above_the_greatest() {
        let mut gauge = Gauge::new();
        assert_eq!(gauge.sum_up(), Latency::default());
        for i in 1..=1_000 {
            gauge.record(i * 1_000);
        }
        let latency = gauge.sum_up();
        assert_eq!(latency.count, 1_000);
        assert!((latency.p50_ms - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99_ms - 990.0).abs() < 1.0, "{latency:?}");
        assert!(latency.p999_ms <= latency.max_ms);
        assert!((latency.max_ms - 1_000.0).abs() < 1.0, "{latency:?}");
    }

    #[test]
    fn recent_values_of_nothing_are_zero() {
        assert_eq!(Recent::of(Vec::new()), Recent::default());
        let recent = Recent::of(vec![3, 1, 2]);
        assert_eq!(recent.p50, Duration::from_micros(2));
        assert_eq!(recent.max, Duration::from_micros(3));
    }
}
