//! A PostgreSQL server of one's own: on a free port, in a temporary folder, ended when dropped.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use relance::settings::{Settings, Shared};
use tokio_postgres::{Client, NoTls};

use super::PATIENCE;

/// Who owns the databases, and as whom the service signs in. The colon and the at sign must be escaped in a URL.
const SUPERUSER: &str = "chief";
pub const USER: &str = "relance";
pub const PASSWORD: &str = "hush:it@is/a?secret";

/// A running server.
pub struct Server {
    dir: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// With an empty database `relance` that belongs to the user `relance`.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings such as `ssl=on`, whose files can be put into the folder by `prepare` beforehand.
    pub async fn start_with(options: &[&str]) -> Self {
        let mut server = Self::prepared(options);
        server.run().await;
        server
            .admin("postgres")
            .await
            .batch_execute(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))
            .await
            .unwrap();
        server.create_database("relance").await;
        server
    }

    fn prepared(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        hand_over(dir.path());
        let server = Self {
            dir,
            port: free_port(),
            options: options.iter().map(|&o| o.to_owned()).collect(),
            child: None,
        };
        let password = server.dir.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        hand_over(&password);
        let output = unprivileged(installed("initdb"))
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=scram-sha-256",
            ])
            .args(["--username", SUPERUSER])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(server.data())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {text}");
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same port.
    pub async fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = unprivileged(installed("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "fsync=off", "-c", "shared_buffers=64MB"])
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                self.dir.path().display()
            ));
        for option in &self.options {
            command.args(["-c", option]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(child.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while self.try_admin("postgres").await.is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it in good order, and its connections with it.
    pub fn stop(&mut self) {
        self.end("-INT");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.end("-QUIT");
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            let _ = Command::new("kill").args([signal, &pid]).status();
            let _ = child.wait();
        }
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its socket, as the address in a URL.
    pub fn socket(&self) -> String {
        let folder = self.dir.path().to_str().unwrap().replace('/', "%2F");
        format!("{folder}:{}", self.port)
    }

    /// An empty database that belongs to the user `relance`.
    pub async fn create_database(&self, name: &str) {
        let sql = format!("CREATE DATABASE {name} OWNER {USER}");
        self.admin("postgres")
            .await
            .batch_execute(&sql)
            .await
            .unwrap();
    }

    /// A connection of the administrator's.
    pub async fn admin(&self, database: &str) -> Client {
        self.try_admin(database).await.unwrap()
    }

    /// As [`Self::admin`], where that can fail.
    pub async fn try_admin(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(SUPERUSER)
            .password(PASSWORD)
            .dbname(database)
            .connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `DATABASE_URL` of a database at `address`; `more` is `""` or `?sslmode=…`.
pub fn url(address: impl std::fmt::Display, database: &str, more: &str) -> String {
    let password = PASSWORD
        .replace(':', "%3A")
        .replace('@', "%40")
        .replace('/', "%2F")
        .replace('?', "%3F");
    format!("postgres://{USER}:{password}@{address}/{database}{more}")
}

/// Settings with this `DATABASE_URL`.
pub fn settings(url: &str) -> Shared {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }
    Cli::parse_from(["relance", "--database-url", url])
        .settings
        .shared
}

/// A program run as a user that is not root, which PostgreSQL's programs refuse.
pub fn unprivileged(program: impl AsRef<Path>) -> Command {
    if !is_root() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program.as_ref())
        .current_dir("/");
    command
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

// The newest; Debian keeps the server's programs out of PATH.
fn installed(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("PostgreSQL is not installed: scripts/install-tools test");
    format!("/usr/lib/postgresql/{newest}/bin/{name}").into()
}

/// Makes a file or folder that of the user the server runs as, and of nobody else.
pub fn hand_over(path: &Path) {
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    if is_root() {
        let id = |flag| {
            let output = Command::new("id")
                .args([flag, "postgres"])
                .output()
                .unwrap();
            String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
