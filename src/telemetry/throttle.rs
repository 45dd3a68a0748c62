//! Keeps a warning that repeats from flooding the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

use super::metrics::LOG_LINES_SUPPRESSED;

/// Lines that one place in the code may log in a window.
const LINES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts the warnings and errors of each place in the code.
#[derive(Default)]
pub(super) struct Throttle {
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Throttle {
    /// Whether a line may be logged: `None` if not, else how many before it were not.
    pub(super) fn admit(&self, metadata: &Metadata<'_>) -> Option<u64> {
        if *metadata.level() > Level::WARN {
            return Some(0);
        }
        let admitted = self.count(metadata.callsite(), Instant::now());
        if admitted.is_none() {
            metrics::counter!(LOG_LINES_SUPPRESSED).increment(1);
        }
        admitted
    }

    fn count(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place {
            since: now,
            lines: 0,
            suppressed: 0,
        });
        if now.duration_since(place.since) >= WINDOW {
            place.since = now;
            place.lines = 0;
        }
        if place.lines == LINES {
            place.suppressed += 1;
            return None;
        }
        place.lines += 1;
        Some(std::mem::take(&mut place.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite;

    use super::*;

    struct Here;

    impl Callsite for Here {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("never registered")
        }
    }

    #[test]
    fn what_repeats_is_counted_and_told_with_the_next_line() {
        static HERE: Here = Here;
        let throttle = Throttle::default();
        let start = Instant::now();
        let admitted: Vec<_> = (0..100)
            .filter_map(|_| throttle.count(Identifier(&HERE), start))
            .collect();
        assert_eq!(admitted, [0; LINES as usize]);
        assert_eq!(
            throttle.count(Identifier(&HERE), start + WINDOW),
            Some(100 - u64::from(LINES))
        );
        assert_eq!(throttle.count(Identifier(&HERE), start + WINDOW), Some(0));
    }
}
