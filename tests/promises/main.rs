//! What the README and the design promise, one file a promise, driven through the real parts.
#![allow(clippy::unwrap_used)]

mod access;
mod classify;
mod cosmos;
mod docs;
mod durability;
mod flight;
mod limits;
mod models;
mod pixels;
mod predict;
mod reading;
mod storage;
mod support;
