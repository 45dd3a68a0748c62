//! The Open Inference Protocol (version 2, as KServe and Triton speak it), whatever carries it.
//!
//! What a request must look like, what the model says of itself, and how tensors become calls of the pipeline. The
//! transports (`http::v2`, `grpc`) turn their messages into these types and back, and know nothing of tensors.

mod describe;
mod error;
mod infer;
mod parameters;
mod tensor;

pub use describe::{
    ModelConfig, ModelIndex, ModelMetadata, ServerMetadata, TensorConfig, TensorMetadata,
};
pub use error::{Error, Place};
pub(crate) use infer::refuse_shared_memory;
pub use infer::{Caller, InferRequest, InferResponse, RequestedOutput};
pub use parameters::{Parameter, Parameters};
pub use tensor::{Data, Datatype, InputTensor, OutputData, OutputTensor};

use std::sync::Arc;

use crate::image::InputSize;
use crate::model::{Model, Reference};
use crate::service::{Chosen, Lifecycle, ModelRefusal, Refusal, Service, Stage};
use crate::settings::LimitSettings;

/// What one inference request may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pictures or tensors.
    pub batch: usize,
    /// Bytes of each picture.
    pub picture_bytes: usize,
    /// Bytes of the whole request, in any form and after decompression.
    pub request_bytes: usize,
}

/// Room for what is not a tensor.
const OVERHEAD_BYTES: usize = 64 * 1024;

impl Limits {
    /// The limits that follow from the settings for a model with this input.
    pub fn new(settings: &LimitSettings, input: InputSize) -> Self {
        let LimitSettings {
            max_batch_pictures,
            max_upload_bytes,
            max_inflight_bytes,
            ..
        } = *settings;
        let one = max_upload_bytes.max(tensor::bytes_of(input));
        // Base64 makes four bytes of three.
        let all = max_batch_pictures.saturating_mul(one / 3 * 4 + 4) + OVERHEAD_BYTES;
        // What is decompressed and decoded takes memory beside what was sent.
        let bound = (max_inflight_bytes / 4).max(one + OVERHEAD_BYTES);
        Self {
            batch: max_batch_pictures,
            picture_bytes: max_upload_bytes,
            request_bytes: all.min(bound).min(max_inflight_bytes),
        }
    }
}

/// The protocol's server: the models that can answer, on top of the pipeline.
#[derive(Clone, Copy)]
pub struct Server<'a> {
    /// The pipeline.
    pub service: &'a Service,
    /// Whether it wants traffic.
    pub lifecycle: &'a Lifecycle,
    /// What a request may hold.
    pub limits: Limits,
}

impl<'a> Server<'a> {
    /// Whether traffic should come here.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.stage() == Stage::Ready
    }

    /// Whether the model should get traffic.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn is_model_ready(&self, name: &str, version: &str) -> Result<bool, Error> {
        self.model(name, version).map(|_| self.is_ready())
    }

    /// A model that can answer, by its name and version; without a version the one that answers.
    fn model(&self, name: &str, version: &str) -> Result<Arc<Model>, Error> {
        let named = self.named(name);
        if named.is_empty() {
            let served = &self.service.model().reference.name;
            return Err(Error::UnknownModel(format!(
                "there is no model {name:?}; the one served is {served:?}"
            )));
        }
        let known: Vec<_> = named.iter().map(|m| m.reference.version.clone()).collect();
        let found = named
            .into_iter()
            .find(|model| version.is_empty() || model.reference.version == version);
        found.ok_or_else(|| {
            let known = known.join(", ");
            Error::UnknownModel(format!(
                "the model {name:?} has no version {version:?} that is loaded; there is {known:?}"
            ))
        })
    }

    /// The versions of a model that can answer.
    fn named(&self, name: &str) -> Vec<Arc<Model>> {
        let mut ready = self.service.ready_models();
        ready.retain(|model| model.reference.name == name);
        ready
    }

    /// The model that is to answer a request: by name and version, which is loaded if need be; without a version, the
    /// one that answers this client.
    async fn choose(&self, request: &InferRequest, caller: &Caller) -> Result<Chosen, Error> {
        let asked = (!request.version.is_empty()).then(|| Reference {
            name: request.model.clone(),
            version: request.version.clone(),
        });
        if asked.is_none() {
            self.model(&request.model, "")?;
        }
        let client = caller.client.as_deref();
        let chosen = self.service.choose(asked.as_ref(), client, caller.address);
        match chosen.await {
            Ok(chosen) => Ok(chosen),
            Err(refusal @ Refusal::Model(ModelRefusal::Unknown { .. })) => {
                Err(Error::UnknownModel(refusal.to_string()))
            }
            Err(refusal) => Err(Error::Refused {
                refusal,
                place: None,
            }),
        }
    }
}
