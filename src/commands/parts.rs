//! The parts that settings switch on.

use std::time::Duration;

use relance::azure;
use relance::cache::{self, Cache, Login, SharedConfig};
use relance::records::{Cosmos, Postgres, Remote};
use relance::registry::Registry;
use relance::settings::{RedisAuth, RegistryPlace, Settings};
use relance::storage::{Limits, Shared, Storage};
use relance::uploads::Blob;

/// The cache of results, shared if there is a Redis.
pub(super) fn cache(settings: &Settings) -> anyhow::Result<Cache> {
    let ttl = Duration::from_secs(settings.cache.cache_ttl_seconds);
    let cache = Cache::new(settings.cache.cache_bytes, ttl);
    let Some(url) = settings.cache.redis_url.clone() else {
        return Ok(cache);
    };
    let login = match settings.cache.redis_auth {
        RedisAuth::Url => Login::Url,
        RedisAuth::Entra => Login::Entra(azure::credential(&settings.shared)?),
    };
    let config = SharedConfig {
        url,
        login,
        computation: settings.computation(),
        ttl,
    };
    Ok(cache.with_shared(cache::Shared::start(config)?))
}

/// Models that can be put in the place of the one that `MODEL` names.
pub(super) fn registry(settings: &Settings) -> anyhow::Result<Option<Registry>> {
    Ok(match settings.registry.place() {
        None => None,
        Some(RegistryPlace::Folder(path)) => Some(Registry::folder(path)),
        Some(RegistryPlace::Container(name)) => {
            let copies = settings.storage.data_dir.join("models");
            Some(Registry::container(&settings.shared, &name, copies)?)
        }
    })
}

/// Records and pictures on this disk, and where instances share them.
pub(super) fn storage(settings: &Settings) -> anyhow::Result<Storage> {
    let disk = &settings.storage;
    let limits = Limits {
        fsync: disk.data_fsync,
        spool_max_bytes: disk.spool_max_bytes,
        spool_full: disk.spool_full,
    };
    let stores = &settings.shared;
    let records = if stores.azure_cosmos_endpoint.is_some() {
        Some(Remote::Cosmos(Box::new(Cosmos::new(
            stores,
            disk.retention_days,
        )?)))
    } else if stores.database_url.is_some() {
        Some(Remote::Postgres(Postgres::new(stores)?))
    } else {
        None
    };
    let pictures = match stores.azure_storage_blob_endpoint {
        Some(_) => Some(Blob::new(stores)?),
        None => None,
    };
    let shared = Shared { records, pictures };
    Ok(Storage::start(&disk.data_dir, limits, shared)?)
}
