//! On their way to the store that all instances share.

use std::time::Duration;

use relance::records::{Postgres, Waiting};
use relance::storage::StorageError;

use super::*;
use crate::support::cosmos::{self, Emulator};
use crate::support::proxy::{Mode, Proxy};
use crate::support::record_reviews::review;
use crate::support::{eventually, postgres};

/// A store of records behind a proxy.
pub struct Store {
    pub proxy: Proxy,
    server: Server,
}

enum Server {
    Postgres { _server: postgres::Server },
    Cosmos { _emulator: Emulator },
}

impl Store {
    pub async fn postgres() -> Self {
        let server = postgres::Server::start().await;
        Self {
            proxy: Proxy::before(server.address(), Mode::Pass),
            server: Server::Postgres { _server: server },
        }
    }

    async fn cosmos() -> Self {
        let emulator = Emulator::start().await;
        Self {
            proxy: Proxy::before(emulator.address().to_owned(), Mode::Pass),
            server: Server::Cosmos {
                _emulator: emulator,
            },
        }
    }

    /// Of PostgreSQL.
    pub fn url(&self) -> String {
        postgres::url(self.proxy.address, "relance", "")
    }

    pub fn remote(&self) -> Remote {
        match self.server {
            Server::Postgres { .. } => postgres_at(&self.url()),
            Server::Cosmos { .. } => Remote::Cosmos(Box::new(cosmos::cosmos(&self.proxy.url()))),
        }
    }
}

pub fn postgres_at(url: &str) -> Remote {
    Remote::Postgres(Postgres::new(&postgres::settings(url)).unwrap())
}

fn nothing_waits(instance: &Instance) -> bool {
    let storage = &instance.storage;
    storage.waiting() == 0 && storage.waiting_remarks() == Waiting::default()
}

pub async fn all_shipped(instance: &Instance) {
    eventually("all has been shipped", async || nothing_waits(instance)).await;
}

