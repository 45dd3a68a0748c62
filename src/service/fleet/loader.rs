//! Models from the registry, and the one that the setting `MODEL` names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use super::deployment::Deployment;
use super::error::ModelRefusal;
use crate::model::{self, Loaded, Model, ModelError, Peek, Reference};
use crate::registry::{LABELS, Registry, RegistryError, Sample};
use crate::service::classifier::Classifier;
use crate::settings::{ModelSettings, PictureSettings, Provider};

/// How nice the thread is that loads a model beside those that answer: it gets about a tenth of a busy processor.
const NICE: i32 = 10;

/// What a model must show before it is used.
#[derive(Clone, Copy)]
pub(super) enum Test {
    /// That it answers the samples right.
    Samples,
    /// Only that it runs.
    Nothing,
}

/// Where models come from.
pub struct Models {
    /// How they are run, and the one that answers if nothing else was said.
    pub settings: ModelSettings,
    /// Others.
    pub registry: Option<Registry>,
}

pub(super) struct Loader {
    models: Models,
    picture: PictureSettings,
    /// What `MODEL` is called; nothing if it cannot be read.
    own: Option<Reference>,
    peeked: Mutex<HashMap<PathBuf, (SystemTime, Peek)>>,
}

impl Loader {
    pub(super) fn new(models: Models, picture: PictureSettings) -> Self {
        Self {
            own: model::identify(&models.settings.model).ok(),
            models,
            picture,
            peeked: Mutex::default(),
        }
    }

    /// Threads that classify.
    pub(super) fn workers(&self) -> usize {
        self.models.settings.workers()
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.models.registry.as_ref()
    }

    /// Loads the model that `MODEL` names.
    pub(super) fn load_own(&self) -> Result<Arc<Deployment>, ModelError> {
        let settings = &self.models.settings;
        let loaded = model::load(settings, &settings.model, self.workers())?;
        Ok(Deployment::new(loaded, self.picture))
    }

    /// The models there are.
    pub(super) async fn list(&self) -> Result<Vec<Reference>, RegistryError> {
        let mut known = match self.registry() {
            Some(registry) => registry.list().await?,
            None => Vec::new(),
        };
        if let Some(own) = self.own.as_ref().filter(|own| !known.contains(own)) {
            known.insert(0, own.clone());
        }
        Ok(known)
    }

    /// Loads a model with so many classifiers, without disturbing others more than it must. One that is to answer
    /// clients who did not ask for it is tested on the samples.
    pub(super) async fn load(
        &self,
        model: &Reference,
        classifiers: usize,
        test: Test,
    ) -> Result<Arc<Deployment>, ModelRefusal> {
        let (path, samples) = match self.registry().filter(|_| !self.is_own(model)) {
            Some(registry) => {
                let Some(path) = registry.fetch(model).await? else {
                    return Err(self.unknown(model).await);
                };
                let samples = match test {
                    Test::Samples => registry.samples(&model.name).await?,
                    Test::Nothing => Vec::new(),
                };
                (path, samples)
            }
            None if self.is_own(model) => (self.models.settings.model.clone(), Vec::new()),
            None => return Err(self.unknown(model).await),
        };
        let settings = self.settings(&path, model);
        let (reference, picture) = (model.clone(), self.picture);
        let work = move || {
            let loaded = model::load_as(&settings, &path, Some(reference), classifiers)
                .map_err(|error| error.to_string())?;
            checked(loaded, picture, &samples)
        };
        // OpenVINO's threads would stay as nice as the one that made them.
        let nice = match self.models.settings.provider {
            Provider::Cpu => NICE,
            Provider::Openvino => 0,
        };
        apart(nice, work)
            .await
            .map_err(|reason| ModelRefusal::Unusable {
                model: model.clone(),
                reason,
            })
    }

    async fn unknown(&self, model: &Reference) -> ModelRefusal {
        match self.list().await {
            Ok(known) => ModelRefusal::Unknown {
                asked: model.clone(),
                known,
            },
            Err(error) => error.into(),
        }
    }

    /// What a file says of itself, of a model that is not loaded; nothing if that cannot be read.
    pub(super) async fn peek(&self, model: &Reference) -> Option<Peek> {
        let path = match self.registry().filter(|_| !self.is_own(model)) {
            Some(registry) => registry.here(model)?,
            None => self.models.settings.model.clone(),
        };
        let known = self.peeked().get(&path).cloned();
        let read = path.clone();
        let peeked = tokio::task::spawn_blocking(move || {
            let changed = std::fs::metadata(&read).ok()?.modified().ok()?;
            match known.filter(|(then, _)| *then == changed) {
                Some(known) => Some(known),
                None => Some((changed, model::peek(&read).ok()?)),
            }
        });
        let (changed, peek) = peeked.await.ok()??;
        self.peeked().insert(path, (changed, peek.clone()));
        Some(peek)
    }

    fn peeked(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (SystemTime, Peek)>> {
        self.peeked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_own(&self, model: &Reference) -> bool {
        self.own.as_ref() == Some(model)
    }

    /// `LABELS` is about `MODEL`; others have their own beside them.
    fn settings(&self, path: &Path, model: &Reference) -> ModelSettings {
        let mut settings = self.models.settings.clone();
        if !self.is_own(model) {
            settings.labels = Some(path.with_file_name(LABELS)).filter(|labels| labels.exists());
        }
        settings
    }
}

/// The loaded model, if it answers all samples right.
fn checked(
    loaded: Loaded,
    picture: PictureSettings,
    samples: &[Sample],
) -> Result<Arc<Deployment>, String> {
    let deployment = Deployment::new(loaded, picture);
    let model = deployment.model();
    for sample in samples {
        let says = deployment.with(|classifier| answer(classifier, model, sample))?;
        if says != sample.class {
            return Err(format!("it answers {} with {says:?}", sample.path));
        }
    }
    Ok(deployment)
}

fn answer(classifier: &mut Classifier, model: &Model, sample: &Sample) -> Result<String, String> {
    let classified = classifier.classify(&sample.bytes);
    let (classification, _) = classified.map_err(|error| format!("{}: {error}", sample.path))?;
    let best = classification.ranking.first();
    let class = best.and_then(|best| model.labels.get(best.index as usize));
    Ok(class.cloned().unwrap_or_default())
}

/// Works on a thread of its own that lets others go first.
async fn apart<T: Send + 'static>(
    nice: i32,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, outcome) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("loading".into())
        .spawn(move || {
            be_nice(nice);
            // Whoever asked may have gone.
            let _ = done.send(work());
        });
    spawned.map_err(|error| format!("no thread to load it: {error}"))?;
    let ended = |_| Err("it made the thread that loaded it panic".to_owned());
    outcome.await.unwrap_or_else(ended)
}

/// Lets other threads go before this one. On Linux, no process means the calling thread.
pub(super) fn be_nice(nice: i32) {
    if nice > 0
        && let Err(error) = setpriority_process(None, nice)
    {
        tracing::debug!("a thread cannot be made to wait for others: {error}");
    }
}
