//! The calls of the Open Inference Protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ConnectInfo;
use tonic::{Request, Response, Status};

use super::convert;
use super::proto::grpc_inference_service_server::GrpcInferenceService;
use super::proto::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use super::receive::Deadline;
use super::status::refusal;
use crate::http::App;
use crate::http::auth;
use crate::oip::Caller;

/// The service of the protocol.
pub(super) struct Inference {
    app: Arc<App>,
}

impl Inference {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn caller<T>(&self, request: &Request<T>) -> Caller {
        let extensions = request.extensions();
        let name = extensions
            .get::<auth::Caller>()
            .and_then(|caller| caller.0.as_deref());
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let headers = request.metadata().clone().into_headers();
        let deadline = extensions.get::<Deadline>();
        Caller {
            client: name.map(str::to_owned),
            address: peer.map(|peer| self.app.address(peer.0, &headers)),
            account: extensions.get().cloned(),
            deadline: deadline.map_or_else(|| Instant::now() + self.app.timeout(), |d| d.0),
        }
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.app.inference().is_ready();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.get_ref();
        let ready = self.app.inference().is_model_ready(name, version);
        let ready = ready.map_err(refusal)?;
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        let metadata = self.app.inference().metadata();
        Ok(Response::new(metadata.into()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.get_ref();
        let metadata = self.app.inference().model_metadata(name, version);
        Ok(Response::new(metadata.map_err(refusal)?.into()))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let caller = self.caller(&request);
        let (request, binary) = convert::request(request.into_inner()).map_err(refusal)?;
        let response = self.app.inference().infer(request, caller).await;
        let response = convert::response(response.map_err(refusal)?, binary);
        Ok(Response::new(response))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = request.get_ref();
        let config = self.app.inference().model_config(name, version);
        let config = config.map_err(refusal)?;
        Ok(Response::new(ModelConfigResponse {
            config: Some(config.into()),
        }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let index = self.app.inference().index(request.get_ref().ready);
        Ok(Response::new(index.into()))
    }
}
