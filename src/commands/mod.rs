//! What the program can do.

pub mod classify;
pub mod healthcheck;
pub mod key;
mod parts;
pub mod serve;

/// Prints the OpenAPI description as JSON.
pub fn openapi() -> anyhow::Result<()> {
    println!("{}", relance::http::openapi_text()?);
    Ok(())
}
