//! Behind PgBouncer, where each transaction may get another connection.

use std::process::{Child, Stdio};
use std::sync::Arc;

use super::records_at;
use crate::support::eventually;
use crate::support::postgres::{PASSWORD, Server, free_port, hand_over, unprivileged};
use crate::support::record_store::{self as suite, record};

/// A pooler that hands out two connections, a transaction at a time; ended when dropped.
struct Pooler {
    port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Pooler {
    async fn before(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, server_port) = (free_port(), server.port());
        let users = dir.path().join("users");
        std::fs::write(&users, format!("\"relance\" \"{PASSWORD}\"\n")).unwrap();
        let settings = dir.path().join("pgbouncer.ini");
        let lines = [
            "[databases]",
            &format!("relance = host=127.0.0.1 port={server_port}"),
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            &format!("listen_port = {port}"),
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            &format!("auth_file = {}", users.display()),
            "pool_mode = transaction",
            "default_pool_size = 2",
        ];
        std::fs::write(&settings, lines.join("\n")).unwrap();
        for path in [&users, &settings, dir.path()] {
            hand_over(path);
        }
        let child = unprivileged("/usr/sbin/pgbouncer")
            .args(["--quiet".as_ref(), settings.as_os_str()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self {
            port,
            child,
            _dir: dir,
        };
        eventually("PgBouncer listens", async || {
            let address = ("127.0.0.1", port);
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        pooler
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_may_give_each_transaction_another_connection() {
    let server = Server::start().await;
    let pooler = Pooler::before(&server).await;
    let address = format!("127.0.0.1:{}", pooler.port);
    suite::pages_follow_each_other(&records_at(&address)).await;
    // More instances than connections, all at once.
    let calls: Vec<_> = (0..4)
        .map(|n| {
            let records = Arc::new(records_at(&address));
            tokio::spawn(async move {
                for i in 0..50 {
                    let record = record(n * 50 + i);
                    assert_eq!(
                        records.upsert(std::slice::from_ref(&record)).await,
                        [Ok(())]
                    );
                    let read = records.get(record.request_id).await;
                    assert_eq!(read, Ok(Some(record)));
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let admin = server.admin("relance").await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relance'";
    let count: i64 = admin.query_one(sessions, &[]).await.unwrap().get(0);
    assert!((1..=2).contains(&count), "{count}");
}
