//! What was said of answers, in the rows of their requests.

use std::collections::HashSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::super::{KEPT, Remarks};
use super::{Postgres, WRITE};
use crate::remote::{Failure, FailureKind};

const REMARK: &str = include_str!("remark.sql");

impl Postgres {
    /// Adds remarks to records, each request named once; whether there is such a record, for each in order.
    ///
    /// What is rejected keeps nothing else out.
    pub fn remark<'a>(
        &'a self,
        remarks: &'a [Remarks],
    ) -> BoxFuture<'a, Vec<Result<bool, Failure>>> {
        async move {
            match self.try_remark(remarks).await {
                Ok(there) => {
                    let is_there = |one: &Remarks| Ok(there.contains(&one.request_id));
                    remarks.iter().map(is_there).collect()
                }
                Err(failure) if failure.kind == FailureKind::Rejected && remarks.len() > 1 => {
                    let (a, b) = remarks.split_at(remarks.len() / 2);
                    let mut outcomes = self.remark(a).await;
                    outcomes.extend(self.remark(b).await);
                    outcomes
                }
                Err(failure) => vec![Err(failure); remarks.len()],
            }
        }
        .boxed()
    }

    /// The requests that have a record.
    async fn try_remark(&self, remarks: &[Remarks]) -> Result<HashSet<Uuid>, Failure> {
        let ids: Vec<Uuid> = remarks.iter().map(|one| one.request_id).collect();
        let reviews = remarks
            .iter()
            .map(|one| (!one.reviews.is_empty()).then_some(Json(&one.reviews)));
        let reviews: Vec<_> = reviews.collect();
        let opinions: Vec<_> = remarks
            .iter()
            .map(|one| one.opinion.as_ref().map(Json))
            .collect();
        let kept = KEPT as i64;
        let params = [
            (&ids as _, Type::UUID_ARRAY),
            (&reviews as _, Type::JSONB_ARRAY),
            (&opinions as _, Type::JSONB_ARRAY),
            (&kept as _, Type::INT8),
        ];
        let rows = self.call(WRITE, REMARK, &params).await?;
        let there: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        there.map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
    }
}
