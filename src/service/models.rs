//! Which model answers, and who says so.

use std::net::IpAddr;
use std::sync::Arc;

use super::fleet::{Chosen, ModelRefusal, ModelStatus, TrialReport};
use super::{Refusal, Service};
use crate::model::{Model, Reference};
use crate::registry::Role;

impl Service {
    /// The model for a client: the one asked for, which is loaded if need be, or else the one that answers this client.
    ///
    /// # Errors
    /// [`Refusal::Model`].
    pub async fn choose(
        &self,
        asked: Option<&Reference>,
        client: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Chosen, Refusal> {
        Ok(self.fleet.choose(asked, client, address).await?)
    }

    /// Models that can answer now, the one that answers if nothing else is asked for first.
    pub fn ready_models(&self) -> Vec<Arc<Model>> {
        self.fleet.ready()
    }

    /// All models there are, those on duty first; and why the registry is not followed, if it is not.
    pub async fn models(&self) -> (Vec<ModelStatus>, Option<String>) {
        self.fleet.models().await
    }

    /// Has a model answer from now on: here once this returns, on other instances once they have looked.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub async fn activate(&self, model: Reference, by: &str) -> Result<(), ModelRefusal> {
        self.fleet.activate(model, by).await
    }

    /// Tries a model out on a share of the traffic, instead of the one that is.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub async fn try_out(
        &self,
        model: Reference,
        role: Role,
        share: f64,
        by: &str,
    ) -> Result<(), ModelRefusal> {
        self.fleet.try_out(model, role, share, by).await
    }

    /// Tries out no model any more.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub async fn drop_candidate(&self, by: &str) -> Result<(), ModelRefusal> {
        self.fleet.drop_candidate(by).await
    }

    /// What has come of trying out a model, on this instance.
    ///
    /// # Errors
    /// [`ModelRefusal::NoCandidate`].
    pub fn trial(&self) -> Result<TrialReport, ModelRefusal> {
        self.fleet.trial()
    }
}
