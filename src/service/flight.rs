//! Single flight: requests for the same picture at the same time share one inference.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use super::classifier::Timings;
use super::refusal::Refusal;
use crate::classification::{Known, ResultKey};

/// What came of a flight; without timings if no inference was needed.
pub(super) type Outcome = Result<(Arc<Known>, Option<Timings>), Refusal>;

/// One inference that somebody waits for. It is alive as long as its waiters hold it: the queue and the map
/// hold it weakly, so work whose clients have all gone is found dead and dropped.
pub(super) struct Flight {
    key: ResultKey,
    outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Default)]
pub(super) struct Flights {
    airborne: Mutex<HashMap<ResultKey, Weak<Flight>>>,
}

impl Flights {
    /// The flight for `key`, and whether the caller leads it and must get it queued.
    pub(super) fn join(&self, key: ResultKey) -> (Arc<Flight>, bool) {
        let mut airborne = self.lock();
        if let Some(flight) = airborne.get(&key).and_then(Weak::upgrade) {
            return (flight, false);
        }
        let flight = Arc::new(Flight {
            key,
            outcome: watch::Sender::new(None),
        });
        airborne.insert(key, Arc::downgrade(&flight));
        (flight, true)
    }

    /// Tells all waiters the outcome.
    pub(super) fn land(&self, flight: &Arc<Flight>, outcome: Outcome) {
        self.forget(&flight.key, flight);
        flight.outcome.send_replace(Some(outcome));
    }

    /// Removes a flight that nobody waits for any more.
    pub(super) fn forget_dead(&self) {
        self.lock().retain(|_, flight| flight.strong_count() > 0);
    }

    fn forget(&self, key: &ResultKey, flight: &Arc<Flight>) {
        let mut airborne = self.lock();
        if airborne
            .get(key)
            .is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(flight)))
        {
            airborne.remove(key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ResultKey, Weak<Flight>>> {
        self.airborne.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) fn key(&self) -> ResultKey {
        self.key
    }

    /// Waits for the outcome.
    pub(super) async fn landed(&self) -> Outcome {
        let mut receiver = self.outcome.subscribe();
        match receiver.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(Refusal::Internal("the inference was abandoned".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ResultKey = ResultKey {
        model: [0; 32],
        picture: [0; 32],
    };

    #[test]
    fn one_leads_and_the_others_follow() {
        let flights = Flights::default();
        let (first, leads) = flights.join(KEY);
        assert!(leads);
        let (second, leads) = flights.join(KEY);
        assert!(!leads && Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_flight_without_waiters_is_dead_and_replaced() {
        let flights = Flights::default();
        let queued = Arc::downgrade(&flights.join(KEY).0);
        assert!(queued.upgrade().is_none());
        assert!(flights.join(KEY).1);
        flights.forget_dead();
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn landing_wakes_everybody_even_late() {
        let flights = Flights::default();
        let (flight, _) = flights.join(KEY);
        let waiting = tokio::spawn({
            let flight = Arc::clone(&flight);
            async move { flight.landed().await }
        });
        tokio::task::yield_now().await;
        flights.land(&flight, Err(Refusal::Deadline));
        assert!(matches!(waiting.await.unwrap(), Err(Refusal::Deadline)));
        assert!(matches!(flight.landed().await, Err(Refusal::Deadline)));
        assert!(flights.join(KEY).1, "a landed flight is not joined");
    }
}
