//! Containers of pictures, and pictures to put there.

use bytes::Bytes;
use clap::Parser;
use relance::settings::Shared;
use relance::uploads::Uploads;
use relance::uploads::blob::{About, Blob};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::azurite::{Azurite, KEY};

/// More than any picture of these tests has.
pub const MAX: u64 = 20 * 1024 * 1024;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
}

/// The settings that these flags give.
pub fn settings(arguments: &[&str]) -> Shared {
    let program = std::iter::once("relance");
    Cli::parse_from(program.chain(arguments.iter().copied())).shared
}

/// A container of the emulator, or of what stands in front of it.
pub fn open(endpoint: &str, key: &str, container: &str) -> Blob {
    let settings = settings(&[
        "--azure-storage-blob-endpoint",
        endpoint,
        "--azure-storage-key",
        key,
        "--azure-storage-container",
        container,
    ]);
    Blob::new(&settings).unwrap()
}

/// An emulator and its empty container `uploads`.
pub async fn with_container() -> (Azurite, Blob) {
    let azurite = Azurite::http();
    azurite.create_container("uploads").await;
    let blob = open(&azurite.endpoint(), KEY, "uploads");
    (azurite, blob)
}

/// What a picture with these bytes is called.
pub fn reference(bytes: &[u8]) -> String {
    Uploads::reference(&Sha256::digest(bytes).into(), "jpg")
}

/// A request that brought a file of this name.
pub fn about(name: &str) -> About {
    About {
        media_type: "image/jpeg",
        request_id: Uuid::now_v7(),
        image_name: name.to_owned(),
        timestamp: "2026-03-01T12:30:15.25Z".parse().unwrap(),
    }
}

/// Bytes of a picture of about this size, like no other.
pub fn bytes(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}
