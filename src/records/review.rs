//! What people have said of answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Filter, Record};

/// The label of a reviewer who cannot tell.
pub const UNSURE: &str = "unsure";

/// Reviews of one request that are kept: the latest ones.
pub const KEPT: usize = 20;

/// What somebody said of the answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// UUIDv7; its order is the order of the reviews.
    pub review_id: Uuid,
    /// The right class, or `unsure`.
    #[schema(example = "aberta")]
    pub label: String,
    /// What else the reviewer said.
    pub note: Option<String>,
    /// User or key name of the reviewer, or `anonymous`.
    #[schema(example = "ana")]
    pub reviewer: String,
    /// When it was said (UTC, milliseconds).
    #[schema(value_type = String, format = DateTime)]
    pub reviewed_at: Timestamp,
    /// How the request came to be reviewed at first.
    pub selection: Selection,
}

/// How a request came to be reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// It was proposed because the model was not sure.
    Doubtful,
    /// It was proposed by chance; the accuracy on these alone is that on all requests.
    Random,
    /// The reviewer had looked it up.
    Chosen,
}

/// A queue of requests that nobody has reviewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// Least confident first, without those whose pictures had just been classified: it would ask the same again.
    Doubtful,
    /// About one request in five, newest first. Which ones, their identifiers say and not the model.
    Random,
}

impl Queue {
    /// Requests are in the random queue if the last byte of their identifier is below this. In a UUIDv7 it is random.
    const RANDOM_BELOW: u8 = 0x30;

    /// The queue that a request is in until it is reviewed, if it is in any.
    pub fn of(record: &Record) -> Option<Self> {
        if record.request_id.as_bytes()[15] < Self::RANDOM_BELOW {
            Some(Self::Random)
        } else {
            (!record.cached).then_some(Self::Doubtful)
        }
    }
}

impl From<Queue> for Selection {
    fn from(queue: Queue) -> Self {
        match queue {
            Queue::Doubtful => Self::Doubtful,
            Queue::Random => Self::Random,
        }
    }
}

/// Reviewed requests that have all of this in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// What the model said.
    pub prediction: String,
    /// What the latest review said.
    pub label: String,
    /// How the requests were selected.
    pub selection: Selection,
    /// Tenth of the range of confidences, 0 to 9.
    pub bin: usize,
    /// How many there are.
    pub count: u64,
    /// Sum of their confidences.
    pub confidence: f64,
}

/// Reviews of one request put together: each once, in their order, no more than are kept.
pub fn merge(mut reviews: Vec<Review>, more: impl IntoIterator<Item = Review>) -> Vec<Review> {
    reviews.extend(more);
    reviews.sort_by_key(|review| review.review_id);
    reviews.dedup_by_key(|review| review.review_id);
    reviews.drain(..reviews.len().saturating_sub(KEPT));
    reviews
}

impl Record {
    /// All reviews that are kept, oldest first.
    pub fn reviews(&self) -> &[Review] {
        self.review_history.as_deref().unwrap_or_default()
    }

    /// Adds reviews to those that it has.
    pub fn add_reviews(&mut self, more: impl IntoIterator<Item = Review>) {
        let all = merge(self.review_history.take().unwrap_or_default(), more);
        self.review = all.last().cloned();
        self.review_history = (!all.is_empty()).then_some(all);
    }
}

impl Filter {
    /// Whether only records pass that have been reviewed.
    pub fn wants_reviewed(&self) -> bool {
        self.reviewed == Some(true) || self.label.is_some() || self.disagrees.is_some()
    }

    /// Whether a record passes as far as its reviews are concerned.
    pub(super) fn passes_review(&self, record: &Record) -> bool {
        let label = record.review.as_ref().map(|review| review.label.as_str());
        let wanted = self.label.as_deref();
        let differs = label
            .filter(|label| *label != UNSURE)
            .map(|label| label != record.prediction);
        self.reviewed
            .is_none_or(|reviewed| reviewed == label.is_some())
            && wanted.is_none_or(|wanted| label == Some(wanted))
            && self
                .disagrees
                .is_none_or(|disagrees| differs == Some(disagrees))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(n: u128) -> Review {
        Review {
            review_id: Uuid::from_u128(n),
            label: "a".into(),
            note: None,
            reviewer: "ana".into(),
            reviewed_at: Timestamp::UNIX_EPOCH,
            selection: Selection::Chosen,
        }
    }

    #[test]
    fn reviews_are_kept_once_in_their_order_and_not_for_ever() {
        let ids = |reviews: &[Review]| -> Vec<u128> {
            reviews.iter().map(|r| r.review_id.as_u128()).collect()
        };
        let merged = merge(vec![review(3), review(1)], [review(2), review(3)]);
        assert_eq!(ids(&merged), [1, 2, 3]);
        let many = merge(merged, (4..30).map(review));
        assert_eq!(ids(&many), (10..30).collect::<Vec<_>>());
    }
}
