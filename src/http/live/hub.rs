//! One maker of snapshots for all who listen, and the last minutes of what it made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::telemetry::metrics::LIVE_LISTENERS;

/// Listeners at the same time.
const LISTENERS: usize = 64;

/// Events that are kept for those who come later: five minutes, of about 1 KB each.
const KEPT: usize = 300;

/// How long snapshots are still made when nobody listens any more, so that whoever comes back finds no gap.
const LINGER: Duration = Duration::from_secs(KEPT as u64);

/// Events handed to a listener at once.
const AT_ONCE: usize = 32;

/// The events, and who listens.
pub(in crate::http) struct Hub {
    state: Mutex<State>,
    /// Events published so far; tells listeners that there is one more.
    published: watch::Sender<u64>,
    seats: Arc<Semaphore>,
}

struct State {
    events: VecDeque<Bytes>,
    published: u64,
    maker: Option<JoinHandle<()>>,
    last_listened: Instant,
}

/// A place among the listeners.
pub(super) struct Seat {
    /// Events that were published when it last looked.
    seen: u64,
    news: watch::Receiver<u64>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                published: 0,
                maker: None,
                last_listened: Instant::now(),
            }),
            published: watch::Sender::new(0),
            seats: Arc::new(Semaphore::new(LISTENERS)),
        }
    }
}

impl Hub {
    /// Takes a seat, and has `start` start the maker if none is at work; nothing if all seats are taken.
    pub(super) fn join(&self, start: impl FnOnce() -> JoinHandle<()>) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        let mut state = self.lock();
        if state.maker.as_ref().is_none_or(JoinHandle::is_finished) {
            state.maker = Some(start());
        }
        metrics::gauge!(LIVE_LISTENERS).increment(1.0);
        Some(Seat {
            seen: 0,
            news: self.published.subscribe(),
            _permit: permit,
        })
    }

    /// Publishes an event; whether anybody may still want another one. If not, the maker must end.
    pub(super) fn publish(&self, event: impl FnOnce(u64) -> Bytes) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        if self.seats.available_permits() < LISTENERS {
            state.last_listened = now;
        } else if now.duration_since(state.last_listened) > LINGER {
            state.events.clear();
            state.maker = None;
            return false;
        }
        if state.events.len() == KEPT {
            state.events.pop_front();
        }
        state.published += 1;
        let event = event(state.published);
        state.events.push_back(event);
        self.published.send_replace(state.published);
        true
    }

    /// The next events that a listener has not seen yet, in one piece; those no longer kept are left out.
    fn after(&self, seen: &mut u64) -> Bytes {
        let state = self.lock();
        let kept = state.events.len() as u64;
        let first = state.published - kept;
        let skipped = usize::try_from(seen.saturating_sub(first)).unwrap_or(KEPT);
        let next = state.events.iter().skip(skipped).take(AT_ONCE);
        let mut taken = 0;
        let mut bytes = Vec::new();
        for event in next {
            bytes.extend_from_slice(event);
            taken += 1;
        }
        *seen = first.max(*seen) + taken;
        bytes.into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// What the listener has not seen yet; waits until there is something. Nothing is kept for a listener that does
    /// not ask: it finds what the hub still has.
    pub(super) async fn next(&mut self, hub: &Hub) -> Bytes {
        loop {
            self.news.mark_unchanged();
            let events = hub.after(&mut self.seen);
            if !events.is_empty() {
                return events;
            }
            if self.news.changed().await.is_err() {
                return Bytes::new();
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!(LIVE_LISTENERS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(hub: &Hub, count: usize) {
        for _ in 0..count {
            assert!(hub.publish(|n| format!("{n} ").into()));
        }
    }

    async fn numbers(seat: &mut Seat, hub: &Hub, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let events = String::from_utf8(seat.next(hub).await.to_vec()).unwrap();
            numbers.extend(events.split_whitespace().map(|n| n.parse::<u64>().unwrap()));
        }
        numbers
    }

    #[tokio::test]
    async fn whoever_is_late_gets_what_is_kept_and_each_event_once() {
        let hub = Hub::default();
        let idle = || tokio::spawn(std::future::pending());
        let mut first = hub.join(idle).unwrap();
        publish(&hub, 2);
        assert_eq!(numbers(&mut first, &hub, 2).await, [1, 2]);
        publish(&hub, KEPT + 10);
        // It was away for longer than events are kept.
        let after = numbers(&mut first, &hub, KEPT).await;
        assert_eq!((after[0], after[KEPT - 1]), (13, 312));
        let mut second = hub.join(|| panic!("a maker is at work")).unwrap();
        let history = numbers(&mut second, &hub, KEPT).await;
        assert_eq!((history[0], history.len()), (13, KEPT));
        publish(&hub, 1);
        assert_eq!(numbers(&mut first, &hub, 1).await, [313]);
        assert_eq!(numbers(&mut second, &hub, 1).await, [313]);
    }

    #[tokio::test]
    async fn seats_are_bounded_and_a_maker_that_ended_is_followed_by_another() {
        let hub = Hub::default();
        let mut seats: Vec<_> = (0..LISTENERS)
            .map(|_| hub.join(|| tokio::spawn(async {})).unwrap())
            .collect();
        assert!(hub.join(|| unreachable!()).is_none());
        seats.pop();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut started = false;
        let seat = hub.join(|| {
            started = true;
            tokio::spawn(std::future::pending())
        });
        assert!(seat.is_some() && started);
    }

    #[tokio::test]
    async fn nothing_is_made_for_long_when_nobody_listens() {
        let hub = Hub::default();
        drop(hub.join(|| tokio::spawn(std::future::pending())));
        publish(&hub, 1);
        let long_ago = Instant::now().checked_sub(LINGER + Duration::from_secs(1));
        hub.lock().last_listened = long_ago.unwrap();
        assert!(!hub.publish(|_| unreachable!()));
        assert!(hub.lock().events.is_empty());
    }
}
