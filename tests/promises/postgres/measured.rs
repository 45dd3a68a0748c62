//! Many records: indexes are used, and the answers stay quick. The figures are printed.

use std::time::{Duration, Instant};

use relance::records::{Filter, Postgres, Record};
use uuid::Uuid;

use super::records_at;
use crate::support::postgres::Server;
use crate::support::record_opinions::opinion;
use crate::support::record_store::{START, record};

/// Rows in the table. With 1 000 000 (`RECORDS=1000000`) it gives the figures of docs/postgresql.md.
fn rows() -> u64 {
    std::env::var("RECORDS").map_or(100_000, |n| n.parse().unwrap())
}

// One every 1.3 seconds; one in 5 000 is of a rare class.
const FILL: &str = "
INSERT INTO relance_requests
SELECT (lpad(to_hex(START + n * 1300), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || '8' || substr(md5(n::text), 4, 15))::uuid,
       to_timestamp((START + n * 1300) / 1000.0), 3.25, random(), 640, 480, 200, n % 4 = 0,
       CASE WHEN n % 5000 = 0 THEN 'rara' WHEN n % 3 = 0 THEN 'aberta' ELSE 'fechada' END,
       'garrafa-' || n || '.jpg', 'jpeg', sha256((n / 2)::text::bytea),
       'ab/cd/' || encode(sha256((n / 2)::text::bytea), 'hex') || '.jpg',
       'bottle', '3f1c9a7be042', 'relance-6d5f7-x2b4q', 'phone', '203.0.113.0',
       '[{\"class\": \"fechada\", \"index\": 1, \"confidence\": 0.98},
         {\"class\": \"aberta\", \"index\": 0, \"confidence\": 0.02}]'
FROM generate_series(1, ROWS) n";

#[tokio::test]
async fn indexes_are_used_and_answers_are_quick() {
    let server = Server::start_with(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "max_wal_size=4GB",
    ])
    .await;
    let records = records_at(server.address());
    upserts(&records).await;
    let admin = server.admin("relance").await;
    let fill = FILL
        .replace("START", &START.to_string())
        .replace("ROWS", &rows().to_string());
    for sql in [
        "SET auto_explain.log_min_duration = -1",
        "TRUNCATE relance_requests",
        &fill,
        "VACUUM ANALYZE relance_requests",
        "CHECKPOINT",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }

    let middle = jiff::Timestamp::from_millisecond(START + rows() as i64 * 650).unwrap();
    let page = Filter {
        limit: 50,
        ..Filter::default()
    };
    let class = |name: &str| Some(name.to_owned());
    let by_class = "relance_requests_by_prediction";
    for (what, index, filter) in [
        ("newest", "relance_requests_pkey", page.clone()),
        (
            "from the middle",
            "relance_requests_pkey",
            Filter {
                to: Some(middle),
                ..page.clone()
            },
        ),
        (
            "common class",
            "relance_requests",
            Filter {
                prediction: class("aberta"),
                ..page.clone()
            },
        ),
        (
            "rare class",
            by_class,
            Filter {
                prediction: class("rara"),
                ..page.clone()
            },
        ),
        (
            "rare class before the middle",
            by_class,
            Filter {
                prediction: class("rara"),
                to: Some(middle),
                ..page.clone()
            },
        ),
        (
            "class that is not there",
            by_class,
            Filter {
                prediction: class("nada"),
                ..page.clone()
            },
        ),
        (
            "unsure",
            "relance_requests_pkey",
            Filter {
                max_confidence: Some(0.1),
                ..page.clone()
            },
        ),
    ] {
        let plan = measured(&server, what, async || {
            records.list(&filter).await.unwrap();
        })
        .await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
    let newest = records.list(&page).await.unwrap().records.remove(0);
    let plan = measured(&server, "one record", async || {
        assert!(records.get(newest.request_id).await.unwrap().is_some());
    })
    .await;
    assert!(plan.contains("relance_requests_pkey"), "{plan}");
    let plan = measured(&server, "a picture's records", async || {
        assert!(
            records
                .refers_to(&newest.image_sha256, Uuid::nil())
                .await
                .unwrap()
        );
    })
    .await;
    assert!(plan.contains("relance_requests_by_image"), "{plan}");
    let expired = jiff::Timestamp::from_millisecond(START + rows() as i64 * 130).unwrap();
    let start = Instant::now();
    let removed = records.expire(expired).await.unwrap();
    println!("expire: {removed} in {:.2?}", start.elapsed());
    assert_eq!(removed, rows() / 10 - 1);
    println!("{}", sizes(&admin).await);
}

#[tokio::test]
async fn opinions_that_differ_are_found_by_an_index() {
    let server = Server::start_with(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
    ])
    .await;
    let store = records_at(server.address());
    let all: Vec<Record> = (0..20_000)
        .map(|n| {
            let mut record = record(n);
            record.opinion = Some(opinion(1, &record, n % 200 > 0));
            record
        })
        .collect();
    assert!(store.upsert(&all).await.iter().all(Result::is_ok));
    let admin = server.admin("relance").await;
    let analyze = "ANALYZE relance_requests";
    admin.batch_execute(analyze).await.unwrap();
    let differing = Filter {
        differs: Some(true),
        limit: 50,
        ..Filter::default()
    };
    let plan = measured(&server, "the other model says another class", async || {
        let page = store.list(&differing).await.unwrap();
        assert_eq!(page.records.len(), 50);
    })
    .await;
    assert!(plan.contains("relance_requests_by_opinion"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
}

/// Batches of 256 into an empty table; the client's CPU time counts this thread, which does all of its work.
async fn upserts(records: &Postgres) {
    let batches: Vec<Vec<_>> = (0..80)
        .map(|b| (0..256).map(|i| record(b * 256 + i)).collect())
        .collect();
    assert_eq!(records.get(Uuid::nil()).await, Ok(None));
    for what in ["new", "the same again"] {
        let (start, cpu) = (Instant::now(), thread_cpu());
        for batch in &batches {
            assert!(records.upsert(batch).await.iter().all(Result::is_ok));
        }
        let (time, cpu) = (start.elapsed(), thread_cpu() - cpu);
        let count = batches.len() as f64 * 256.0;
        println!(
            "upsert, {what}: {:.0} records/s, {:.1} µs of CPU each in the client",
            count / time.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / count
        );
    }
}

// Time on a CPU, in nanoseconds, is the first field.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Prints the median of some calls; the server's plan of the last.
async fn measured(server: &Server, what: &str, mut call: impl AsyncFnMut()) -> String {
    let mut times = Vec::new();
    for _ in 0..51 {
        let start = Instant::now();
        call().await;
        times.push(start.elapsed());
    }
    times.sort();
    let log = server.log();
    let plan = log[log.rfind("plan:").unwrap()..].to_owned();
    println!(
        "{what}: median {:.2?}, slowest {:.2?}",
        times[25], times[50]
    );
    if rows() >= 1_000_000 {
        println!("{plan}");
    }
    plan
}

async fn sizes(admin: &tokio_postgres::Client) -> String {
    let sql = "SELECT format('table %s', pg_size_pretty(pg_table_size('relance_requests'))) ||
                      string_agg(format(', %s %s', indexrelname, pg_size_pretty(pg_relation_size(indexrelid))), '')
               FROM pg_stat_user_indexes WHERE relname = 'relance_requests'";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}
