//! Azure Cosmos DB as an emulator of its own process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use clap::Parser;
use relance::records::cosmos::Cosmos;
use relance::settings::Shared;
use serde_json::{Value, json};

use super::repo;

/// A key as accounts have it; the emulator takes any.
pub const KEY: &str = "c2VjcmV0IGtleSBvZiBubyBhY2NvdW50IGF0IGFsbA==";

/// An emulated account; ended when dropped.
pub struct Emulator {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    child: Child,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
}

/// Settings as the service reads them.
pub fn settings(flags: &[(&str, &str)]) -> Shared {
    let flags = flags
        .iter()
        .map(|(name, value)| format!("--azure-cosmos-{name}={value}"));
    let program = std::iter::once("relance".to_owned());
    Cli::parse_from(program.chain(flags)).shared
}

/// The container of the settings' defaults in the account at `url`.
pub fn cosmos(url: &str) -> Cosmos {
    Cosmos::new(&settings(&[("endpoint", url), ("key", KEY)]), 0).unwrap()
}

/// The definition of the container that Azure is given, too.
pub fn container() -> Value {
    let text = std::fs::read(repo().join("infra/azure/cosmos-container.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

impl Emulator {
    /// An account without a database.
    pub fn empty() -> Self {
        let mut child = Command::new(program())
            // It ends with its standard input, so it never outlives the tests.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("ready on ").unwrap().to_owned();
        Self { url, child }
    }

    /// An account with the database and the container that the settings name by default.
    pub async fn start() -> Self {
        let emulator = Self::empty();
        emulator.create_container(&container(), None).await;
        emulator
    }

    /// Adds the database, unless it is there, and the container, with so many request units a second or without bound.
    pub async fn create_container(&self, definition: &Value, throughput: Option<u32>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let database = client
            .post(format!("{}/dbs", self.url))
            .json(&json!({ "id": "relance" }));
        let created = database.send().await.unwrap().status().as_u16();
        assert!([201, 409].contains(&created), "{created}");
        let mut container = client.post(format!("{}/dbs/relance/colls", self.url));
        if let Some(throughput) = throughput {
            container = container.header("x-ms-offer-throughput", throughput);
        }
        let created = container.json(definition).send().await.unwrap().status();
        assert_eq!(created, 201);
    }

    /// Removes the container with all that is in it.
    pub async fn delete_container(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/dbs/relance/colls/requests", self.url);
        assert_eq!(client.delete(url).send().await.unwrap().status(), 204);
    }

    /// All items as they are stored.
    pub async fn items(&self) -> Vec<Value> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/dbs/relance/colls/requests/docs", self.url);
        let feed = client.get(url).header("x-ms-max-item-count", "-1");
        let feed: Value = feed.send().await.unwrap().json().await.unwrap();
        feed["Documents"].as_array().unwrap().clone()
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Built the first time, which takes a minute or two; afterwards cargo only looks whether anything changed.
fn program() -> &'static std::path::Path {
    static PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = repo().join("target/cosmos-emulator");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "--quiet",
                "--manifest-path",
            ])
            .arg(repo().join("tests/cosmos-emulator/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()
            .unwrap();
        assert!(built.success(), "the emulator does not build");
        target.join("release/cosmos-emulator")
    })
}
