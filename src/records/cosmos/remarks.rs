//! What was said of answers, in the items of their requests.

use std::sync::Arc;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::{ItemWriteOptions, Precondition};
use uuid::Uuid;

use super::{Cosmos, failure, item};
use crate::records::{Record, Remarks};
use crate::remote::{Failure, FailureKind};

/// How often a change is tried that somebody else's came before.
const ATTEMPTS: usize = 20;

impl Cosmos {
    /// Adds remarks to records, each request named once; whether there is such a record, for each in order.
    pub async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>> {
        self.side_by_side(remarks, |container, remarks| self.add(container, remarks))
            .await
    }

    async fn add(
        &self,
        container: Arc<ContainerClient>,
        remarks: &Remarks,
    ) -> Result<bool, Failure> {
        let add = |before: &Record| {
            let mut after = before.clone();
            after.add(remarks.clone());
            (after != *before).then_some(after)
        };
        self.change(container, remarks.request_id, add).await
    }

    /// Adds a record, or replaces the one that is there and leaves it what was said of it.
    pub(super) async fn write(
        &self,
        container: Arc<ContainerClient>,
        record: &Record,
    ) -> Result<(), Failure> {
        let item = item::of(record, self.retention_days)?;
        let id = record.request_id.to_string();
        match container.create_item(id.clone(), &id, item, None).await {
            Err(error) if error.status().is_conflict() => {}
            created => return created.map(drop).map_err(|e| failure::of(&e)),
        }
        let replace = |kept: &Record| {
            let mut new = record.clone();
            new.add(kept.remarks());
            Some(new)
        };
        match self.change(container, record.request_id, replace).await? {
            true => Ok(()),
            false => Err(contended("it was removed while it was being replaced")),
        }
    }

    /// Changes a record as `edit` says, if it says anything, and anew if somebody else did so meanwhile; whether there
    /// is such a record.
    async fn change(
        &self,
        container: Arc<ContainerClient>,
        request_id: Uuid,
        edit: impl Fn(&Record) -> Option<Record>,
    ) -> Result<bool, Failure> {
        let id = request_id.to_string();
        for _ in 0..ATTEMPTS {
            let read = match container.read_item(id.clone(), &id, None).await {
                Err(error) if failure::is_missing_item(&error) => return Ok(false),
                read => read.map_err(|e| failure::of(&e))?,
            };
            let unchanged = read.headers().etag().cloned().map(Precondition::IfMatch);
            let before: Record = read.into_model().map_err(|e| failure::of(&e))?;
            let Some(after) = edit(&before) else {
                return Ok(true);
            };
            let item = item::of(&after, self.retention_days)?;
            let condition = unchanged.ok_or_else(|| contended("the item has no etag"))?;
            let options = ItemWriteOptions::default().with_precondition(condition);
            let replaced = container
                .replace_item(id.clone(), &id, item, Some(options))
                .await;
            match replaced {
                Ok(_) => return Ok(true),
                Err(error) if error.status().is_precondition_failed() => {}
                Err(error) if failure::is_missing_item(&error) => return Ok(false),
                Err(error) => return Err(failure::of(&error)),
            }
        }
        Err(contended("others change the record all the time"))
    }
}

fn contended(text: &str) -> Failure {
    Failure::new(FailureKind::Throttled, text)
}
