//! The records on this disk do what those in the shared stores do.

use std::sync::Mutex;

use jiff::Timestamp;
use relance::records::{self, Filter, Page, Reader, Record, Spool};
use relance::remote::Failure;
use rusqlite::Connection;
use uuid::Uuid;

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
        Self {
            writer: Mutex::new(records::open_writer(&path, false).unwrap()),
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
            records::forget(&transaction, Spool::None, &[record.request_id]).unwrap();
            records::insert(&transaction, Spool::None, record).unwrap();
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
}
