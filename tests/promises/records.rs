//! The records on this disk do what those in the shared stores do.

use std::sync::Mutex;

use jiff::Timestamp;
use relance::records::{
    self, Filter, ModelName, Page, Queue, Reader, Record, Review, Spool, Tally,
};
use relance::remote::Failure;
use rusqlite::Connection;
use uuid::Uuid;

use crate::support::record_reviews;
use crate::support::record_store::{self as suite, RecordStore};

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
            // Nothing is written twice here; the other stores keep reviews when it is.
            let before = self.reader.get(record.request_id).unwrap();
            let mut record = record.clone();
            record.add_reviews(before.into_iter().flat_map(|r| r.reviews().to_vec()));
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

    async fn review(&self, request_id: Uuid, reviews: &[Review]) -> Result<bool, Failure> {
        let writer = self.writer.lock().unwrap();
        for review in reviews {
            records::review(&writer, Spool::None, request_id, review).unwrap();
        }
        Ok(self.reader.get(request_id).unwrap().is_some())
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
}
