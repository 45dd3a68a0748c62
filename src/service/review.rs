//! What people say of answers, and which they are asked about.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use moka::sync::Cache;
use uuid::Uuid;

use super::desk::{Desk, LEASE, Occupied};
use super::entry::now;
use super::summary::Summary;
use super::{Refusal, Service};
use crate::model::Model;
use crate::records::{ModelName, Queue, Record, Review, Selection, UNSURE};
use crate::telemetry::metrics::REVIEWS;

/// Records shown lately that are remembered, and for how long: they can be reviewed while their store is away.
const SHOWN: u64 = 2_000;
const SHOWN_FOR: Duration = Duration::from_secs(3600);

/// Classes that are told apart in metrics, the first ones of the model.
const CLASSES: usize = 16;

/// Requests that are looked through for one that nobody at another instance has.
const ELSEWHERE: usize = 50;

/// Label of the other classes.
const OTHER: &str = "other";

/// What a reviewer says.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The right class, or [`UNSURE`].
    pub label: String,
    /// What else there is to say.
    pub note: Option<String>,
}

/// Who reviews.
#[derive(Clone, Copy, Debug)]
pub struct Reviewer<'a> {
    /// The name that is kept.
    pub name: &'a str,
    /// What tells this reviewer from others; for those without a name, their address.
    pub key: &'a str,
}

/// What became of a review.
#[derive(Clone, Debug)]
pub enum Reviewed {
    /// It is kept.
    Kept(Review),
    /// There is no such request.
    NoRequest,
    /// Only these are accepted.
    UnknownLabel(Vec<String>),
}

/// What the service knows of reviews, beside the store.
pub(super) struct Reviews {
    desk: Desk,
    shown: Cache<Uuid, Arc<Record>>,
}

impl Default for Reviews {
    fn default() -> Self {
        Self {
            desk: Desk::default(),
            shown: Cache::builder()
                .max_capacity(SHOWN)
                .time_to_live(SHOWN_FOR)
                .build(),
        }
    }
}

impl Reviews {
    /// Takes note that somebody has seen this record.
    pub(super) fn show(&self, record: &Record) {
        self.shown
            .insert(record.request_id, Arc::new(record.clone()));
    }

    /// Takes note that a request is no more.
    pub(super) fn forget(&self, request_id: Uuid) {
        self.shown.invalidate(&request_id);
        self.desk.done(request_id);
    }
}

impl Service {
    /// Keeps what a reviewer says of a request; returns once it is on this disk. Saying the same again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Storage`]; nothing is kept then.
    pub async fn review(
        &self,
        request_id: Uuid,
        judgement: Judgement,
        reviewer: Reviewer<'_>,
    ) -> Result<Reviewed, Refusal> {
        let Some(record) = self.find_for_review(request_id).await? else {
            return Ok(Reviewed::NoRequest);
        };
        let model = self.fleet.active();
        let model = model.model();
        if let Some(accepted) = refusal(model, &record, &judgement.label) {
            return Ok(Reviewed::UnknownLabel(accepted));
        }
        if let Some(said) = record.review.as_ref().filter(|said| {
            (&said.label, &said.note, said.reviewer.as_str())
                == (&judgement.label, &judgement.note, reviewer.name)
        }) {
            self.reviews.desk.done(request_id);
            return Ok(Reviewed::Kept(said.clone()));
        }
        let review = Review {
            review_id: Uuid::now_v7(),
            label: judgement.label,
            note: judgement.note,
            reviewer: reviewer.name.to_owned(),
            reviewed_at: now(),
            selection: self.selection(&record, reviewer),
        };
        self.storage.review(request_id, review.clone()).await?;
        self.reviews.forget(request_id);
        count(model, &record.prediction, &review);
        let mut reviewed = record;
        reviewed.add_reviews([review.clone()]);
        self.reviews.show(&reviewed);
        Ok(Reviewed::Kept(review))
    }