async fn opinions_arrive(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), Some(store.remote()));
    let remote = store.remote();
    let at_the_store = async |record: &Record| {
        let found = remote.get(record.request_id).await.unwrap();
        found.unwrap().opinion
    };

    // Of a record that is there already. Who asks does not wait for it.
    let there = instance.keep(WITHOUT_PICTURE).await;
    all_shipped(&instance).await;
    let [first, second] = [now(&there, true), now(&there, false)];
    instance.opine(&there, &second).await;
    let told = instance.opinion(there.request_id).await;
    assert_eq!(told.as_ref(), Some(&second));
    all_shipped(&instance).await;
    assert_eq!(at_the_store(&there).await.as_ref(), Some(&second));
    instance.opine(&there, &first).await;
    all_shipped(&instance).await;
    let kept = at_the_store(&there).await;
    assert_eq!(kept, Some(second), "the other one is earlier");

    // Of a record that waits: it goes with it.
    store.proxy.set(Mode::Refuse);
    let waiting = instance.keep(2).await;
    let said = now(&waiting, true);
    instance.opine(&waiting, &said).await;
    assert_eq!(instance.storage.waiting_remarks(), Waiting::default());
    let told = instance.opinion(waiting.request_id).await;
    assert_eq!(told.as_ref(), Some(&said));
    store.proxy.set(Mode::Pass);
    all_shipped(&instance).await;
    assert_eq!(at_the_store(&waiting).await, Some(said));

    // Of what is removed, nothing is kept.
    let removed = instance.storage.delete(there.request_id).await.unwrap();
    assert!(removed.is_some());
    instance.opine(&there, &now(&there, true)).await;
    let nobody = instance.storage.opine(Uuid::now_v7(), first);
    nobody.await.unwrap();
    all_shipped(&instance).await;
    assert_eq!(remote.get(there.request_id).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn opinions_arrive_in_postgresql() {
    opinions_arrive(&Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opinions_arrive_in_cosmos_db() {
    opinions_arrive(&Store::cosmos().await).await;
}

/// A batch is in the middle of being shipped when something is said of records in it.
async fn opinions_meet_records_on_their_way(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), Some(store.remote()));
    store.proxy.set(Mode::Slow(Duration::from_millis(40)));
    let mut said = Vec::new();
    let mut waited = 0;
    for n in 0..80 {
        let record = instance.keep(n).await;
        tokio::time::sleep(Duration::from_millis(n * 13 % 60)).await;
        let opinion = now(&record, n % 2 == 0);
        instance.opine(&record, &opinion).await;
        if n % 8 == 0 {
            let review = review(u32::try_from(n).unwrap(), "aberta");
            let kept = instance.storage.review(record.request_id, review);
            kept.await.unwrap();
        }
        waited += instance.storage.waiting_remarks().opinions;
        let told = instance.opinion(record.request_id).await;
        assert_eq!(told.as_ref(), Some(&opinion));
        said.push((record.request_id, opinion));
    }
    assert!(waited > 0, "none came to a record that had gone");
    store.proxy.set(Mode::Pass);
    all_shipped(&instance).await;
    let remote = store.remote();
    for (n, (id, opinion)) in said.into_iter().enumerate() {
        let record = remote.get(id).await.unwrap().unwrap();
        assert_eq!(record.opinion, Some(opinion), "{n}");
        assert_eq!(record.reviews().len(), usize::from(n % 8 == 0), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opinions_meet_records_on_their_way_to_postgresql() {
    opinions_meet_records_on_their_way(&Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opinions_meet_records_on_their_way_to_cosmos_db() {
    opinions_meet_records_on_their_way(&Store::cosmos().await).await;
}

/// Many opinions of records that are there, while the store is not, and a restart in between.
async fn the_store_is_away(store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), Some(store.remote()));
    let mut records = Vec::new();
    for n in 0..600 {
        records.push(instance.keep(n).await);
    }
    all_shipped(&instance).await;
    store.proxy.set(Mode::Refuse);
    let mut said = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let opinion = now(record, n % 2 == 0);
        instance.opine(record, &opinion).await;
        said.push(opinion);
    }
    assert_eq!(instance.storage.waiting_remarks().opinions, 600);
    drop(instance);
    let instance = Instance::start(dir.path(), Some(store.remote()));
    assert_eq!(instance.storage.waiting_remarks().opinions, 600);
    store.proxy.set(Mode::Pass);
    all_shipped(&instance).await;
    let remote = store.remote();
    for (record, opinion) in records.iter().zip(said) {
        let found = remote.get(record.request_id).await.unwrap();
        assert_eq!(found.unwrap().opinion, Some(opinion));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_opinion_is_lost_while_postgresql_is_away() {
    the_store_is_away(&Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_opinion_is_lost_while_cosmos_db_is_away() {
    the_store_is_away(&Store::cosmos().await).await;
}

/// Opinions can be had again, so they never take the room of answers.
#[tokio::test]
async fn a_full_spool_takes_no_opinions() {
    let store = Store::postgres().await;
    store.proxy.set(Mode::Refuse);
    for spool_full in [SpoolFull::Refuse, SpoolFull::ShedPictures] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            spool_max_bytes: 3_000,
            spool_full,
            ..UNBOUNDED
        };
        let instance = Instance::start_within(dir.path(), Some(store.remote()), limits);
        let record = instance.keep(0).await;
        let said = now(&record, true);
        instance.opine(&record, &said).await;
        for n in 1..5 {
            instance.keep(n).await;
        }
        let refused = instance
            .storage
            .opine(record.request_id, now(&record, false));
        let refused = refused.await;
        assert!(
            matches!(refused, Err(StorageError::SpoolFull(_))),
            "{refused:?}"
        );
        assert_eq!(instance.opinion(record.request_id).await, Some(said));
    }
}

/// Opinions move along when records get a store that is shared, and come back when it is switched off.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_switched_on_later_gets_the_opinions() {
    let store = Store::postgres().await;
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), None);
    let record = instance.keep(1).await;
    let first = now(&record, true);
    instance.opine(&record, &first).await;
    drop(instance);
    let instance = Instance::start(dir.path(), Some(store.remote()));
    all_shipped(&instance).await;
    let found = store.remote().get(record.request_id).await.unwrap();
    assert_eq!(found.unwrap().opinion, Some(first));

    store.proxy.set(Mode::Refuse);
    let late = instance.keep(2).await;
    let second = now(&late, false);
    instance.opine(&late, &second).await;
    drop(instance);
    let instance = Instance::start(dir.path(), None);
    assert_eq!(instance.opinion(late.request_id).await, Some(second));
}
