//! `relance healthcheck`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Arguments of `relance healthcheck`.
#[derive(clap::Args)]
pub struct Args {
    /// Address the service listens on
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port the service listens on
    #[arg(long, env = "PORT", default_value_t = 5000)]
    port: u16,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 3_000)]
    timeout_ms: u64,
}

/// Succeeds if the service answers that it is ready.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let limit = Duration::from_millis(args.timeout_ms);
        tokio::time::timeout(limit, ask(args))
            .await
            .context("no answer in time")?
    })
}

async fn ask(args: &Args) -> anyhow::Result<()> {
    let host = match args.host {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let address = std::net::SocketAddr::new(host, args.port);
    let uri = format!("http://{address}/health/ready").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client
        .get(uri)
        .await
        .with_context(|| format!("nothing answers at {address}"))?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body);
    if !status.is_success() {
        bail!("not ready: {body}");
    }
    println!("{body}");
    Ok(())
}
