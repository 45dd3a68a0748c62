//! Which requests are recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Config, Sampler, SamplingDecision, SamplingResult, ShouldSample};

use super::is_set;
use crate::settings::Telemetry;

const VARIABLE: &str = "OTEL_TRACES_SAMPLER";

/// A sampler, but never more than so many requests a second: neither load nor callers that ask for it can make
/// traces expensive.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    sampler: Box<dyn ShouldSample>,
    budget: Arc<Budget>,
}

/// The sampler by these settings, or by the standard variables, and the part of the requests that it records as far
/// as that is known.
pub(super) fn sampler(settings: &Telemetry) -> (Limited, f64) {
    let (sampler, ratio) = if is_set(VARIABLE) {
        (Config::default().sampler, standard_ratio())
    } else {
        let ratio = settings.trace_sample_ratio;
        let roots = Sampler::TraceIdRatioBased(ratio);
        let sampler: Box<dyn ShouldSample> = Box::new(Sampler::ParentBased(Box::new(roots)));
        (sampler, ratio)
    };
    let budget = Arc::new(Budget::new(settings.trace_max_per_second));
    (Limited { sampler, budget }, ratio)
}

fn standard_ratio() -> f64 {
    let text = |name| std::env::var(name).unwrap_or_default();
    let ratio = text("OTEL_TRACES_SAMPLER_ARG").parse().ok();
    ratio
        .filter(|_| text(VARIABLE).ends_with("traceidratio"))
        .unwrap_or(1.0)
}

impl ShouldSample for Limited {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self
            .sampler
            .should_sample(parent, trace, name, kind, attributes, links);
        // Stages go with their request, and work in the background is rare.
        let counts = *kind == SpanKind::Server && result.decision != SamplingDecision::Drop;
        if counts && !self.budget.take(Instant::now()) {
            result.decision = SamplingDecision::Drop;
        }
        result
    }
}

/// Requests that may be recorded in each second.
#[derive(Debug)]
struct Budget {
    start: Instant,
    limit: u32,
    /// The second in the upper half, and how many have been taken in it.
    taken: AtomicU64,
}

impl Budget {
    /// 0 means no limit.
    fn new(limit: u32) -> Self {
        Self {
            start: Instant::now(),
            limit,
            taken: AtomicU64::new(0),
        }
    }

    fn take(&self, now: Instant) -> bool {
        if self.limit == 0 {
            return true;
        }
        let second = now.duration_since(self.start).as_secs() << 32;
        let take = |taken: u64| {
            // A second that another thread has begun already goes before that of a clock read late.
            let taken = taken.max(second);
            (taken & u64::from(u32::MAX) < u64::from(self.limit)).then_some(taken + 1)
        };
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_second_has_its_budget() {
        let budget = Budget::new(3);
        let taken = |after: f64| {
            let now = budget.start + Duration::from_secs_f64(after);
            (0..10).filter(|_| budget.take(now)).count()
        };
        assert_eq!((taken(0.0), taken(0.9)), (3, 0));
        assert_eq!((taken(1.0), taken(7.5), taken(7.9)), (3, 3, 0));
        assert_eq!(taken(7.0), 0, "a clock read late");
        let none = Budget::new(0);
        assert!((0..1000).all(|_| none.take(Instant::now())));
    }
}
