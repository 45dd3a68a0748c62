//! Pictures waiting for a worker.
//!
//! The queue is bounded by time and not by count: what matters to a client is how long it will wait, and a
//! 12-megapixel picture takes twenty times as long as a thumbnail.
//!
//! A burst may fill it up to the longest wait allowed. A queue that has not been empty for as long as that is no
//! burst: it only makes everybody wait and serves nobody more, so it is kept shorter (as in CoDel).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::classifier::Timings;
use super::fleet::Deployment;
use super::flight::Flight;
use super::refusal::Refusal;
use crate::classification::{PictureDigest, Ranking};
use crate::telemetry::metrics::ABANDONED;
use crate::telemetry::request::{self, Ids};

/// What a worker says of a tensor: its SHA-256, its classes, and where the time went.
pub(super) type TensorOutcome = Result<(PictureDigest, Ranking, Timings), Refusal>;

/// What a worker is to classify, and who waits for it.
pub(super) enum Work {
    /// A picture, for all who wait for its flight.
    Picture { flight: Weak<Flight>, bytes: Bytes },
    /// A tensor, for the one who sent it.
    Tensor {
        answer: oneshot::Sender<TensorOutcome>,
        bytes: Bytes,
    },
}

/// Work for the model `M`, which the queue does not look at.
pub(super) struct Job<M = Arc<Deployment>> {
    pub work: Work,
    pub model: M,
    pub queued: Instant,
    /// The request that brought it.
    pub request: Option<Ids>,
}

impl<M> Job<M> {
    pub(super) fn new(work: Work, model: M) -> Self {
        Self {
            work,
            model,
            queued: Instant::now(),
            request: request::ids(),
        }
    }

    fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Picture { flight, .. } => flight.strong_count() > 0,
            Work::Tensor { answer, .. } => !answer.is_closed(),
        }
    }
}

pub(super) struct Queue<M = Arc<Deployment>> {
    state: Mutex<State<M>>,
    filled: Condvar,
    workers: u32,
    max_wait: Duration,
}

struct State<M> {
    jobs: VecDeque<Job<M>>,
    /// Mean time a worker spends on a picture, of the last few dozen.
    mean: Duration,
    /// When no picture was waiting.
    last_empty: Instant,
    closed: bool,
}

impl<M> State<M> {
    fn drop_abandoned(&mut self) {
        let before = self.jobs.len();
        self.jobs.retain(Job::is_wanted);
        count_abandoned(before - self.jobs.len());
    }
}

fn count_abandoned(jobs: usize) {
    metrics::counter!(ABANDONED).increment(jobs as u64);
}

/// Assumed until the first picture is done.
const FIRST_GUESS: Duration = Duration::from_millis(5);

/// Part of the longest wait that a standing queue may reach.
const STANDING: u32 = 4;

/// Weight of the newest picture in the mean.
const SMOOTHING: u32 = 32;

