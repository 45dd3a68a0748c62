//! Where results come from: memory, another request's flight, the shared cache, or a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::classifier::Timings;
use super::fleet::Deployment;
use super::flight::{Flight, Flights};
use super::queue::{Job, Queue, Work};
use super::refusal::Refusal;
use super::{Input, Request, Service, key};
use crate::classification::{Known, PictureDigest, Ranking, ResultKey};
use crate::image::Format;
use crate::telemetry::metrics::RESULTS;
use crate::telemetry::{measured, note, request, stage};

/// How long it takes at least to be told that all workers are busy.
///
/// Clients that ask again at once would be refused thousands of times a second. That takes the time that the workers
/// need, so pictures take longer, so more are refused: a service with one CPU stayed at 0.4 of its speed.
const PAUSE: Duration = Duration::from_millis(8);

/// How a request was answered.
pub(super) struct Outcome {
    pub request_id: Uuid,
    pub subject: Subject,
    /// Absent without an inference of its own.
    pub timings: Option<Timings>,
    pub processing_time: Duration,
}

/// What was classified, and what it shows.
pub(super) enum Subject {
    Picture(Arc<Known>, Format),
    Tensor(PictureDigest, Ranking),
}

impl Subject {
    pub(super) fn ranking(&self) -> &Ranking {
        match self {
            Self::Picture(known, _) => &known.classification.ranking,
            Self::Tensor(_, ranking) => ranking,
        }
    }
}

impl Service {
    /// What the request's input shows; nothing is kept yet.
    pub(super) async fn result(&self, request: &Request) -> Result<Outcome, Refusal> {
        let result = self.obtain(request).await;
        if let Err(Refusal::Busy { .. }) = result {
            tokio::time::sleep(PAUSE).await;
        }
        result
    }

    async fn obtain(&self, request: &Request) -> Result<Outcome, Refusal> {
        let arrival = Instant::now();
        let request_id = request::record_id();
        let model = &request.model.0;
        let (source, subject, timings) = match &request.input {
            Input::Picture(bytes) => {
                let format = Format::sniff(bytes)?;
                let (source, known, timings) = self.look_up(bytes, model).await?;
                (source, Subject::Picture(known, format), timings)
            }
            Input::Tensor(bytes) => {
                let (subject, timings) = self.infer_tensor(bytes.clone(), model).await?;
                ("model", subject, Some(timings))
            }
        };
        metrics::counter!(RESULTS, "source" => source).increment(1);
        note("relance.source", source);
        Ok(Outcome {
            request_id,
            subject,
            timings,
            processing_time: arrival.elapsed(),
        })
    }

    async fn look_up(
        &self,
        picture: &Bytes,
        model: &Arc<Deployment>,
    ) -> Result<(&'static str, Arc<Known>, Option<Timings>), Refusal> {
        let key = key(model.model(), picture);
        let looked_up = {
            let _stage = stage("cache");
            self.cache.get(&key)
        };
        match looked_up {
            Some(known) => Ok(("memory", known, None)),
            None => self.infer(key, picture.clone(), model).await,
        }
    }

    async fn infer(
        &self,
        key: ResultKey,
        picture: Bytes,
        model: &Arc<Deployment>,
    ) -> Result<(&'static str, Arc<Known>, Option<Timings>), Refusal> {
        let (flight, leads) = self.flights.join(key);
        if leads {
            // The flight before this one may have landed since the cache was asked.
            if let Some(known) = self.cache.get(&key) {
                self.flights.land(&flight, Ok((Arc::clone(&known), None)));
                return Ok(("memory", known, None));
            }
            self.take_off(&flight, picture, Arc::clone(model));
        }
        let waiting = (!leads).then(|| stage("flight"));
        let (known, timings) = flight.landed().await?;
        drop(waiting);
        let Some(timings) = timings.filter(|_| leads) else {
            return Ok((if leads { "redis" } else { "flight" }, known, None));
        };
        measure(&timings);
        Ok(("model", known, Some(timings)))
    }

    fn take_off(&self, flight: &Arc<Flight>, picture: Bytes, model: Arc<Deployment>) {
        let job = Job::new(
            Work::Picture {
                flight: Arc::downgrade(flight),
                bytes: picture,
            },
            model,
        );
        if !self.cache.asks_shared() {
            return enqueue(&self.queue, &self.flights, flight, job);
        }
        let (cache, flights) = (Arc::clone(&self.cache), Arc::clone(&self.flights));
        let queue = Arc::clone(&self.queue);
        let (key, flight) = (flight.key(), Arc::downgrade(flight));
        // On a task of its own: if the client that leads goes away, others may still wait for the flight.
        tokio::spawn(async move {
            let known = cache.get_shared(&key).await;
            let Some(flight) = flight.upgrade() else {
                return;
            };
            match known {
                Some(known) => flights.land(&flight, Ok((known, None))),
                None => enqueue(&queue, &flights, &flight, job),
            }
        });
    }

    async fn infer_tensor(
        &self,
        bytes: Bytes,
        model: &Arc<Deployment>,
    ) -> Result<(Subject, Timings), Refusal> {
        let (answer, outcome) = oneshot::channel();
        let job = Job::new(Work::Tensor { answer, bytes }, Arc::clone(model));
        self.queue
            .push(job)
            .map_err(|retry_after| Refusal::Busy { retry_after })?;
        let abandoned = |_| Refusal::Internal("the inference was abandoned".into());
        let (digest, ranking, timings) = outcome.await.map_err(abandoned)??;
        measure(&timings);
        Ok((Subject::Tensor(digest, ranking), timings))
    }
}

/// Notes the stages of the work that was done for this request.
fn measure(timings: &Timings) {
    if let Some(mut start) = timings.start {
        for (name, length) in timings.stages() {
            measured(name, start, length);
            start += length;
        }
    }
}

fn enqueue(queue: &Queue, flights: &Flights, flight: &Arc<Flight>, job: Job) {
    if let Err(retry_after) = queue.push(job) {
        flights.land(flight, Err(Refusal::Busy { retry_after }));
    }
}
