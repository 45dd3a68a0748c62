//! What is said of an answer after it was given, and added to its record.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Filter, Opinion, Record, Review};

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Remark {
    /// A person's.
    Review(Review),
    /// Another model's.
    Opinion(Opinion),
}

impl Remark {
    /// UUIDv7; its order is the order of the remarks.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Review(review) => review.review_id,
            Self::Opinion(opinion) => opinion.opinion_id,
        }
    }
}

/// What is to be added to the record of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remarks {
    /// The request.
    pub request_id: Uuid,
    /// Reviews, which add up.
    pub reviews: Vec<Review>,
    /// The latest opinion, if there is one.
    pub opinion: Option<Opinion>,
}

impl Remarks {
    /// Remarks put together by their requests, in the order of these.
    pub fn gather(all: impl IntoIterator<Item = (Uuid, Remark)>) -> BTreeMap<Uuid, Self> {
        let mut gathered: BTreeMap<Uuid, Self> = BTreeMap::new();
        for (request_id, remark) in all {
            let of_request = gathered.entry(request_id).or_insert_with(|| Self {
                request_id,
                ..Self::default()
            });
            of_request.add(remark);
        }
        gathered
    }

    fn add(&mut self, remark: Remark) {
        match remark {
            Remark::Review(review) => self.reviews.push(review),
            Remark::Opinion(opinion) => opinion.replace(&mut self.opinion),
        }
    }
}

/// How many remarks wait for a shared store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Reviews.
    pub reviews: u64,
    /// Opinions.
    pub opinions: u64,
}

impl Record {
    /// Adds remarks to those that it has.
    pub fn add(&mut self, remarks: Remarks) {
        if !remarks.reviews.is_empty() {
            self.add_reviews(remarks.reviews);
        }
        if let Some(opinion) = remarks.opinion {
            opinion.replace(&mut self.opinion);
        }
    }

    /// The remarks that it has.
    pub fn remarks(&self) -> Remarks {
        Remarks {
            request_id: self.request_id,
            reviews: self.reviews().to_vec(),
            opinion: self.opinion.clone(),
        }
    }
}

impl Filter {
    /// Whether a record passes as far as what was said of it is concerned.
    pub fn passes_remarks(&self, record: &Record) -> bool {
        self.passes_review(record) && self.passes_opinion(record)
    }
}
