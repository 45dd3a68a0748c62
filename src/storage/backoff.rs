//! How long to leave a store alone that has failed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that double with every failure, each shortened by chance so that instances do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed; how long to wait now, at least what the store asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures += 1;
        let wait = full.mul_f64(0.5 + 0.5 * chance());
        wait.max(asked.unwrap_or_default().min(10 * LONGEST))
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    // Without randomness all wait as long as they may.
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next(None)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits[39] <= LONGEST && waits[39] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        let asked = Duration::from_secs(3);
        assert!(backoff.next(Some(asked)) >= asked);
    }
}