impl<M> Queue<M> {
    pub(super) fn new(workers: usize, max_wait: Duration) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            mean: FIRST_GUESS,
            last_empty: Instant::now(),
            closed: false,
        };
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            workers,
            max_wait,
        }
    }

    /// Adds a job, or says after how many whole seconds to try again.
    pub(super) fn push(&self, job: Job<M>) -> Result<(), Duration> {
        let mut state = self.lock();
        if state.jobs.is_empty() {
            state.last_empty = job.queued;
        }
        let longest = self.longest_wait(&state, job.queued);
        if self.expected_wait(&state) > longest {
            state.drop_abandoned();
            let wait = self.expected_wait(&state);
            if wait > longest {
                return Err(Duration::from_secs(
                    wait.as_secs_f64().ceil().max(1.0) as u64
                ));
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// The next job that somebody still waits for; `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Job<M>> {
        let mut state = self.lock();
        loop {
            match state.jobs.pop_front() {
                Some(job) if job.is_wanted() => return Some(job),
                Some(_) => count_abandoned(1),
                None if state.closed => return None,
                None => {
                    state = self
                        .filled
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    /// Whether a job has waited longer than was promised when it was taken in.
    pub(super) fn is_overdue(&self, job: &Job<M>) -> bool {
        job.queued.elapsed() > self.max_wait
    }

    /// Tells how long a picture has taken a worker.
    pub(super) fn took(&self, time: Duration) {
        let mut state = self.lock();
        state.mean = (state.mean * (SMOOTHING - 1) + time) / SMOOTHING;
    }

    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// How long the first picture has been waiting.
    pub(super) fn oldest(&self) -> Duration {
        let state = self.lock();
        let first = state.jobs.iter().find(|job| job.is_wanted());
        first.map_or(Duration::ZERO, |job| job.queued.elapsed())
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn longest_wait(&self, state: &State<M>, now: Instant) -> Duration {
        if now.duration_since(state.last_empty) > self.max_wait {
            self.max_wait / STANDING
        } else {
            self.max_wait
        }
    }

    fn expected_wait(&self, state: &State<M>) -> Duration {
        let waiting = u32::try_from(state.jobs.len()).unwrap_or(u32::MAX);
        state.mean.saturating_mul(waiting) / self.workers
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classification::ResultKey;
    use crate::service::flight::Flights;

    fn flights(count: u8) -> Vec<Arc<Flight>> {
        let flights = Flights::default();
        (0..count)
            .map(|n| {
                flights
                    .join(ResultKey {
                        model: [0; 32],
                        picture: [n; 32],
                    })
                    .0
            })
            .collect()
    }

    fn job(flight: &Arc<Flight>) -> Job<()> {
        let work = Work::Picture {
            flight: Arc::downgrade(flight),
            bytes: Bytes::new(),
        };
        Job::new(work, ())
    }

    #[test]
    fn refuses_by_expected_wait() {
        let queue = Queue::new(2, Duration::from_millis(10));
        let waiting = flights(7);
        // 5 ms a picture on two workers: the wait passes 10 ms behind five pictures.
        let admitted = waiting
            .iter()
            .filter(|flight| queue.push(job(flight)).is_ok())
            .count();
        assert_eq!(admitted, 5);
        assert_eq!(queue.push(job(&waiting[6])), Err(Duration::from_secs(1)));
    }

    #[test]
    fn abandoned_jobs_make_room_and_are_not_handed_out() {
        let queue = Queue::new(1, Duration::from_millis(10));
        let mut waiting = flights(4);
        for flight in &waiting[..3] {
            assert!(queue.push(job(flight)).is_ok());
        }
        assert!(queue.push(job(&waiting[3])).is_err());
        waiting.drain(..2);
        assert!(queue.push(job(&waiting[1])).is_ok());
        queue.close();
        let handed: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(handed.len(), 2);
    }

    #[test]
    fn a_standing_queue_is_kept_short() {
        let queue = Queue::new(1, Duration::from_millis(40));
        let waiting = flights(12);
        let admit = |flights: &[Arc<Flight>]| {
            let admitted = flights
                .iter()
                .filter(|flight| queue.push(job(flight)).is_ok());
            admitted.count()
        };
        // 5 ms a picture: a burst may wait 40 ms, what comes when it has not drained in that time 10 ms.
        assert_eq!(admit(&waiting[..10]), 9);
        std::thread::sleep(Duration::from_millis(45));
        assert!(queue.is_overdue(&queue.pop().unwrap()));
        assert_eq!(admit(&waiting[10..]), 0);
        while queue.len() > 2 {
            queue.pop();
        }
        assert_eq!(admit(&waiting[10..]), 1);
        while queue.len() > 0 {
            queue.pop();
        }
        assert_eq!(admit(&waiting), 9, "once empty, bursts are welcome again");
    }

    #[test]
    fn slow_pictures_shorten_the_queue() {
        let queue = Queue::new(1, Duration::from_millis(100));
        for _ in 0..200 {
            queue.took(Duration::from_millis(60));
        }
        let waiting = flights(4);
        let admitted = waiting
            .iter()
            .filter(|flight| queue.push(job(flight)).is_ok())
            .count();
        assert_eq!(admitted, 2);
    }
}
