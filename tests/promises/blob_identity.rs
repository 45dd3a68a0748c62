//! In production the service shows Azure Blob Storage a token of its managed identity, over HTTPS.
//!
//! Identity and trusted certificates come from the environment of a process, so the part under test runs in one of its
//! own: this program again, which then is a probe.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use relance::uploads::blob::Blob;

use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::azurite::Azurite;
use crate::support::container::{MAX, about, bytes, reference, settings};
use crate::support::identity::Identity;

const PROBE: &str = "RELANCE_TEST_PROBE";

/// Stores a picture as soon as it can, reads and removes it, and says how each call went.
async fn probe(endpoint: &str) {
    let blob = match Blob::new(&settings(&["--azure-storage-blob-endpoint", endpoint])) {
        Ok(blob) => blob,
        Err(error) => return println!("settings: {error}"),
    };
    let picture = bytes(50_000, 1);
    let reference = reference(&picture);
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let start = Instant::now();
        let stored = blob.put(&reference, &about("a.jpg"), picture.clone()).await;
        let took = start.elapsed();
        println!("put after {} ms: {stored:?}", took.as_millis());
        if stored.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let read = blob.get(&reference, MAX).await;
    println!("get: {:?}", read.map(|read| read == Some(picture)));
    println!("delete: {:?}", blob.delete(&reference).await);
    println!("presence: {:?}", blob.presence().state());
}

/// A running probe; killed when dropped.
struct Probe {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Probe {
    fn start(endpoint: &str, environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("blob_identity::a_token_of_the_managed_identity_opens_the_store")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env(PROBE, endpoint)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next about `call`.
    fn says(&mut self, call: &str) -> String {
        let line = self.lines.by_ref().map(Result::unwrap);
        let mut found = line.skip_while(|line| !line.contains(call));
        let line = found.next().expect("the probe ended");
        let (_, said) = line.split_once(": ").unwrap();
        said.to_owned()
    }

    /// How long its next attempt to store took, and how it went.
    fn attempt(&mut self) -> (Duration, String) {
        let line = self.lines.by_ref().map(Result::unwrap);
        let mut found = line.skip_while(|line| !line.contains("put after "));
        let line = found.next().expect("the probe ended");
        let (_, rest) = line.split_once("put after ").unwrap();
        let (took, said) = rest.split_once(" ms: ").unwrap();
        (
            Duration::from_millis(took.parse().unwrap()),
            said.to_owned(),
        )
    }

    fn is_satisfied(&mut self) {
        assert_eq!(self.says("get: "), "Ok(true)");
        assert_eq!(self.says("delete: "), "Ok(())");
        assert_eq!(self.says("presence: "), "Up");
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn store(authority: &Authority) -> Azurite {
    let azurite = Azurite::https(authority);
    azurite.create_container("uploads").await;
    azurite
}

fn trusting(authority: &Authority) -> (&'static str, String) {
    let root = authority.root().to_str().unwrap().to_owned();
    ("SSL_CERT_FILE", root)
}

#[tokio::test]
async fn a_token_of_the_managed_identity_opens_the_store() {
    if let Ok(endpoint) = std::env::var(PROBE) {
        return probe(&endpoint).await;
    }
    let authority = Authority::new();
    let (azurite, identity) = (store(&authority).await, Identity::start());
    let [endpoint, header] = identity.variables();
    let mut probe = Probe::start(
        &azurite.endpoint(),
        &[trusting(&authority), endpoint, header],
    );
    let (took, said) = probe.attempt();
    println!("first put, with its token: {took:?}");
    assert_eq!(said, "Ok(())");
    probe.is_satisfied();
    assert_eq!(identity.given(), 1);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_renewed() {
    let authority = Authority::new();
    let (azurite, identity) = (store(&authority).await, Identity::start());
    let [endpoint, header] = identity.variables();
    identity.lifetime(60);
    let mut probe = Probe::start(
        &azurite.endpoint(),
        &[trusting(&authority), endpoint, header],
    );
    assert_eq!(probe.attempt().1, "Ok(())");
    probe.is_satisfied();
    assert!(identity.given() > 1);
}

#[tokio::test]
async fn without_a_token_the_store_is_denied_until_there_is_one() {
    let authority = Authority::new();
    let (azurite, identity) = (store(&authority).await, Identity::start());
    let [endpoint, header] = identity.variables();
    for (status, at_most) in [(403, 2), (500, 6)] {
        identity.refuse(status);
        let mut probe = Probe::start(
            &azurite.endpoint(),
            &[trusting(&authority), endpoint.clone(), header.clone()],
        );
        let (took, said) = probe.attempt();
        println!("identity answers {status}: {took:?}, {said}");
        assert!(
            said.contains("Denied") && said.contains("no token"),
            "{said}"
        );
        assert!(took < Duration::from_secs(at_most), "{took:?}");
        identity.refuse(0);
        while probe.attempt().1 != "Ok(())" {}
        probe.is_satisfied();
    }
}

#[tokio::test]
async fn a_store_with_a_certificate_of_nobody_is_not_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (azurite, identity) = (store(&authority).await, Identity::start());
    let [endpoint, header] = identity.variables();
    let mut probe = Probe::start(&azurite.endpoint(), &[trusting(&other), endpoint, header]);
    let (_, said) = probe.attempt();
    println!("{said}");
    assert!(
        said.contains("Unavailable") && said.contains("certificate"),
        "{said}"
    );
}

#[test]
fn an_environment_without_what_is_needed_is_named_at_the_start() {
    let start = |environment: &[(&str, &str)]| {
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Probe::start("https://relance.blob.core.windows.net", &environment).says("settings: ")
    };
    let nowhere = "/nonexistent";
    let said = start(&[("SSL_CERT_FILE", nowhere), ("SSL_CERT_DIR", nowhere)]);
    assert!(
        said.contains("certificates") && said.contains("SSL_CERT_FILE"),
        "{said}"
    );
    let said = start(&[("AZURE_CREDENTIAL", "workload-identity")]);
    assert!(
        said.contains("AZURE_CREDENTIAL") && said.contains("tenant ID"),
        "{said}"
    );
}
