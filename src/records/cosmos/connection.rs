//! The connection: made when it is needed, by one caller at a time, and made again after failures.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::{
    ConnectionPoolOptions, OperationOptionsBuilder, ThrottlingRetryOptionsBuilder, UserAgentSuffix,
};
use azure_data_cosmos::{CosmosClient, CosmosRuntime};
use tokio::sync::OnceCell;

use super::account::Target;
use super::failure;
use crate::remote::{Failure, FailureKind};

/// Longest time for connecting.
const LIMIT: Duration = Duration::from_secs(4);

/// Longest time for a TCP and TLS connection, and for one of the requests that connecting takes.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);

/// Rest after a failed attempt, doubled after every further one.
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The container of all records, connected to when needed.
pub struct Connection {
    target: Target,
    runtime: OnceCell<CosmosRuntime>,
    current: Mutex<Option<Arc<ContainerClient>>>,
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    failed: u32,
    last: Option<(Instant, Failure)>,
}

impl Connection {
    pub fn new(target: Target) -> Self {
        Self {
            target,
            runtime: OnceCell::new(),
            current: Mutex::default(),
            attempts: tokio::sync::Mutex::default(),
        }
    }

    /// The container. Whoever comes while another connects waits for the outcome, and whoever comes soon after a
    /// failure gets that failure at once.
    pub async fn container(&self) -> Result<Arc<ContainerClient>, Failure> {
        if let Some(container) = self.current().clone() {
            return Ok(container);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(container) = self.current().clone() {
            return Ok(container);
        }
        if let Some(failure) = attempts.resting() {
            return Err(failure);
        }
        let connected = match tokio::time::timeout(LIMIT, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::timeout(LIMIT)),
        };
        match connected {
            Ok(container) => {
                *attempts = Attempts::default();
                let container = Arc::new(container);
                *self.current() = Some(Arc::clone(&container));
                Ok(container)
            }
            Err(failure) => {
                attempts.failed = attempts.failed.saturating_add(1);
                attempts.last = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Takes note that a call failed: unless the account answered it properly, the next one connects anew.
    pub fn failed(&self, container: &Arc<ContainerClient>, failure: &Failure) {
        if matches!(failure.kind, FailureKind::Throttled | FailureKind::Rejected) {
            return;
        }
        let mut current = self.current();
        if current.as_ref().is_some_and(|c| Arc::ptr_eq(c, container)) {
            *current = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<ContainerClient>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<ContainerClient, Failure> {
        let target = &self.target;
        let opened = async {
            let runtime = self
                .runtime
                .get_or_try_init(|| runtime(target.encrypted))
                .await?;
            let client = CosmosClient::builder()
                .with_runtime(runtime.clone())
                .build(target.account.clone(), target.routing.clone())
                .await?;
            let container = client
                .database_client(target.database.clone())
                .container_client(target.container.clone(), None)
                .await?;
            let properties = container.read(None).await?.into_model()?;
            Ok((container, properties.partition_key))
        };
        let (container, partition_key) = opened.await.map_err(|e| self.explain(&e))?;
        if partition_key.paths() != ["/id"] {
            let text = format!(
                "container {} in database {} is not partitioned by /id (AZURE_COSMOS_CONTAINER)",
                target.container, target.database
            );
            return Err(Failure::new(FailureKind::Denied, text));
        }
        Ok(container)
    }

    fn explain(&self, error: &azure_data_cosmos::CosmosError) -> Failure {
        let mut failure = failure::of(error);
        if error.status().is_not_found() {
            failure.message = format!(
                "there is no container {} in a database {}: both must exist (AZURE_COSMOS_CONTAINER, \
                 AZURE_COSMOS_DATABASE)",
                self.target.container, self.target.database
            );
        }
        // No record has been looked at yet.
        if failure.kind == FailureKind::Rejected {
            failure.kind = FailureKind::Denied;
        }
        failure
    }
}

impl Attempts {
    /// The last failure, if it was not long ago.
    fn resting(&self) -> Option<Failure> {
        let (when, failure) = self.last.as_ref()?;
        let doubled = FIRST_REST.saturating_mul(1 << self.failed.saturating_sub(1).min(10));
        let asked = failure.retry_after.unwrap_or_default();
        let rest = doubled.max(asked).min(LONGEST_REST);
        let left = rest.checked_sub(when.elapsed())?;
        let mut failure = failure.clone();
        failure.retry_after = Some(left);
        Some(failure)
    }
}

/// Connections and bounds. Failures are reported soon, for whoever calls tries again.
async fn runtime(encrypted: bool) -> azure_data_cosmos::Result<CosmosRuntime> {
    let pool = ConnectionPoolOptions::builder()
        .with_max_connect_timeout(REQUEST_LIMIT)
        .with_max_metadata_request_timeout(REQUEST_LIMIT)
        .with_max_dataplane_request_timeout(REQUEST_LIMIT)
        // Without TLS there is an emulator, and nothing to agree on HTTP/2 with.
        .with_is_http2_allowed(encrypted)
        .build()?;
    let no_waiting = ThrottlingRetryOptionsBuilder::new()
        .with_max_retry_count(0)
        .build();
    let operation = OperationOptionsBuilder::new()
        .with_throttling_retry_options(no_waiting)
        .with_max_failover_retry_count(1)
        .build();
    CosmosRuntime::builder()
        .with_connection_pool(pool)
        .with_default_operation_options(operation)
        .with_user_agent_suffix(UserAgentSuffix::try_from("relance")?)
        .build()
        .await
}
