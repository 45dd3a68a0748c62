//! What the README and the design promise, one file a promise, driven through the real parts.
#![allow(clippy::unwrap_used)]

mod durability;
mod pixels;
mod predict;
mod storage;
mod support;
