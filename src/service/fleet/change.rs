//! Changes of what is served.

use std::sync::Arc;

use super::deployment::Deployment;
use super::loader::Test;
use super::trial::Candidate;
use super::{Crew, Fleet, ModelRefusal};
use crate::model::Reference;
use crate::registry::{Plan, Role, Trial, is_share};
use crate::service::entry::now;

impl Fleet {
    /// Has a model answer from now on: here once this returns, on other instances once they have looked. If it is the
    /// one that is tried out, that has been decided.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub(in crate::service) async fn activate(
        &self,
        model: Reference,
        by: &str,
    ) -> Result<(), ModelRefusal> {
        self.change(by, |plan| {
            plan.candidate.take_if(|trial| trial.model == model);
            plan.active = model;
            Ok(())
        })
        .await
    }

    /// Tries a model out, instead of the one that is.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub(in crate::service) async fn try_out(
        &self,
        model: Reference,
        role: Role,
        share: f64,
        by: &str,
    ) -> Result<(), ModelRefusal> {
        if !is_share(share) {
            return Err(ModelRefusal::BadShare(share));
        }
        self.change(by, |plan| {
            if plan.active == model {
                return Err(ModelRefusal::IsActive(model));
            }
            plan.candidate = Some(Trial {
                model,
                role,
                share,
                since: now(),
            });
            Ok(())
        })
        .await
    }

    /// Tries out no model any more.
    ///
    /// # Errors
    /// [`ModelRefusal`]; then all stays as it is.
    pub(in crate::service) async fn drop_candidate(&self, by: &str) -> Result<(), ModelRefusal> {
        self.change(by, |plan| {
            let dropped = plan.candidate.take();
            dropped.map(drop).ok_or(ModelRefusal::NoCandidate)
        })
        .await
    }

    async fn change(
        &self,
        by: &str,
        edit: impl FnOnce(&mut Plan) -> Result<(), ModelRefusal>,
    ) -> Result<(), ModelRefusal> {
        let registry = self.loader.registry().ok_or(ModelRefusal::Fixed)?;
        let mut followed = self.changing.lock().await;
        let (plan, tag) = registry.plan().await?;
        let mut plan = plan.unwrap_or_else(|| self.as_it_is());
        edit(&mut plan)?;
        plan.changed_by = by.to_owned();
        plan.changed_at = now();
        // Nobody is told to serve what cannot be served.
        let crew = self.assemble(&plan).await?;
        *followed = registry.publish(&plan, &tag).await?;
        self.install(crew);
        self.following.succeeded();
        Ok(())
    }

    /// The crew that a plan asks for; whoever is here already stays.
    pub(super) async fn assemble(&self, plan: &Plan) -> Result<Crew, ModelRefusal> {
        let workers = self.workers();
        let active = self.have(&plan.active, workers, Test::Samples).await?;
        let candidate = match &plan.candidate {
            Some(trial) if trial.model != plan.active => Some(self.candidate(trial).await?),
            _ => None,
        };
        Ok(Crew { active, candidate })
    }

    async fn candidate(&self, trial: &Trial) -> Result<Arc<Candidate>, ModelRefusal> {
        let crew = self.crew.load_full();
        if let Some(same) = crew.candidate.as_ref().filter(|same| same.trial == *trial) {
            return Ok(Arc::clone(same));
        }
        // One for comparing; a canary answers beside that.
        let (classifiers, test) = match trial.role {
            Role::Shadow => (1, Test::Nothing),
            Role::Canary => (self.workers() + 1, Test::Samples),
        };
        let deployment = self.have(&trial.model, classifiers, test).await?;
        Ok(Candidate::new(trial.clone(), deployment))
    }

    /// A model with at least so many classifiers.
    async fn have(
        &self,
        model: &Reference,
        classifiers: usize,
        test: Test,
    ) -> Result<Arc<Deployment>, ModelRefusal> {
        let crew = self.crew.load_full();
        let candidate = crew
            .candidate
            .as_ref()
            .map(|candidate| &candidate.deployment);
        let here = [Some(&crew.active), candidate].into_iter().flatten();
        let here = here
            .filter(|here| here.model().reference == *model)
            .find(|here| here.classifiers() >= classifiers);
        match here {
            Some(here) => Ok(Arc::clone(here)),
            None => self.loader.load(model, classifiers, test).await,
        }
    }

    fn as_it_is(&self) -> Plan {
        Plan {
            active: self.active().model().reference.clone(),
            candidate: None,
            changed_by: String::new(),
            changed_at: now(),
        }
    }
}