    /// A request that it would be most useful to review: mostly the one that the model was least sure of, sometimes
    /// one by chance. A reviewer who asks again gets the same one, and instead of `skip` another.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn next_for_review(
        &self,
        reviewer: &str,
        skip: Option<Uuid>,
    ) -> Result<Option<Record>, Refusal> {
        let desk = &self.reviews.desk;
        if let Some(skipped) = skip {
            desk.skip(reviewer, skipped);
            self.cache.release(&skipped.to_string(), reviewer).await;
        } else if let Some(current) = desk.current(reviewer)
            && let Some(record) = self.hand_out_again(reviewer, current).await?
        {
            return Ok(Some(record));
        }
        let occupied = desk.occupied(reviewer);
        let queues = if by_chance() {
            [Queue::Random, Queue::Doubtful]
        } else {
            [Queue::Doubtful, Queue::Random]
        };
        for queue in queues {
            if let Some(record) = self.propose(reviewer, queue, &occupied).await? {
                return Ok(Some(record));
            }
        }
        // Nothing else is left, so those that were put aside come again.
        for id in occupied.skipped.into_iter().filter(|id| Some(*id) != skip) {
            let record = self.hand_out_again(reviewer, id).await?;
            if record.is_some() {
                return Ok(record);
            }
        }
        Ok(None)
    }

    /// What the reviews say of the model that is meant, or of all.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub async fn review_summary(&self, model: Option<ModelName>) -> Result<Summary, Refusal> {
        Ok(Summary::of(&self.storage.tallies(model).await?))
    }

    async fn propose(
        &self,
        reviewer: &str,
        queue: Queue,
        occupied: &Occupied,
    ) -> Result<Option<Record>, Refusal> {
        let not_now = occupied.taken.len() + occupied.skipped.len();
        // Reviewers at other instances may have some of them in hand.
        let more = if self.cache.asks_shared() {
            ELSEWHERE
        } else {
            1
        };
        let candidates = self.storage.unreviewed(queue, not_now + more).await?;
        for record in candidates {
            let id = record.request_id;
            let free = !occupied.taken.contains(&id) && !occupied.skipped.contains(&id);
            if free && self.hand_out(reviewer, id, queue).await {
                self.reviews.show(&record);
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn hand_out_again(
        &self,
        reviewer: &str,
        request_id: Uuid,
    ) -> Result<Option<Record>, Refusal> {
        let record = self.storage.find(request_id).await?;
        let record = record.filter(|record| record.review.is_none());
        let Some((record, queue)) = record.and_then(|record| {
            let queue = Queue::of(&record)?;
            Some((record, queue))
        }) else {
            return Ok(None);
        };
        let free = self.hand_out(reviewer, request_id, queue).await;
        Ok(free.then_some(record))
    }

    /// Gives `reviewer` a request, unless somebody else has it, at this instance or, where Redis is shared, at another.
    async fn hand_out(&self, reviewer: &str, request_id: Uuid, queue: Queue) -> bool {
        let thing = request_id.to_string();
        self.cache.claim(&thing, reviewer, LEASE).await
            && self.reviews.desk.hand_out(reviewer, request_id, queue)
    }

    async fn find_for_review(&self, request_id: Uuid) -> Result<Option<Record>, Refusal> {
        let found = self.storage.find(request_id).await;
        found.or_else(|error| match self.reviews.shown.get(&request_id) {
            Some(shown) => Ok(Some(Record::clone(&shown))),
            None => Err(error.into()),
        })
    }

    /// A correction does not change how the request was selected at first.
    fn selection(&self, record: &Record, reviewer: Reviewer<'_>) -> Selection {
        match record.reviews().first() {
            Some(first) => first.selection,
            None => self.reviews.desk.selection(reviewer.key, record.request_id),
        }
    }
}

/// The labels that are accepted for a record, if `label` is none of them: the classes of the model that answered. Of
/// another model than the one served now, only the best classes are known; then those served now count, too.
fn refusal(model: &Model, record: &Record, label: &str) -> Option<Vec<String>> {
    let same = (&record.model.name, &record.model.version)
        == (&model.reference.name, &model.reference.version);
    let others = record
        .top
        .iter()
        .filter(|_| !same)
        .map(|score| &score.class);
    let others = others.filter(|class| !model.labels.contains(class));
    let accepted = model.labels.iter().chain(others).map(String::as_str);
    let mut accepted = accepted.chain([UNSURE]);
    if accepted.clone().any(|known| known == label) {
        return None;
    }
    Some(accepted.by_ref().map(str::to_owned).collect())
}

/// About as often as requests are in the random queue, so that both end together.
fn by_chance() -> bool {
    getrandom::u32().is_ok_and(|bits| bits % 16 < 3)
}

fn count(model: &Model, predicted: &str, review: &Review) {
    let bounded = |class: &str| {
        let known = model
            .labels
            .iter()
            .take(CLASSES)
            .any(|known| known == class);
        if known || class == UNSURE {
            class
        } else {
            OTHER
        }
        .to_owned()
    };
    let selection = match review.selection {
        Selection::Doubtful => "doubtful",
        Selection::Random => "random",
        Selection::Chosen => "chosen",
    };
    // Beyond the classes that are told apart, the two labels don't say whether they agree.
    let agrees = (predicted == review.label).to_string();
    counter!(REVIEWS, "predicted" => bounded(predicted), "label" => bounded(&review.label),
        "agrees" => agrees, "selection" => selection)
    .increment(1);
}
