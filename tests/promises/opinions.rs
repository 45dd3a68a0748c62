//! What another model says of a picture is kept with the record of its request, wherever that is.

mod kept;
mod shared;
mod upgrade;

use std::path::Path;
use std::sync::Arc;

use relance::records::{Opinion, Record, Remote};
use relance::settings::SpoolFull;
use relance::storage::{Limits, Shared, Shipper, Storage};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::record_opinions::opinion;
use crate::support::record_store::record;

const UNBOUNDED: Limits = Limits {
    fsync: false,
    spool_max_bytes: 0,
    spool_full: SpoolFull::Refuse,
};

/// The number of a record that refers to no picture.
const WITHOUT_PICTURE: u64 = 3;

/// The storage of an instance, which ships until it is dropped.
struct Instance {
    storage: Arc<Storage>,
    shipping: JoinHandle<()>,
}

impl Instance {
    fn start(dir: &Path, records: Option<Remote>) -> Self {
        Self::start_within(dir, records, UNBOUNDED)
    }

    fn start_within(dir: &Path, records: Option<Remote>, limits: Limits) -> Self {
        let shared = Shared {
            records,
            pictures: None,
        };
        let storage = Arc::new(Storage::start(dir, limits, shared).unwrap());
        let shipping = Shipper::new(Arc::clone(&storage)).run(CancellationToken::new());
        Self {
            shipping: tokio::spawn(shipping),
            storage,
        }
    }

    /// Keeps a record of a new request.
    async fn keep(&self, n: u64) -> Record {
        let record = Record {
            request_id: Uuid::now_v7(),
            ..record(n)
        };
        self.storage.keep_record(record).await.unwrap()
    }

    async fn opine(&self, record: &Record, opinion: &Opinion) {
        let said = self.storage.opine(record.request_id, opinion.clone());
        said.await.unwrap();
    }

    /// What is told of a request.
    async fn opinion(&self, request_id: Uuid) -> Option<Opinion> {
        let record = self.storage.find(request_id).await.unwrap();
        record.unwrap().opinion
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shipping.abort();
        self.storage.stop();
    }
}

/// What a model says of a record now.
fn now(record: &Record, agrees: bool) -> Opinion {
    Opinion {
        opinion_id: Uuid::now_v7(),
        ..opinion(1, record, agrees)
    }
}
