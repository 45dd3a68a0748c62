//! TLS is used as `sslmode` says, and checked where it says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use relance::records::Postgres;
use relance::remote::{FailureKind, State};

use crate::support::postgres::{Server, hand_over, settings, url};
use crate::support::record_store::{filled, record};

/// An authority, and a certificate of it for 127.0.0.1, made by openssl.
struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            let output = command
                .args(arguments.split_whitespace())
                .current_dir(dir.path())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "openssl {arguments}: {text}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for ca in ["ca", "stranger"] {
            openssl(&format!(
                "req -x509 {key} -keyout {ca}.key -out {ca}.pem -days 2 -subj /CN={ca}"
            ));
        }
        openssl(&format!(
            "req -x509 {key} -keyout server.key -out server.pem -days 2 -subj /CN=server \
             -CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1 \
             -addext basicConstraints=critical,CA:FALSE"
        ));
        hand_over(&dir.path().join("server.key"));
        hand_over(&dir.path().join("server.pem"));
        hand_over(dir.path());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn server(&self) -> Server {
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        let certificate = option("ssl_cert_file", &self.path("server.pem"));
        let key = option("ssl_key_file", &self.path("server.key"));
        Server::start_with(&["ssl=on", &certificate, &key]).await
    }
}

async fn is_encrypted(server: &Server) -> bool {
    let admin = server.admin("relance").await;
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE usename = 'relance'";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_certificate_and_the_host_are_checked_where_tls_is_required() {
    let certificates = Certificates::make();
    let server = certificates.server().await;
    let records = |host: &str, mode: &str, authority: &str| {
        let address = server.address().replace("127.0.0.1", host);
        let authority = certificates.path(authority);
        let more = format!("?sslmode={mode}&sslrootcert={}", authority.display());
        Postgres::new(&settings(&url(address, "relance", &more))).unwrap()
    };
    for mode in ["require", "verify-full"] {
        let checked = records("127.0.0.1", mode, "ca.pem");
        filled(&checked, 3).await;
        assert!(is_encrypted(&server).await, "{mode}");
    }
    for (host, authority, why) in [
        ("127.0.0.1", "stranger.pem", "UnknownIssuer"),
        ("localhost", "ca.pem", "not valid for name"),
    ] {
        let wrong = records(host, "require", authority);
        let failure = wrong.upsert(&[record(1)]).await.remove(0).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(failure.message.contains(why), "{failure}");
        assert_eq!(wrong.presence().state(), State::Down(failure.message));
    }
    // The system's authorities do not know it.
    let system = url(server.address(), "relance", "?sslmode=require");
    let system = Postgres::new(&settings(&system)).unwrap();
    let failure = system.get(record(1).request_id).await.unwrap_err();
    assert!(failure.message.contains("UnknownIssuer"), "{failure}");
}

#[tokio::test]
async fn tls_is_used_unchecked_or_not_at_all_where_it_is_not_required() {
    let certificates = Certificates::make();
    let server = certificates.server().await;
    for (more, encrypted) in [
        ("", true),
        ("?sslmode=prefer", true),
        ("?sslmode=disable", false),
    ] {
        let url = url(server.address(), "relance", more);
        let records = Postgres::new(&settings(&url)).unwrap();
        filled(&records, 3).await;
        assert_eq!(is_encrypted(&server).await, encrypted, "{more}");
    }
}

#[test]
fn a_file_without_certificates_is_refused_at_start() {
    let certificates = Certificates::make();
    for name in ["ca.key", "missing.pem"] {
        let path = certificates.path(name);
        let more = format!("?sslmode=require&sslrootcert={}", path.display());
        let refusal = Postgres::new(&settings(&url("127.0.0.1", "relance", &more)));
        let text = refusal.err().unwrap().to_string();
        assert!(text.contains(name) && text.contains("PEM"), "{text}");
    }
}
