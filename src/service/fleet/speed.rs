//! How long a model takes for a picture.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

/// Each bin is an eighth wider than the one before: figures are right to about 6 %.
const GROWTH: f64 = 1.125;

/// Upper end of the first bin, in seconds; that of the last one is over a minute.
const FIRST: f64 = 50e-6;

const BINS: usize = 128;

/// Times of all pictures so far, counted in bins.
pub(super) struct Speed([AtomicU64; BINS]);

/// Time to decode and preprocess a picture and to run a model on it, since the model was loaded.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = ModelLatency)]
pub struct Latency {
    /// Pictures.
    pub count: u64,
    /// Median, in milliseconds; null without pictures.
    #[schema(example = 2.9)]
    pub p50_ms: Option<f64>,
    /// What 99 % stayed below, in milliseconds.
    #[schema(example = 6.2)]
    pub p99_ms: Option<f64>,
}

impl Default for Speed {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Speed {
    pub(super) fn record(&self, time: Duration) {
        let bin = (time.as_secs_f64() / FIRST).ln() / GROWTH.ln();
        // Casting saturates: what is shorter than the first bin is in it.
        let bin = (bin.ceil() as usize).min(BINS - 1);
        self.0[bin].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn latency(&self) -> Latency {
        let counts = self.0.each_ref().map(|bin| bin.load(Ordering::Relaxed));
        let count = counts.iter().sum();
        Latency {
            count,
            p50_ms: quantile(&counts, count, 0.5),
            p99_ms: quantile(&counts, count, 0.99),
        }
    }
}

/// The middle of the bin that the quantile falls in, in milliseconds.
fn quantile(counts: &[u64], count: u64, quantile: f64) -> Option<f64> {
    let rank = ((count as f64 * quantile).ceil() as u64).max(1);
    let mut below = 0;
    let bin = counts.iter().position(|&bin| {
        below += bin;
        below >= rank
    })?;
    let middle = FIRST * GROWTH.powf(bin as f64 - 0.5);
    Some((middle * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_six_percent() {
        let speed = Speed::default();
        assert_eq!(speed.latency().p50_ms, None);
        for n in 1..=1000 {
            speed.record(Duration::from_micros(n * 10));
        }
        let latency = speed.latency();
        let near = |found: Option<f64>, right: f64| (found.unwrap() / right - 1.0).abs() < 0.07;
        assert_eq!(latency.count, 1000);
        assert!(near(latency.p50_ms, 5.0), "{latency:?}");
        assert!(near(latency.p99_ms, 9.9), "{latency:?}");
        speed.record(Duration::ZERO);
        speed.record(Duration::from_secs(3600));
        assert_eq!(speed.latency().count, 1002);
    }
}
