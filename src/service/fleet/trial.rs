//! A model that is tried out beside the one that answers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::deployment::Deployment;
use crate::records::{Opinion, Record};
use crate::registry::{Role, Trial};

/// Latest disagreements that are remembered.
const REMEMBERED: usize = 100;

/// Pairs of classes that are told apart; further ones are left out of the table.
const PAIRS: usize = 400;

/// The model and what came of it here.
pub(super) struct Candidate {
    pub trial: Trial,
    pub deployment: Arc<Deployment>,
    counts: Counts,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Counts {
    compared: AtomicU64,
    agreed: AtomicU64,
    skipped: AtomicU64,
}

#[derive(Default)]
struct Told {
    pairs: HashMap<(String, String), u64>,
    recent: VecDeque<Disagreement>,
}

/// A picture that the two models see differently.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Disagreement {
    /// The request; `GET /requests/{request_id}/thumbnail` shows its picture.
    pub request_id: Uuid,
    /// When it was taken in (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// What was answered.
    pub active: Verdict,
    /// What the candidate says.
    pub candidate: Verdict,
}

/// What a model says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// Its most likely class.
    #[schema(example = "aberta")]
    pub prediction: String,
    /// Probability of that class, 0 to 1.
    #[schema(example = 0.98)]
    pub confidence: f32,
}

/// How often the two models said what.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pair {
    /// What was answered.
    #[schema(example = "aberta")]
    pub active: String,
    /// What the candidate says.
    #[schema(example = "fechada")]
    pub candidate: String,
    /// How often.
    #[schema(example = 12)]
    pub count: u64,
}

/// How far the candidate agrees with the model that answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Agreement {
    /// Pictures that both have classified.
    #[schema(example = 400)]
    pub compared: u64,
    /// Those on whose class they agree.
    #[schema(example = 392)]
    pub agreed: u64,
    /// The share of these; null before the first comparison.
    #[schema(example = 0.98)]
    pub ratio: Option<f64>,
    /// Pictures that were to be compared, and were not because there was other work to do, or the candidate failed.
    #[schema(example = 3)]
    pub skipped: u64,
}

impl Candidate {
    pub(super) fn new(trial: Trial, deployment: Arc<Deployment>) -> Arc<Self> {
        Arc::new(Self {
            trial,
            deployment,
            counts: Counts::default(),
            told: Mutex::default(),
        })
    }

    /// Whether a request that others answer is to be compared. Its identifier decides, which is random.
    pub(super) fn compares(&self, request_id: Uuid) -> bool {
        let [.., a, b, _, _] = *request_id.as_bytes();
        is_within(u16::from_be_bytes([a, b]), self.trial.share)
    }

    /// Whether it answers this client.
    pub(super) fn answers(&self, client: &str) -> bool {
        if self.trial.role != Role::Canary {
            return false;
        }
        let mut hash = blake3::Hasher::new();
        hash.update(self.trial.model.to_string().as_bytes());
        hash.update(&[0]);
        hash.update(client.as_bytes());
        let [a, b, ..] = *hash.finalize().as_bytes();
        is_within(u16::from_be_bytes([a, b]), self.trial.share)
    }

    /// Takes note of a comparison.
    pub(super) fn compared(&self, record: &Record, opinion: &Opinion) {
        self.counts.compared.fetch_add(1, Ordering::Relaxed);
        if opinion.agrees {
            self.counts.agreed.fetch_add(1, Ordering::Relaxed);
        }
        let mut told = self.told();
        let pair = (record.prediction.clone(), opinion.prediction.clone());
        if told.pairs.len() < PAIRS || told.pairs.contains_key(&pair) {
            *told.pairs.entry(pair).or_default() += 1;
        }
        if opinion.agrees {
            return;
        }
        if told.recent.len() >= REMEMBERED {
            told.recent.pop_back();
        }
        told.recent.push_front(Disagreement {
            request_id: record.request_id,
            timestamp: record.timestamp,
            active: Verdict {
                prediction: record.prediction.clone(),
                confidence: record.confidence,
            },
            candidate: Verdict {
                prediction: opinion.prediction.clone(),
                confidence: opinion.confidence,
            },
        });
    }

    /// Takes note that a picture was not compared.
    pub(super) fn skipped(&self) {
        self.counts.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn agreement(&self) -> Agreement {
        let compared = self.counts.compared.load(Ordering::Relaxed);
        let agreed = self.counts.agreed.load(Ordering::Relaxed).min(compared);
        Agreement {
            compared,
            agreed,
            ratio: (compared > 0).then(|| agreed as f64 / compared as f64),
            skipped: self.counts.skipped.load(Ordering::Relaxed),
        }
    }

    /// How often they said what, most often first.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let told = self.told();
        let mut pairs: Vec<Pair> = told
            .pairs
            .iter()
            .map(|((active, candidate), &count)| Pair {
                active: active.clone(),
                candidate: candidate.clone(),
                count,
            })
            .collect();
        pairs.sort_by(|a, b| {
            let key = |pair: &Pair| (std::cmp::Reverse(pair.count), pair.active.clone());
            key(a).cmp(&key(b))
        });
        pairs
    }

    /// The latest disagreements, newest first.
    pub(super) fn disagreements(&self) -> Vec<Disagreement> {
        self.told().recent.iter().cloned().collect()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_within(number: u16, share: f64) -> bool {
    f64::from(number) < share * f64::from(u16::MAX) + share
}
