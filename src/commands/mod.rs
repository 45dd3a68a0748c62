//! What the program can do.

pub mod classify;
pub mod healthcheck;
pub mod key;
mod parts;
pub mod serve;

/// Prints the OpenAPI description as JSON.
pub fn openapi() -> anyhow::Result<()> {
    println!(
        "{}",
        serde_json::to_string_pretty(&relance::http::openapi())?
    );
    Ok(())
}
