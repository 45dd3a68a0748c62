//! Follows what the registry says, so that all instances serve the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;

use super::deployment::Deployment;
use super::loader::{Loader, Test};
use super::{Fleet, ModelRefusal};
use crate::registry::Tag;
use crate::telemetry::metrics::MODELS_FOLLOWED;

/// How long what could not be followed is left alone, unless something else is said.
const REST: Duration = Duration::from_secs(60);

/// Whether the registry is followed.
#[derive(Default)]
pub(super) struct Following(Mutex<Option<Failure>>);

struct Failure {
    tag: Option<Tag>,
    at: Instant,
    why: String,
}

impl Following {
    /// Why the registry is not followed, if it is not.
    pub(super) fn fault(&self) -> Option<String> {
        self.failure().as_ref().map(|failure| failure.why.clone())
    }

    pub(super) fn succeeded(&self) {
        gauge!(MODELS_FOLLOWED).set(1.0);
        if self.failure().take().is_some() {
            tracing::info!("what the registry of models says is served again");
        }
    }

    fn failed(&self, tag: Option<Tag>, refusal: &ModelRefusal) {
        gauge!(MODELS_FOLLOWED).set(0.0);
        let why = refusal.to_string();
        let mut failure = self.failure();
        if failure.as_ref().is_none_or(|before| before.why != why) {
            tracing::error!("what the registry of models says cannot be served; {why}");
        }
        *failure = Some(Failure {
            tag,
            at: Instant::now(),
            why,
        });
    }

    /// Whether trying again would be too early.
    fn rests(&self, tag: &Tag) -> bool {
        let failure = self.failure();
        let same = |failure: &&Failure| failure.tag.as_ref() == Some(tag);
        failure
            .as_ref()
            .filter(same)
            .is_some_and(|failure| failure.at.elapsed() < REST)
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The model that the registry says is to answer, loaded; nothing if it says nothing or it cannot be had.
pub(super) async fn planned(loader: &Loader) -> Option<Arc<Deployment>> {
    let registry = loader.registry()?;
    let (plan, test) = match registry.plan().await {
        Ok((plan, _)) => (plan, Test::Samples),
        Err(error) => {
            tracing::error!("{error}; until they can, what was served before is");
            // It was tested then.
            (registry.remembered(), Test::Nothing)
        }
    };
    let loaded = loader.load(&plan?.active, loader.workers(), test).await;
    let told = |refusal| {
        tracing::error!(
            "what the registry of models says cannot be served, so MODEL is; {refusal}"
        );
    };
    loaded.map_err(told).ok()
}

impl Fleet {
    /// Looks at the registry every so often and does as it says, for ever; ends at once if there is none.
    pub async fn follow(&self, every: Duration) {
        if self.loader.registry().is_none() {
            return;
        }
        loop {
            self.catch_up().await;
            self.guests.tidy();
            tokio::time::sleep(every).await;
        }
    }

    async fn catch_up(&self) {
        let Some(registry) = self.loader.registry() else {
            return;
        };
        let mut followed = self.changing.lock().await;
        let (plan, tag) = match registry.plan().await {
            Ok(read) => read,
            Err(error) => return self.following.failed(None, &error.into()),
        };
        let Some(plan) = plan.filter(|_| tag != *followed) else {
            return self.following.succeeded();
        };
        if self.following.rests(&tag) {
            return;
        }
        match self.assemble(&plan).await {
            Ok(crew) => {
                self.install(crew);
                *followed = tag;
                self.following.succeeded();
            }
            Err(refusal) => self.following.failed(Some(tag), &refusal),
        }
    }
}
