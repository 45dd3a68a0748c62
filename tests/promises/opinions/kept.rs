//! On an instance's own disk.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use relance::journal::Journal;
use relance::records::{Arrived, Filter, ModelName, Reader, Remark, Spool};
use serde_json::{Value, json};

use super::shared::Store;
use super::*;
use crate::support::{self, App, Setup, eventually, problem};

#[tokio::test]
async fn an_opinion_is_in_its_record_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), None);
    let record = instance.keep(WITHOUT_PICTURE).await;
    let [first, second] = [now(&record, false), now(&record, true)];
    instance.opine(&record, &second).await;
    instance.opine(&record, &first).await;
    let told = instance.opinion(record.request_id).await;
    assert_eq!(told.as_ref(), Some(&second), "the other one is earlier");

    // Of what is not there nothing is kept.
    let nobody = Uuid::now_v7();
    instance.storage.opine(nobody, second).await.unwrap();
    assert_eq!(instance.storage.find(nobody).await.unwrap(), None);
    let removed = instance.storage.delete(record.request_id).await.unwrap();
    assert!(removed.is_some());
    instance.opine(&record, &first).await;
    let found = instance.storage.find(record.request_id).await.unwrap();
    assert_eq!(found, None);
    assert_eq!(instance.storage.waiting_remarks(), Default::default());
}

/// Records that stay here while their pictures are shipped.
#[tokio::test]
async fn opinions_stay_with_records_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.db");
    let journal = Journal::start(path.clone(), false, Spool::Outbox).unwrap();
    let record = record(1);
    let id = record.request_id;
    journal.append(record.clone()).await.unwrap();
    let arrived = Arrived {
        request_id: id,
        opinion_id: None,
    };
    for (n, agrees) in [(1, true), (2, false)] {
        let said = opinion(n, &record, agrees);
        let remark = Remark::Opinion(said.clone());
        journal.remark(id, remark).await.unwrap();
        journal.shipped(vec![arrived]).await.unwrap();
        let kept = Reader::new(path.clone()).get(id).unwrap().unwrap();
        assert_eq!(kept.opinion, Some(said));
    }
    assert_eq!(journal.waiting(), 0);
    assert_eq!(journal.waiting_remarks(), Default::default());
    journal.close();
}

async fn listed(app: &App, query: &str) -> Vec<Value> {
    let (status, page) = support::json(app.get(&format!("/requests?{query}"))).await;
    assert_eq!(status, 200, "{query}: {page}");
    page["requests"].as_array().unwrap().clone()
}

