//! Azurite, Microsoft's emulator of Azure Storage.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::time::{OffsetDateTime, to_rfc7231};
use reqwest::{Certificate, Client, Method, Response, StatusCode};

use super::authority::Authority;
use super::identity::web_token;
use super::{PATIENCE, repo};

/// The account.
pub const ACCOUNT: &str = "relance";

/// Its key: "this key is for tests only" in base64.
pub const KEY: &str = "dGhpcyBrZXkgaXMgZm9yIHRlc3RzIG9ubHk=";

const VERSION: &str = "2026-04-06";

/// A running emulator, empty at first; killed when dropped.
pub struct Azurite {
    pub address: SocketAddr,
    scheme: &'static str,
    client: Client,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Azurite {
    /// One that speaks HTTP and wants the account's key.
    pub fn http() -> Self {
        Self::start("http", &[], Client::builder())
    }

    /// One that speaks HTTPS, with the authority's certificate, and also takes tokens.
    pub fn https(authority: &Authority) -> Self {
        let (certificate, key) = (authority.certificate(), authority.key());
        let options = [
            "--oauth",
            "basic",
            "--cert",
            certificate.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let root = std::fs::read(authority.root()).unwrap();
        let root = Certificate::from_pem(&root).unwrap();
        let client = Client::builder().tls_certs_only([root]);
        Self::start("https", &options, client)
    }

    fn start(scheme: &'static str, options: &[&str], client: reqwest::ClientBuilder) -> Self {
        let program = repo().join(".tools/azurite/node_modules/.bin/azurite-blob");
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(&program)
            .args(["--inMemoryPersistence", "--disableTelemetry", "--silent"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .args(options)
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| {
                panic!(
                    "{}: {e}; scripts/install-tools test installs it",
                    program.display()
                )
            });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("successfully listens on ") {
                    let (_, address) = address.split_once("://").unwrap();
                    let _ = sender.send(address.trim().parse().unwrap());
                }
            }
        });
        let address = receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("Azurite did not start")
        });
        let client = client.no_proxy().timeout(PATIENCE).build().unwrap();
        Self {
            address,
            scheme,
            client,
            child,
            _dir: dir,
        }
    }

    /// `AZURE_STORAGE_BLOB_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("{}://{}/{ACCOUNT}", self.scheme, self.address)
    }

    /// Makes a container.
    pub async fn create_container(&self, name: &str) {
        let answer = self.send(Method::PUT, name, "?restype=container").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// What is kept under `container/name`: status, headers and bytes.
    pub async fn read(&self, path: &str) -> Response {
        self.send(Method::GET, path, "").await
    }

    /// Names of all blobs in a container.
    pub async fn list(&self, container: &str) -> Vec<String> {
        let answer = self
            .send(Method::GET, container, "?comp=list&restype=container")
            .await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.unwrap();
        let names = text.split("<Name>").skip(1);
        names
            .map(|rest| rest.split_once("</Name>").unwrap().0.to_owned())
            .collect()
    }

    /// Writes a blob as it is, past the code under test.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) {
        let request = self.signed(Method::PUT, path, "", bytes.len());
        let answer = request.body(bytes).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    async fn send(&self, method: Method, path: &str, query: &str) -> Response {
        self.signed(method, path, query, 0).send().await.unwrap()
    }

    fn signed(
        &self,
        method: Method,
        path: &str,
        query: &str,
        length: usize,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}/{path}{query}", self.endpoint());
        let request = self.client.request(method.clone(), url);
        let request = request.header("x-ms-version", VERSION);
        if self.scheme == "https" {
            let token = web_token("https://storage.azure.com", 60);
            return request
                .bearer_auth(token)
                .header("x-ms-blob-type", "BlockBlob");
        }
        let date = to_rfc7231(&OffsetDateTime::from(SystemTime::now()));
        let length = if length == 0 {
            String::new()
        } else {
            length.to_string()
        };
        // Azurite wants the account twice: it is also the first part of the path.
        let mut text = format!(
            "{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n\
             x-ms-blob-type:BlockBlob\nx-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{path}"
        );
        for pair in query
            .trim_start_matches('?')
            .split('&')
            .filter(|p| !p.is_empty())
        {
            text += &format!("\n{}", pair.replacen('=', ":", 1));
        }
        let signature = hmac_sha256(&text, &Secret::new(KEY)).unwrap();
        request
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-date", date)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
