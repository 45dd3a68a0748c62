//! Starts Debian's redis-server on a free port, without anything on disk.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue};

use super::PATIENCE;

/// A running server; killed when dropped.
pub struct Redis {
    pub port: u16,
    /// Only if started by [`Redis::with_tls`].
    pub tls_port: u16,
    dir: tempfile::TempDir,
    settings: Vec<String>,
    password: Option<String>,
    child: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        Self::new(|_| Vec::new(), None)
    }

    /// One that asks for a password.
    pub fn with_password(password: &str) -> Self {
        let settings = |_: &Path| vec!["--requirepass".to_owned(), password.to_owned()];
        Self::new(settings, Some(password.to_owned()))
    }

    /// One that speaks TLS on a port of its own, with a certificate for `localhost` by an authority made for it.
    pub fn with_tls() -> Self {
        let tls_port = free_port();
        let settings = |dir: &Path| {
            make_certificates(dir);
            let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
            [
                ("--tls-port", tls_port.to_string()),
                ("--tls-cert-file", file("server.crt")),
                ("--tls-key-file", file("server.key")),
                ("--tls-ca-cert-file", file("ca.crt")),
                ("--tls-auth-clients", "no".to_owned()),
            ]
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
        };
        let mut redis = Self::new(settings, None);
        redis.tls_port = tls_port;
        redis
    }

    fn new(settings: impl Fn(&Path) -> Vec<String>, password: Option<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut redis = Self {
            port: free_port(),
            tls_port: 0,
            settings: settings(dir.path()),
            dir,
            password,
            child: None,
        };
        redis.run();
        redis
    }

    /// Starts it again, empty, on the same port.
    pub fn run(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--dir", self.dir.path().to_str().unwrap()])
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server: scripts/install-tools test installs it");
        self.child = Some(child);
        let end = Instant::now() + PATIENCE;
        while self.connect().is_err() {
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Certificate of the authority, as a file.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Runs a command: words with spaces between them.
    pub fn run_command<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connect().unwrap()).unwrap()
    }

    /// Keys of results.
    pub fn results(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run_command("KEYS relance:1:*");
        keys.retain(|key| key != "relance:1:probe");
        keys.sort();
        keys
    }

    /// Asks for a password from now on, also from those who are connected.
    pub fn lock(&mut self, password: &str) {
        self.run_command::<()>(&format!("CONFIG SET requirepass {password}"));
        self.password = Some(password.to_owned());
        self.run_command::<i64>("CLIENT KILL TYPE normal SKIPME yes");
    }

    /// Asks for none any more.
    pub fn unlock(&mut self) {
        self.run_command::<()>("ACL SETUSER default nopass");
        self.password = None;
    }

    fn connect(&self) -> redis::RedisResult<Connection> {
        let userinfo = self.password.as_ref().map(|word| format!(":{word}@"));
        let url = format!("redis://{}{}", userinfo.unwrap_or_default(), self.address());
        let mut connection =
            Client::open(url)?.get_connection_with_timeout(Duration::from_secs(1))?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn make_certificates(dir: &Path) {
    std::fs::write(
        dir.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for command in [
        format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt"),
        format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"),
        "x509 -req -in server.csr -days 2 -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt"
            .to_owned(),
    ] {
        let output = Command::new("openssl")
            .args(command.split(' '))
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}
