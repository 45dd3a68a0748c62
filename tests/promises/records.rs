//! The records on this disk do what those in the shared stores do.

use std::sync::Mutex;

use jiff::Timestamp;
use relance::records::{
    self, Filter, ModelName, Page, Queue, Reader, Record, Remark, Remarks, Spool, Tally,
};
use relance::remote::Failure;
use rusqlite::Connection;
use uuid::Uuid;

use crate::support::record_store::{self as suite, RecordStore};
use crate::support::{record_opinions, record_reviews};

struct Local {
    writer: Mutex<Connection>,
    reader: Reader,
    _dir: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relance.db");
        let writer = records::open_writer(&path, false).unwrap();
        records::prepare(&writer, Spool::None).unwrap();
        Self {
            writer: Mutex::new(writer),
            reader: Reader::new(path),
            _dir: dir,
        }
    }
}

impl RecordStore for Local {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        let mut writer = self.writer.lock().unwrap();
        let transaction = writer.transaction().unwrap();
        for record in records {
            // Nothing is written twice here; the other stores keep remarks when it is.
            let before = self.reader.get(record.request_id).unwrap();
            let mut record = record.clone();
            if let Some(before) = before {
                record.add(before.remarks());
            }
            records::forget(&transaction, Spool::None, &[record.request_id]).unwrap();
            records::insert(&transaction, Spool::None, &record).unwrap();
        }
        transaction.commit().unwrap();
        vec![Ok(()); records.len()]
    }

    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        Ok(self.reader.get(request_id).unwrap())
    }

    async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        Ok(self.reader.list(filter).unwrap())
    }

    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        let writer = self.writer.lock().unwrap();
        let removed = records::forget(&writer, Spool::Requests, &[request_id]).unwrap();
        Ok(removed > 0)
    }

    async fn refers_to(&self, image_sha256: &str, except: Uuid) -> Result<bool, Failure> {
        let ever = Timestamp::UNIX_EPOCH;
        Ok(self.reader.refers_to(image_sha256, except, ever).unwrap())
    }

    async fn remark(&self, remarks: &[Remarks]) -> Vec<Result<bool, Failure>> {
        let writer = self.writer.lock().unwrap();
        let add = |one: &Remarks| {
            let reviews = one.reviews.iter().cloned().map(Remark::Review);
            let opinion = one.opinion.iter().cloned().map(Remark::Opinion);
            for remark in reviews.chain(opinion) {
                records::remark(&writer, Spool::None, one.request_id, &remark).unwrap();
            }
            Ok(self.reader.get(one.request_id).unwrap().is_some())
        };
        remarks.iter().map(add).collect()
    }

    async fn unreviewed(&self, queue: Queue, limit: usize) -> Result<Vec<Record>, Failure> {
        Ok(self.reader.unreviewed(queue, limit).unwrap())
    }

    async fn tallies(&self, model: Option<&ModelName>) -> Result<Vec<Tally>, Failure> {
        Ok(self.reader.tallies(model).unwrap())
    }
}

#[tokio::test]
async fn does_what_every_store_of_records_must() {
    suite::records_come_back_whole(&Local::new()).await;
    suite::upserts_replace(&Local::new()).await;
    suite::pages_follow_each_other(&Local::new()).await;
    suite::filters_combine(&Local::new()).await;
    suite::bounds_are_exact(&Local::new()).await;
    suite::deleted_records_are_gone(&Local::new()).await;
    suite::pictures_are_referred_to(&Local::new()).await;
    record_reviews::reviews_come_back_whole(&Local::new()).await;
    record_reviews::reviewers_at_once_lose_nothing(&Local::new()).await;
    record_reviews::reviews_are_found(&Local::new()).await;
    record_reviews::queues_are_in_order(&Local::new()).await;
    record_reviews::figures_count_everything(&Local::new()).await;
    record_opinions::opinions_come_back_whole(&Local::new()).await;
    record_opinions::remarks_come_in_batches(&Local::new()).await;
    record_opinions::opinions_at_once_leave_the_latest(&Local::new()).await;
    record_opinions::opinions_are_found(&Local::new()).await;
}
