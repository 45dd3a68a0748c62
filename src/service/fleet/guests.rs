//! Models that were asked for by name and are not on duty.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::deployment::Deployment;
use super::error::ModelRefusal;
use super::loader::{Loader, Test};
use crate::model::Reference;

/// How many are kept at once. Each takes as much memory as the model that answers.
const SEATS: usize = 2;

/// How long one stays that nobody asks for.
const STAY: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(super) struct Guests {
    seated: Mutex<Vec<Guest>>,
    /// One at a time comes in.
    door: tokio::sync::Mutex<()>,
}

struct Guest {
    deployment: Arc<Deployment>,
    asked: Instant,
}

impl Guests {
    /// One that is here.
    pub(super) fn find(&self, model: &Reference) -> Option<Arc<Deployment>> {
        let mut seated = self.seated();
        let guest = seated
            .iter_mut()
            .find(|guest| guest.deployment.model().reference == *model)?;
        guest.asked = Instant::now();
        Some(Arc::clone(&guest.deployment))
    }

    /// One that comes if it is not here; whoever has been asked for least lately makes room.
    pub(super) async fn invite(
        &self,
        loader: &Loader,
        model: &Reference,
    ) -> Result<Arc<Deployment>, ModelRefusal> {
        let _door = self.door.lock().await;
        // It may have come while this one waited at the door.
        if let Some(here) = self.find(model) {
            return Ok(here);
        }
        let deployment = loader.load(model, loader.workers(), Test::Nothing).await?;
        let mut seated = self.seated();
        seated.sort_by_key(|guest| std::cmp::Reverse(guest.asked));
        seated.truncate(SEATS - 1);
        seated.push(Guest {
            deployment: Arc::clone(&deployment),
            asked: Instant::now(),
        });
        Ok(deployment)
    }

    /// Takes leave of those that nobody has asked for lately.
    pub(super) fn tidy(&self) {
        self.seated().retain(|guest| guest.asked.elapsed() < STAY);
    }

    /// All that are here.
    pub(super) fn all(&self) -> Vec<Arc<Deployment>> {
        let seated = self.seated();
        seated
            .iter()
            .map(|guest| Arc::clone(&guest.deployment))
            .collect()
    }

    fn seated(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
