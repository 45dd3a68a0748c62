//! The models that are loaded: the one that answers, one that is tried out beside it, and guests that were asked for by
//! name.
//!
//! A model is loaded and checked beside those that answer, and then takes their place at once: what is in the queue or
//! on a worker keeps the model it came with.

mod change;
mod comparer;
mod deployment;
mod error;
mod follow;
mod guests;
mod loader;
mod report;
mod speed;
mod trial;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::gauge;
use uuid::Uuid;

use crate::model::{Model, ModelError, Reference};
use crate::records::{Opinion, Record};
use crate::registry::{Tag, Trial};
use crate::settings::PictureSettings;
use crate::telemetry::metrics::MODEL_INFO;

pub use error::ModelRefusal;
pub use loader::Models;
pub use report::{ModelStatus, State, TrialReport};
pub use speed::Latency;
pub use trial::{Agreement, Disagreement, Pair, Verdict};

pub(super) use deployment::Deployment;

use comparer::{Comparer, Comparison};
use follow::Following;
use guests::Guests;
use loader::Loader;
use trial::Candidate;

/// Models, loaded and to be loaded.
pub struct Fleet {
    crew: ArcSwap<Crew>,
    loader: Loader,
    guests: Guests,
    following: Following,
    /// State of the plan that the crew is made by. Held while it changes.
    changing: tokio::sync::Mutex<Tag>,
    comparer: Mutex<Option<Arc<Comparer>>>,
}

/// The models on duty.
struct Crew {
    active: Arc<Deployment>,
    candidate: Option<Arc<Candidate>>,
}

/// The model that is to answer a request.
#[derive(Clone)]
pub struct Chosen(pub(super) Arc<Deployment>);

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.model().reference)
    }
}

impl Chosen {
    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.0.model()
    }
}

impl Fleet {
    /// Loads the model that the registry says is to answer, or else the one that `MODEL` names. A registry that cannot
    /// be used, or says what cannot be done, is told to the log; it is followed once it can be.
    ///
    /// # Errors
    /// If there is no model to answer.
    pub async fn open(models: Models, picture: PictureSettings) -> Result<Self, ModelError> {
        let loader = Loader::new(models, picture);
        let planned = follow::planned(&loader).await;
        let active = match planned {
            Some(active) => active,
            None => loader.load_own()?,
        };
        gauge!(MODEL_INFO, told(active.model())).set(1.0);
        let crew = Crew {
            active,
            candidate: None,
        };
        Ok(Self {
            crew: ArcSwap::from_pointee(crew),
            loader,
            guests: Guests::default(),
            following: Following::default(),
            changing: tokio::sync::Mutex::default(),
            comparer: Mutex::default(),
        })
    }

    /// Begins to compare. `busy` says whether pictures wait for an answer; `keep` keeps what the candidate says.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(
        &self,
        busy: impl Fn() -> bool + Send + 'static,
        keep: impl Fn(Uuid, Opinion) + Send + 'static,
    ) -> std::io::Result<()> {
        let comparer = Arc::new(Comparer::start(busy, keep)?);
        *self.comparer() = Some(comparer);
        Ok(())
    }

    /// Ends comparing. Blocks.
    pub(super) fn stop(&self) {
        let comparer = self.comparer().take();
        if let Some(comparer) = comparer {
            comparer.stop();
        }
    }

    /// Whether models can be changed while the service runs.
    pub fn is_changeable(&self) -> bool {
        self.loader.registry().is_some()
    }

    /// Threads that classify.
    pub(super) fn workers(&self) -> usize {
        self.loader.workers()
    }

    /// The model that answers.
    pub(super) fn active(&self) -> Arc<Deployment> {
        Arc::clone(&self.crew.load().active)
    }

    /// The model for a client: the one asked for, the candidate if it answers this one, or else the one that answers.
    pub(super) async fn choose(
        &self,
        asked: Option<&Reference>,
        client: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Chosen, ModelRefusal> {
        if let Some(asked) = asked {
            return match self.loaded(asked) {
                Some(chosen) => Ok(chosen),
                None => self.guests.invite(&self.loader, asked).await.map(Chosen),
            };
        }
        let crew = self.crew.load();
        let canary = crew.candidate.as_ref();
        let canary = canary.filter(|candidate| match (client, address) {
            (Some(client), _) => candidate.answers(client),
            (None, Some(address)) => candidate.answers(&address.to_string()),
            (None, None) => false,
        });
        let chosen = canary.map_or(&crew.active, |candidate| &candidate.deployment);
        Ok(Chosen(Arc::clone(chosen)))
    }

    /// A model that is loaded and can answer.
    pub(super) fn loaded(&self, model: &Reference) -> Option<Chosen> {
        let crew = self.crew.load();
        let enough = |deployment: &&Arc<Deployment>| {
            deployment.model().reference == *model && deployment.classifiers() >= self.workers()
        };
        let candidate = crew
            .candidate
            .as_ref()
            .map(|candidate| &candidate.deployment);
        let on_duty = [Some(&crew.active), candidate]
            .into_iter()
            .flatten()
            .find(enough);
        on_duty
            .cloned()
            .or_else(|| self.guests.find(model))
            .map(Chosen)
    }

    /// Has the candidate look at a picture that was answered, if it is to.
    pub(super) fn compare(&self, record: &Record, picture: &Bytes, answered_by: &Chosen) {
        let crew = self.crew.load();
        let Some(candidate) = &crew.candidate else {
            return;
        };
        if !Arc::ptr_eq(&answered_by.0, &crew.active) || !candidate.compares(record.request_id) {
            return;
        }
        if let Some(comparer) = &*self.comparer() {
            comparer.compare(Comparison {
                record: record.clone(),
                picture: picture.clone(),
                candidate: Arc::clone(candidate),
            });
        }
    }

    fn install(&self, crew: Crew) {
        let before = self.crew.swap(Arc::new(crew));
        let now = self.crew.load();
        let (from, to) = (before.active.model(), now.active.model());
        if from.digest != to.digest || from.reference != to.reference {
            gauge!(MODEL_INFO, told(from)).set(0.0);
            gauge!(MODEL_INFO, told(to)).set(1.0);
            tracing::info!("{} answers instead of {}", to.reference, from.reference);
        }
        let trial = |crew: &Crew| {
            crew.candidate
                .as_ref()
                .map(|candidate| candidate.trial.clone())
        };
        match (trial(&before), trial(&now)) {
            (before, now) if before == now => {}
            (
                _,
                Some(Trial {
                    model, role, share, ..
                }),
            ) => {
                tracing::info!("{model} is tried out as {} of {share}", role.name());
            }
            (Some(before), None) => tracing::info!("{} is tried out no more", before.model),
            (None, None) => {}
        }
    }

    fn comparer(&self) -> std::sync::MutexGuard<'_, Option<Arc<Comparer>>> {
        self.comparer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Labels of the metric that tells which model answers.
fn told(model: &Model) -> Vec<metrics::Label> {
    vec![
        metrics::Label::new("model", model.reference.to_string()),
        metrics::Label::new("sha256", hex::encode(model.digest)),
    ]
}
