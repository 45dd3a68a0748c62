//! Starts the real program on a free port and a folder of its own.

pub mod authority;
pub mod azurite;
pub mod container;
pub mod cosmos;
pub mod identity;
pub mod load;
pub mod nginx;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod record_opinions;
pub mod record_reviews;
pub mod record_store;
pub mod redis;
pub mod sink;
pub mod wire;

use std::io::{BufRead, BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use image::{ImageFormat, RgbImage};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// Long enough for a loaded machine, short enough to notice a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn fixture(name: &str) -> PathBuf {
    repo().join("tests/fixtures").join(name)
}

/// A small model with ten classes and a 64×64 input: quick, and not sure of anything.
pub fn small_model() -> PathBuf {
    fixture("models/yolov8n-cls-nc10-64.onnx")
}

pub fn picture(name: &str) -> Vec<u8> {
    std::fs::read(fixture("pictures").join(name)).unwrap()
}

/// A valid picture like no other: `base` with `n` in a comment behind its last byte.
pub fn unique(base: &[u8], n: u64) -> Vec<u8> {
    [base, &n.to_be_bytes()[..]].concat()
}

/// A picture of twelve million pixels in a small file: quick to send, slow to decode.
pub static SLOW: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let plain = RgbImage::from_fn(4000, 3000, |x, _| image::Rgb([(x / 16) as u8, 80, 160]));
    let mut file = Cursor::new(Vec::new());
    plain.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
});

/// How to start an instance.
pub struct Setup {
    command: Command,
    data: Option<PathBuf>,
}

/// A running instance; killed when dropped.
pub struct App {
    pub client: Client,
    pub url: String,
    pub data: PathBuf,
    child: Child,
    log: Arc<Mutex<String>>,
    _dir: Option<tempfile::TempDir>,
}

impl Setup {
    pub fn new() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relance"));
        for (name, _) in std::env::vars_os() {
            let keep = [
                "PATH",
                "HOME",
                "LD_LIBRARY_PATH",
                "ORT_DYLIB_PATH",
                "TMPDIR",
            ];
            if !keep.iter().any(|k| name == *k) {
                command.env_remove(name);
            }
        }
        let mut setup = Self {
            command,
            data: None,
        };
        setup
            .command
            .env("PORT", "0")
            .env("INSTANCE_NAME", "test")
            .env("RATE_LIMIT_PER_MINUTE", "0")
            .current_dir(repo());
        setup.set("MODEL", small_model().to_str().unwrap())
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Leaves a setting of [`Setup::new`] to its default.
    pub fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub fn data(mut self, dir: &Path) -> Self {
        self.data = Some(dir.to_owned());
        self
    }

    /// Runs the program inside another one: `wrapper… relance`.
    pub fn inside(mut self, wrapper: &[&str]) -> Self {
        let mut outer = Command::new(wrapper[0]);
        outer
            .args(&wrapper[1..])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .current_dir(repo());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        self.command = outer;
        self
    }

    /// Starts it and waits until it is ready; panics with its log if it ends instead.
    pub async fn start(self) -> App {
        match self.try_start() {
            Ok(app) => app,
            Err(log) => panic!("the program did not start:\n{log}"),
        }
    }

    /// Runs it where it must refuse to start; the one line it says.
    pub fn refusal(self) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut command = self.inside(&["timeout", "30"]).command;
        let output = command
            .env("DATA_DIR", dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty(), "{:?}", output.stdout);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        assert!(
            !line.is_empty() && !line.contains('\n'),
            "not one line: {text:?}"
        );
        line.to_owned()
    }

    /// Starts it, waits until it is ready; its log if it ends instead.
    pub fn try_start(mut self) -> Result<App, String> {
        let dir = self.data.is_none().then(|| tempfile::tempdir().unwrap());
        let data = self
            .data
            .clone()
            .unwrap_or_else(|| dir.as_ref().unwrap().path().join("data"));
        self.command
            .env("DATA_DIR", &data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if let Some((_, rest)) = line.split_once("ready on ") {
                    let _ = sender.send(rest.split([' ', '"']).next().unwrap().to_owned());
                }
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(url) => {
                let client = Client::builder()
                    .no_proxy()
                    .timeout(PATIENCE)
                    .build()
                    .unwrap();
                Ok(App {
                    client,
                    url,
                    data,
                    child,
                    log,
                    _dir: dir,
                })
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                std::thread::sleep(Duration::from_millis(50));
                let log = log.lock().unwrap().clone();
                Err(log)
            }
        }
    }
}

impl App {
    /// A small instance with the settings of [`Setup::new`].
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// Posts a picture in the multipart field `image`.
    pub fn post_picture(&self, bytes: Vec<u8>, name: &str) -> RequestBuilder {
        let part = Part::bytes(bytes).file_name(name.to_owned());
        self.post("/predict")
            .multipart(Form::new().part("image", part))
    }

    /// Posts a picture and returns the answer, which must be a 200.
    pub async fn predict(&self, bytes: Vec<u8>) -> Value {
        let (status, answer) = json(self.post_picture(bytes, "a.jpg")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// `host:port`, for those who speak HTTP by hand.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The value of one series of `/metrics`, written as there; 0 if it has not begun.
    pub async fn metric(&self, series: &str) -> u64 {
        let text = self
            .get("/metrics")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end; the exit status, or `None` if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < end,
                "the program does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the condition holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < end, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a request and parses the answer's body, whatever the status.
pub async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
    (status, value)
}

/// Sends a request that must be refused with the problem `kind`; returns its detail.
pub async fn problem(request: RequestBuilder, status: u16, kind: &str) -> String {
    let answer = request.send().await.unwrap();
    let content_type = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let told = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body["type"],
        format!("urn:relance:problem:{kind}"),
        "{body}"
    );
    assert_eq!(
        (told, content_type.as_str()),
        (status, "application/problem+json"),
        "{body}"
    );
    assert_eq!(body["status"], status);
    assert_eq!(body["error"], body["detail"]);
    body["detail"].as_str().unwrap().to_owned()
}
