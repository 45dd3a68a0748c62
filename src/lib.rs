//! relance serves YOLO image classifiers: bytes of a picture in, its class out.
//!
//! Data flows one way: `http` and `grpc` (transport; `oip` is the protocol that they share) → `service` (the pipeline) → `storage` (what is kept where) and the parts
//! (`image`, `model`, `registry`, `cache`; `journal`, `records`, `uploads`; `dataset`), which know nothing of each other.

pub mod access;
pub mod azure;
pub mod cache;
pub mod classification;
pub mod dataset;
pub mod grpc;
pub mod http;
pub mod image;
pub mod journal;
pub mod locate;
pub mod model;
pub mod oip;
pub mod records;
pub mod registry;
pub mod remote;
pub mod service;
pub mod settings;
pub mod storage;
pub mod telemetry;
pub mod uploads;
