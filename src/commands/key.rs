//! `relance key`.

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Arguments of `relance key`.
#[derive(clap::Args)]
pub struct Args {
    /// Who will hold the key; appears in records and logs
    name: String,
}

/// Prints a new key and its entry for `API_KEYS`.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let name = args.name.trim();
    let valid =
        !name.is_empty() && !name.contains([':', ',']) && !name.chars().any(char::is_control);
    ensure!(
        valid,
        "the name of a key must not be empty and must hold no colon, comma or control character"
    );
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|e| anyhow::anyhow!("the system gives no random numbers: {e}"))?;
    let key = format!("relance_{}", URL_SAFE_NO_PAD.encode(random));
    println!("key (shown only now):  {key}");
    println!(
        "entry for API_KEYS:    {name}:{}",
        hex::encode(Sha256::digest(&key))
    );
    Ok(())
}
