//! A model that is loaded, and what it has done.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use metrics::Counter;

use super::speed::Speed;
use crate::model::{Loaded, Model};
use crate::records::ModelName;
use crate::service::classifier::{Classifier, Timings};
use crate::service::predictions::Predictions;
use crate::settings::PictureSettings;
use crate::telemetry::metrics::INFERENCES;

/// A loaded model with its classifiers, which threads take in turn.
pub(in crate::service) struct Deployment {
    model: Arc<Model>,
    classifiers: usize,
    idle: Mutex<Vec<Classifier>>,
    returned: Condvar,
    inferences: Counter,
    speed: Speed,
    predictions: Predictions,
}

impl Deployment {
    pub(super) fn new(loaded: Loaded, picture: PictureSettings) -> Arc<Self> {
        let model = Arc::clone(&loaded.model);
        let classifiers = Classifier::of(loaded, picture);
        Arc::new(Self {
            classifiers: classifiers.len(),
            idle: Mutex::new(classifiers),
            returned: Condvar::new(),
            inferences: metrics::counter!(INFERENCES, "model" => model.reference.to_string()),
            speed: Speed::default(),
            predictions: Predictions::of(&model),
            model,
        })
    }

    /// The model.
    pub(in crate::service) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What records call it.
    pub(in crate::service) fn name(&self) -> ModelName {
        self.model.reference.clone().into()
    }

    /// How many threads it serves at once.
    pub(super) fn classifiers(&self) -> usize {
        self.classifiers
    }

    /// What it answers, counted.
    pub(in crate::service) fn predictions(&self) -> &Predictions {
        &self.predictions
    }

    /// How long it takes.
    pub(super) fn speed(&self) -> &Speed {
        &self.speed
    }

    /// Works with a classifier. Blocks while all are in use, which they are not if there is one for each thread that
    /// uses some.
    pub(in crate::service) fn with<T>(&self, work: impl FnOnce(&mut Classifier) -> T) -> T {
        let mut classifier = self.take();
        let result = work(&mut classifier);
        // Panics within are caught by the classifier itself.
        self.lock().push(classifier);
        self.returned.notify_one();
        result
    }

    fn take(&self) -> Classifier {
        let mut idle = self.lock();
        loop {
            match idle.pop() {
                Some(classifier) => return classifier,
                None => {
                    let woken = self.returned.wait(idle);
                    idle = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Classifier>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an inference.
    pub(in crate::service) fn count(&self, timings: &Timings) {
        self.inferences.increment(1);
        self.speed.record(timings.work());
    }
}
