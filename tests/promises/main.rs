//! What the README and the design promise, one file a promise, driven through the real parts.
#![allow(clippy::unwrap_used)]

mod access;
mod batch;
mod blob;
mod blob_failures;
mod blob_identity;
mod classify;
mod cosmos;
mod docs;
mod durability;
mod faults;
mod flight;
mod fuzz_seeds;
mod headers;
mod hostile;
mod hostile_pictures;
mod inference;
mod keys;
mod limits;
mod logs;
mod metrics;
mod models;
mod pixels;
mod postgres;
mod predict;
mod privacy;
mod rate_limit;
mod reading;
mod records;
mod redis;
mod secrets;
mod shipping;
mod storage;
mod support;
mod throttle;
mod traces;
