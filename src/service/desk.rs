//! Who is looking at which request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::records::{Queue, Selection};

/// How long a request is kept for the reviewer who has it; asking again begins it anew.
pub(super) const LEASE: Duration = Duration::from_secs(600);

/// How long it is remembered how a request was selected, for a reviewer who takes longer than that.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Reviewers who are remembered; the one who has been away longest is forgotten first.
const REVIEWERS: usize = 1_000;

/// Requests that a reviewer has put aside and does not get before all others.
const SKIPPED: usize = 100;

/// What reviewers have in hand, as far as this instance knows.
#[derive(Default)]
pub(super) struct Desk {
    reviewers: Mutex<HashMap<String, Reviewer>>,
}

#[derive(Default)]
struct Reviewer {
    current: Option<Lease>,
    skipped: VecDeque<Uuid>,
    seen: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Lease {
    request_id: Uuid,
    queue: Queue,
    since: Instant,
}

impl Lease {
    fn holds(&self) -> bool {
        self.since.elapsed() < LEASE
    }
}

/// What a reviewer is not to be given.
pub(super) struct Occupied {
    /// Others have these, or the reviewer does not want them now.
    pub taken: Vec<Uuid>,
    /// The reviewer has put these aside, the longest ago first.
    pub skipped: Vec<Uuid>,
}

impl Desk {
    /// The request that `reviewer` has.
    pub(super) fn current(&self, reviewer: &str) -> Option<Uuid> {
        let reviewers = self.reviewers();
        let known = reviewers.get(reviewer)?;
        let lease = known.current.filter(Lease::holds)?;
        Some(lease.request_id)
    }

    /// Takes a request from `reviewer`, who gets it again after all others.
    pub(super) fn skip(&self, reviewer: &str, request_id: Uuid) {
        let mut reviewers = self.reviewers();
        let known = known(&mut reviewers, reviewer);
        known
            .current
            .take_if(|lease| lease.request_id == request_id);
        known.skipped.retain(|id| *id != request_id);
        if known.skipped.len() >= SKIPPED {
            known.skipped.pop_front();
        }
        known.skipped.push_back(request_id);
    }

    /// What `reviewer` is not to be given.
    pub(super) fn occupied(&self, reviewer: &str) -> Occupied {
        let reviewers = self.reviewers();
        let others = reviewers.iter().filter(|(name, _)| *name != reviewer);
        let leases = others.filter_map(|(_, other)| other.current.filter(Lease::holds));
        let skipped = reviewers.get(reviewer).map(|known| &known.skipped);
        Occupied {
            taken: leases.map(|lease| lease.request_id).collect(),
            skipped: skipped.into_iter().flatten().copied().collect(),
        }
    }

    /// Gives `reviewer` a request, unless somebody else got it first.
    pub(super) fn hand_out(&self, reviewer: &str, request_id: Uuid, queue: Queue) -> bool {
        let mut reviewers = self.reviewers();
        let has_it = |other: &Reviewer| {
            let lease = other.current.filter(Lease::holds);
            lease.is_some_and(|lease| lease.request_id == request_id)
        };
        let mut others = reviewers.iter().filter(|(name, _)| *name != reviewer);
        if others.any(|(_, other)| has_it(other)) {
            return false;
        }
        known(&mut reviewers, reviewer).current = Some(Lease {
            request_id,
            queue,
            since: Instant::now(),
        });
        true
    }

    /// How the request came to `reviewer`.
    pub(super) fn selection(&self, reviewer: &str, request_id: Uuid) -> Selection {
        let reviewers = self.reviewers();
        let lease = reviewers.get(reviewer).and_then(|known| known.current);
        lease
            .filter(|lease| lease.request_id == request_id && lease.since.elapsed() < REMEMBERED)
            .map_or(Selection::Chosen, |lease| lease.queue.into())
    }

    /// Nobody needs to look at this request any more.
    pub(super) fn done(&self, request_id: Uuid) {
        for reviewer in self.reviewers().values_mut() {
            reviewer
                .current
                .take_if(|lease| lease.request_id == request_id);
            reviewer.skipped.retain(|id| *id != request_id);
        }
    }

    fn reviewers(&self) -> MutexGuard<'_, HashMap<String, Reviewer>> {
        self.reviewers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn known<'a>(reviewers: &'a mut HashMap<String, Reviewer>, name: &str) -> &'a mut Reviewer {
    if reviewers.len() >= REVIEWERS && !reviewers.contains_key(name) {
        let away = reviewers.iter().min_by_key(|(_, reviewer)| reviewer.seen);
        if let Some(away) = away.map(|(name, _)| name.clone()) {
            reviewers.remove(&away);
        }
    }
    let reviewer = reviewers.entry(name.to_owned()).or_default();
    reviewer.seen = Some(Instant::now());
    reviewer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn a_request_is_in_one_hand() {
        let desk = Desk::default();
        assert!(desk.hand_out("ana", id(1), Queue::Random));
        assert!(!desk.hand_out("rui", id(1), Queue::Doubtful));
        assert!(desk.hand_out("rui", id(2), Queue::Doubtful));
        assert_eq!(desk.current("ana"), Some(id(1)));
        assert_eq!(desk.occupied("ana").taken, [id(2)]);
        assert_eq!(desk.selection("ana", id(1)), Selection::Random);
        assert_eq!(desk.selection("rui", id(1)), Selection::Chosen);
        desk.done(id(1));
        assert_eq!(desk.current("ana"), None);
        assert!(desk.hand_out("rui", id(1), Queue::Random));
    }

    #[test]
    fn what_was_skipped_comes_last() {
        let desk = Desk::default();
        desk.hand_out("ana", id(1), Queue::Random);
        desk.skip("ana", id(1));
        desk.skip("ana", id(2));
        desk.skip("ana", id(1));
        assert_eq!(desk.current("ana"), None);
        assert_eq!(desk.occupied("ana").skipped, [id(2), id(1)]);
        assert!(desk.occupied("rui").skipped.is_empty());
        assert!(desk.hand_out("rui", id(1), Queue::Random));
    }

    #[test]
    fn reviewers_are_forgotten_at_some_time() {
        let desk = Desk::default();
        for n in 0..(REVIEWERS as u128 + 10) {
            desk.hand_out(&n.to_string(), id(n), Queue::Doubtful);
        }
        assert_eq!(desk.reviewers().len(), REVIEWERS);
        assert_eq!(desk.current("0"), None);
        assert!(desk.current("1009").is_some());
    }
}
