//! Records in Azure Cosmos DB: all that a store of records does, and what happens while the account is not there.

mod failures;

use relance::records::cosmos::Cosmos;
use relance::records::{Filter, Page, Record};
use relance::remote::Failure;
use uuid::Uuid;

use crate::support::cosmos::{Emulator, cosmos};
use crate::support::record_store::{self, RecordStore};

impl RecordStore for Cosmos {
    async fn upsert(&self, records: &[Record]) -> Vec<Result<(), Failure>> {
        Cosmos::upsert(self, records).await
    }
    async fn get(&self, request_id: Uuid) -> Result<Option<Record>, Failure> {
        Cosmos::get(self, request_id).await
    }
    async fn list(&self, filter: &Filter) -> Result<Page, Failure> {
        Cosmos::list(self, filter).await
    }
    async fn delete(&self, request_id: Uuid) -> Result<bool, Failure> {
        Cosmos::delete(self, request_id).await
    }
    async fn refers_to(&self, image_sha256: &str) -> Result<bool, Failure> {
        Cosmos::refers_to(self, image_sha256).await
    }
}

#[tokio::test]
async fn records_come_back_whole() {
    let emulator = Emulator::start().await;
    record_store::records_come_back_whole(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn upserts_replace() {
    let emulator = Emulator::start().await;
    record_store::upserts_replace(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn pages_follow_each_other() {
    let emulator = Emulator::start().await;
    record_store::pages_follow_each_other(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn filters_combine() {
    let emulator = Emulator::start().await;
    record_store::filters_combine(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn bounds_are_exact() {
    let emulator = Emulator::start().await;
    record_store::bounds_are_exact(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn deleted_records_are_gone() {
    let emulator = Emulator::start().await;
    record_store::deleted_records_are_gone(&cosmos(&emulator.url)).await;
}

#[tokio::test]
async fn pictures_are_referred_to() {
    let emulator = Emulator::start().await;
    record_store::pictures_are_referred_to(&cosmos(&emulator.url)).await;
}
