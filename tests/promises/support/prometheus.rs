//! A real Prometheus that scrapes an instance every second.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use serde_json::Value;

use super::{App, eventually};

/// Ended when dropped.
pub struct Prometheus {
    client: Client,
    url: String,
    process: Child,
    dir: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `app` as job `relance`, and evaluates the rules in `rules`.
    pub async fn watch(app: &App, rules: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: relance, static_configs: [{{targets: ['{}']}}]}}]\n",
            rules.display(),
            app.address()
        );
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let log = File::create(dir.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("scripts/install-tools test installs prometheus");
        let prometheus = Self {
            client: Client::builder().no_proxy().build().unwrap(),
            url: format!("http://{address}"),
            process,
            dir,
        };
        eventually("Prometheus is ready", async || {
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.url));
            ready
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        // It takes some seconds before it looks for targets.
        eventually("the first scrape is there", async || {
            !prometheus.query("up").await.is_empty()
        })
        .await;
        prometheus
    }

    /// Answer of its HTTP API.
    pub async fn api(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = self
            .client
            .get(format!("{}/api/v1/{path}", self.url))
            .query(query);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{path} {query:?}: {answer}");
        answer["data"].clone()
    }

    /// Labels and value of each series that an expression gives.
    pub async fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.api("query", &[("query", expression)]).await;
        let series = data["result"].as_array().unwrap().iter();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        series
            .map(|series| (series["metric"].clone(), value(series)))
            .collect()
    }

    /// The value of an expression that gives one series.
    pub async fn value(&self, expression: &str) -> f64 {
        let series = self.query(expression).await;
        let [(_, value)] = series[..] else {
            panic!("{expression}: {series:?}");
        };
        value
    }

    /// Its log, which has only warnings and errors.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs promtool with `input` on its standard input; what it says, and whether it is content.
pub fn promtool(arguments: &[&str], input: Option<PathBuf>) -> (bool, String) {
    let input = input.map_or(Stdio::null(), |path| File::open(path).unwrap().into());
    let output = Command::new("promtool")
        .args(arguments)
        .stdin(input)
        .output();
    let output = output.expect("scripts/install-tools test installs prometheus");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}