#[tokio::test]
async fn records_and_lists_show_what_the_other_model_says() {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(dir.path(), None);
    let mut kept = Vec::new();
    for n in 0..6 {
        let record = instance.keep(n).await;
        if n < 4 {
            instance.opine(&record, &now(&record, n % 2 == 0)).await;
        }
        let id = record.request_id;
        kept.push(instance.storage.find(id).await.unwrap().unwrap());
    }
    drop(instance);

    let app = Setup::new().data(dir.path()).start().await;
    for record in &kept {
        let path = format!("/requests/{}", record.request_id);
        let (_, told) = support::json(app.get(&path)).await;
        let opinion: Option<Opinion> = serde_json::from_value(told["opinion"].clone()).unwrap();
        assert_eq!(opinion, record.opinion);
        if let Some(opinion) = told["opinion"].as_object() {
            let fields: Vec<&String> = opinion.keys().collect();
            let expected = [
                "agrees",
                "confidence",
                "inference_ms",
                "model",
                "opinion_id",
                "prediction",
            ];
            assert_eq!(fields, expected);
        }
    }
    let ids = |numbers: &[usize]| -> Vec<Value> {
        let ids = numbers.iter().map(|&n| json!(kept[n].request_id));
        ids.collect()
    };
    let ours = "model=bottle@3f1c9a7be042";
    for (query, expected) in [
        ("differs=true", ids(&[3, 1])),
        ("differs=false", ids(&[2, 0])),
        (ours, ids(&[5, 4, 3, 2, 1, 0])),
        (&format!("{ours}&differs=true&limit=1"), ids(&[3])),
        ("model=bottle@other", ids(&[])),
        ("model=other@3f1c9a7be042", ids(&[])),
        ("differs=true&reviewed=true", ids(&[])),
        ("differs=true&reviewed=false", ids(&[3, 1])),
    ] {
        let found = listed(&app, query).await;
        let found: Vec<Value> = found.iter().map(|r| r["request_id"].clone()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let shown = listed(&app, "differs=true").await;
    let of_last = kept[3].opinion.as_ref().unwrap();
    assert_eq!(shown[0]["opinion"]["prediction"], of_last.prediction);

    for (query, says) in [
        ("differs=1", "true or false"),
        ("model=bottle", "name@version"),
    ] {
        for path in ["/requests", "/dataset.zip"] {
            let request = app.get(&format!("{path}?{query}"));
            let detail = problem(request, 400, "bad-parameter").await;
            assert!(detail.contains(says), "{detail}");
        }
    }
    let unknown = app.get("/requests?opinion=true");
    problem(unknown, 400, "bad-parameter").await;
}

#[tokio::test]
async fn lists_of_waiting_records_can_be_narrowed_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::postgres().await;
    let instance = Instance::start(dir.path(), Some(store.remote()));
    let mut expected = Vec::new();
    let narrowed = Filter {
        differs: Some(true),
        model: Some(ModelName {
            name: "bottle".into(),
            version: "3f1c9a7be042".into(),
        }),
        limit: 100,
        ..Filter::default()
    };
    // Whether they are on their way or there.
    for n in 0..40 {
        let record = instance.keep(n).await;
        instance.opine(&record, &now(&record, n % 2 == 0)).await;
        if n % 2 == 1 {
            expected.insert(0, record.request_id);
        }
        let page = instance.storage.list(narrowed.clone()).await.unwrap();
        let found: Vec<Uuid> = page.records.iter().map(|r| r.request_id).collect();
        assert!(
            found.iter().all(|id| expected.contains(id)),
            "{found:?} {expected:?}"
        );
    }
    eventually("all are listed", async || {
        let page = instance.storage.list(narrowed.clone()).await.unwrap();
        let found = page.records.iter().map(|r| r.request_id);
        found.eq(expected.iter().copied())
    })
    .await;
}

/// In the process that is killed: the folder, and the shared store if there is one.
const DIR: &str = "RELANCE_KILLED_DIR";
const STORE: &str = "RELANCE_KILLED_DATABASE_URL";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it never ends: its neighbours start it in a process of its own and kill that"]
async fn a_process_that_keeps_opinions() {
    let dir = std::env::var(DIR).unwrap();
    let store = std::env::var(STORE).ok();
    let remote = store.map(|url| shared::postgres_at(&url));
    let instance = Arc::new(Instance::start(Path::new(&dir), remote));
    let writers = (0..8).map(|writer| {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move {
            for n in 0_u64.. {
                let record = instance.keep(n).await;
                tokio::time::sleep(Duration::from_millis(n * (writer + 1) % 40)).await;
                let said = now(&record, n.is_multiple_of(3));
                instance.opine(&record, &said).await;
                let line = format!("\nkept {} {}\n", record.request_id, said.opinion_id);
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Runs it for so long; what it said was kept, request by request.
fn killed_after(time: Duration, dir: &Path, store: Option<&str>) -> HashMap<Uuid, Uuid> {
    let name = "opinions::kept::a_process_that_keeps_opinions";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir);
    if let Some(url) = store {
        command.env(STORE, url);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut kept = HashMap::new();
    let mut end = None;
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // The last line may have been cut.
        if let Some(ids) = line
            .strip_prefix("kept ")
            .and_then(|ids| ids.strip_suffix('\n'))
        {
            let (request, opinion) = ids.split_once(' ').unwrap();
            kept.insert(request.parse().unwrap(), opinion.parse().unwrap());
            let end = *end.get_or_insert_with(|| Instant::now() + time);
            if Instant::now() > end {
                // SIGKILL. What it has written until then is read to its end.
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    child.wait().unwrap();
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn every_opinion_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let time = Duration::from_millis(60 + 90 * round);
        let kept = killed_after(time, dir.path(), None);
        assert!(kept.len() > 10, "{} in round {round}", kept.len());
        let instance = Instance::start(dir.path(), None);
        for (request, opinion) in kept {
            let found = instance.opinion(request).await;
            assert_eq!(found.map(|found| found.opinion_id), Some(opinion));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_opinion_survives_kill_9_on_its_way_to_the_shared_store() {
    let store = Store::postgres().await;
    let dir = tempfile::tempdir().unwrap();
    let mut all = HashMap::new();
    for round in 0..4 {
        let time = Duration::from_millis(150 + 200 * round);
        let kept = killed_after(time, dir.path(), Some(&store.url()));
        assert!(kept.len() > 10, "{} in round {round}", kept.len());
        all.extend(kept);
    }
    let instance = Instance::start(dir.path(), Some(store.remote()));
    shared::all_shipped(&instance).await;
    let remote = store.remote();
    for (request, opinion) in all {
        let found = remote.get(request).await.unwrap();
        let found = found.and_then(|record| record.opinion);
        assert_eq!(found.map(|found| found.opinion_id), Some(opinion));
    }
}
