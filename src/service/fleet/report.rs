//! What there is to say of the models.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::deployment::Deployment;
use super::speed::Latency;
use super::trial::{Agreement, Disagreement, Pair};
use super::{Fleet, ModelRefusal};
use crate::model::{Model, Peek, Reference};
use crate::registry::{Role, Trial};
use crate::service::drift::Psi;

/// What becomes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Active,
    /// It answers some of the clients.
    Canary,
    /// It is compared with the one that answers.
    Shadow,
    /// It was asked for by name a short while ago and answers those who do so again.
    Loaded,
    /// It is in the registry.
    Available,
}

/// A model.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// Name and version.
    pub reference: Reference,
    /// What becomes of it.
    pub state: State,
    /// What is known of it if it is loaded.
    pub model: Option<Arc<Model>>,
    /// What its file says if it is not loaded and the file is here.
    pub peek: Option<Peek>,
    /// How long it takes, if it is loaded.
    pub latency: Option<Latency>,
    /// How far its latest answers are from its baseline.
    pub drift: Option<Psi>,
    /// How far it agrees with the model that answers, if it is tried out.
    pub agreement: Option<Agreement>,
}

/// What has come of trying out a model, on this instance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrialReport {
    /// Name and version of the model, as `name@version`.
    #[schema(value_type = String, example = "bottle@3")]
    pub model: Reference,
    /// How it is tried out.
    pub role: Role,
    /// Share of the traffic, above 0 and up to 1.
    #[schema(example = 0.1)]
    pub share: f64,
    /// Since when (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The model that answers, as `name@version`.
    #[schema(value_type = String, example = "bottle@2")]
    pub active: Reference,
    /// How far the two agree.
    pub agreement: Agreement,
    /// What they said, most often first.
    pub pairs: Vec<Pair>,
    /// Time for a picture by each of the two. That of a shadow is taken when little else is done, at the lowest
    /// priority.
    pub latency: Latencies,
    /// The latest pictures that they see differently, newest first, at most 100.
    pub disagreements: Vec<Disagreement>,
}

/// Times of the two models.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Latencies {
    /// Of the one that answers.
    pub active: Latency,
    /// Of the one that is tried out.
    pub candidate: Latency,
}

impl Fleet {
    /// All models there are, those on duty first; and why the registry is not followed, if it is not.
    pub(in crate::service) async fn models(&self) -> (Vec<ModelStatus>, Option<String>) {
        let mut known: BTreeMap<Reference, ModelStatus> = BTreeMap::new();
        let mut fault = self.following.fault();
        for (state, deployment, agreement) in self.on_duty().into_iter().rev() {
            let reference = deployment.model().reference.clone();
            let status = ModelStatus {
                state,
                model: Some(Arc::clone(deployment.model())),
                peek: None,
                latency: Some(deployment.speed().latency()),
                drift: deployment.predictions().drift(),
                agreement,
                reference: reference.clone(),
            };
            known.insert(reference, status);
        }
        let listed = self.loader.list().await.unwrap_or_else(|error| {
            fault.get_or_insert(error.to_string());
            Vec::new()
        });
        for reference in listed {
            if let Entry::Vacant(place) = known.entry(reference) {
                let reference = place.key().clone();
                place.insert(ModelStatus {
                    state: State::Available,
                    model: None,
                    peek: self.loader.peek(&reference).await,
                    latency: None,
                    drift: None,
                    agreement: None,
                    reference,
                });
            }
        }
        let mut all: Vec<ModelStatus> = known.into_values().collect();
        all.sort_by_key(|status| status.state);
        (all, fault)
    }

    /// What has come of trying out a model.
    pub(in crate::service) fn trial(&self) -> Result<TrialReport, ModelRefusal> {
        let crew = self.crew.load();
        let candidate = crew.candidate.as_ref().ok_or(ModelRefusal::NoCandidate)?;
        let Trial {
            model,
            role,
            share,
            since,
        } = candidate.trial.clone();
        Ok(TrialReport {
            model,
            role,
            share,
            since,
            active: crew.active.model().reference.clone(),
            agreement: candidate.agreement(),
            pairs: candidate.pairs(),
            latency: Latencies {
                active: crew.active.speed().latency(),
                candidate: candidate.deployment.speed().latency(),
            },
            disagreements: candidate.disagreements(),
        })
    }

    /// Models that can answer now, the one that answers first.
    pub(in crate::service) fn ready(&self) -> Vec<Arc<Model>> {
        let workers = self.workers();
        let able = self
            .on_duty()
            .into_iter()
            .map(|(_, deployment, _)| deployment);
        let able = able.filter(|deployment| deployment.classifiers() >= workers);
        able.map(|deployment| Arc::clone(deployment.model()))
            .collect()
    }

    fn on_duty(&self) -> Vec<(State, Arc<Deployment>, Option<Agreement>)> {
        let crew = self.crew.load();
        let mut all = vec![(State::Active, Arc::clone(&crew.active), None)];
        if let Some(candidate) = &crew.candidate {
            let state = match candidate.trial.role {
                Role::Shadow => State::Shadow,
                Role::Canary => State::Canary,
            };
            let deployment = Arc::clone(&candidate.deployment);
            all.push((state, deployment, Some(candidate.agreement())));
        }
        let guests = self.guests.all().into_iter();
        all.extend(guests.map(|guest| (State::Loaded, guest, None)));
        all
    }
}
