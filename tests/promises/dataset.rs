//! What was reviewed can be taken away as a dataset: whole, once, and however much it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use relance::records::{self, Spool};
use relance::uploads::Uploads;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::azurite::{self, Azurite};
use crate::support::cosmos::{self, Emulator};
use crate::support::{
    self, App, Setup, eventually, picture, problem, record_reviews, record_store, unique,
};

/// Reads an archive with Python's reader and checks every checksum; the bytes of each member by its name.
fn unzip(archive: &[u8]) -> HashMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.zip");
    std::fs::write(&path, archive).unwrap();
    let script = "import sys, zipfile\n\
                  z = zipfile.ZipFile(sys.argv[1])\n\
                  assert z.testzip() is None\n\
                  assert len(set(z.namelist())) == len(z.namelist())\n\
                  assert all(i.compress_type == zipfile.ZIP_STORED for i in z.infolist())\n\
                  z.extractall(sys.argv[2])\n\
                  print('\\0'.join(z.namelist()), end='')";
    let out = dir.path().join("out");
    let ran = Command::new("python3")
        .args(["-c", script])
        .args([&path, &out])
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let names = String::from_utf8(ran.stdout).unwrap();
    let read = |name: &str| (name.to_owned(), std::fs::read(out.join(name)).unwrap());
    names.split('\0').map(read).collect()
}

async fn dataset(app: &App, query: &str) -> HashMap<String, Vec<u8>> {
    let answer = app
        .get(&format!("/dataset.zip{query}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/zip");
    unzip(&answer.bytes().await.unwrap())
}

fn manifest(members: &HashMap<String, Vec<u8>>) -> Vec<Value> {
    let text = std::str::from_utf8(&members["manifest.jsonl"]).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn id(answer: &Value) -> &str {
    answer["request_id"].as_str().unwrap()
}

async fn review(app: &App, answer: &Value, label: &str) {
    let url = format!("{}/requests/{}/review", app.url, id(answer));
    let body = json!({"label": label});
    let (status, said) = support::json(app.client.put(url).json(&body)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

async fn classes(app: &App) -> Vec<String> {
    let models = support::json(app.get("/models")).await.1;
    let classes = models["models"][0]["classes"].as_array().unwrap().clone();
    classes
        .iter()
        .map(|class| class.as_str().unwrap().to_owned())
        .collect()
}

/// The one member whose name ends with this.
fn ending<'a>(members: &'a HashMap<String, Vec<u8>>, end: &str) -> (&'a str, &'a [u8]) {
    let mut found = members.iter().filter(|(name, _)| name.ends_with(end));
    let (name, bytes) = found.next().unwrap_or_else(|| panic!("no {end}"));
    assert_eq!(found.next(), None);
    (name, bytes)
}

#[tokio::test]
async fn every_reviewed_picture_is_in_it_once() {
    let app = App::start().await;
    let classes = classes(&app).await;
    let empty = dataset(&app, "").await;
    assert_eq!(empty.len(), 1);
    assert!(manifest(&empty).is_empty());

    let (a, b) = (classes[0].as_str(), classes[1].as_str());
    let kinds = [
        "jpeg-420.jpg",
        "png-rgb.png",
        "webp-lossy.webp",
        "gif-plain.gif",
    ];
    let mut sent = Vec::new();
    for name in kinds {
        let answer = app.predict(picture(name)).await;
        review(&app, &answer, a).await;
        sent.push((answer, picture(name)));
    }
    // The same picture with another label later, and one that nobody is sure of.
    let again = app.predict(picture("jpeg-420.jpg")).await;
    review(&app, &again, b).await;
    let unsure = app.predict(picture("bmp-24.bmp")).await;
    review(&app, &unsure, "unsure").await;
    app.predict(picture("bmp-32.bmp")).await;

    let members = dataset(&app, "").await;
    let lines = manifest(&members);
    assert_eq!((members.len(), lines.len()), (kinds.len() + 1, kinds.len()));
    let (name, bytes) = ending(&members, &format!("/{b}/{}.jpg", id(&again)));
    assert_eq!(bytes, picture("jpeg-420.jpg"));
    assert!(
        !members.keys().any(|name| name.contains(id(&sent[0].0))),
        "{name}"
    );
    for (answer, bytes) in &sent[1..] {
        let line = lines
            .iter()
            .find(|line| line["request_id"] == answer["request_id"]);
        let line = line.unwrap();
        let (name, found) = ending(&members, line["file"].as_str().unwrap());
        assert_eq!(found, bytes);
        let split = line["split"].as_str().unwrap();
        assert!(
            name.starts_with(&format!("{split}/{a}/{}.", id(answer))),
            "{name}"
        );
        assert_eq!(line["sha256"], answer["image"]["sha256"]);
        assert_eq!(
            (&line["label"], &line["missing"]),
            (&json!(a), &json!(false))
        );
        assert_eq!(line["prediction"], answer["prediction"]);
        assert_eq!(line["confidence"], answer["confidence"]);
        let model = &answer["model"];
        let model = format!(
            "{}@{}",
            model["name"].as_str().unwrap(),
            model["version"].as_str().unwrap()
        );
        assert_eq!(line["model"], model);
        assert_eq!(line["reviewer"], "anonymous");
        assert!(
            line["reviewed_at"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
    }

    // Filters, and what they accept.
    let only = dataset(&app, &format!("?label={b}&val=0")).await;
    assert_eq!(only.len(), 2);
    assert!(only.contains_key(&format!("train/{b}/{}.jpg", id(&again))));
    let all = dataset(&app, "?val=1").await;
    assert!(
        all.keys()
            .all(|name| name.starts_with("val/") || name == "manifest.jsonl")
    );
    assert_eq!(dataset(&app, "?reviewed=false").await.len(), 1);
    for query in [
        "?val=2",
        "?val=x",
        "?limit=3",
        "?from=today",
        "?disagrees=perhaps",
    ] {
        problem(
            app.get(&format!("/dataset.zip{query}")),
            400,
            "bad-parameter",
        )
        .await;
    }

    // A picture that is not there any more, and one that is damaged, are told.
    let path = |answer: &Value| -> PathBuf {
        let reference = answer["image_ref"].as_str().unwrap();
        let (folder, file) = (&reference[..2], reference.rsplit('/').next().unwrap());
        app.data.join("pictures").join(folder).join(file)
    };
    std::fs::remove_file(path(&sent[1].0)).unwrap();
    std::fs::write(path(&sent[2].0), b"other").unwrap();
    let members = dataset(&app, "").await;
    let mut missing = 0;
    for line in manifest(&members) {
        let gone = [1, 2]
            .iter()
            .any(|n| line["request_id"] == sent[*n].0["request_id"]);
        assert_eq!(line["missing"], gone, "{line}");
        assert_eq!(line["file"].is_null(), gone, "{line}");
        missing += u32::from(gone);
    }
    assert_eq!((missing, members.len()), (2, kinds.len() - 2 + 1));
    assert_eq!(support::json(app.get("/requests")).await.0, StatusCode::OK);
    assert!(!std::fs::read_dir(&app.data).unwrap().any(|file| {
        file.unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("dataset")
    }));
}

/// Posts and reviews so many pictures, each `base` with a number behind it.
async fn reviewed(app: &App, base: &[u8], count: u64, classes: &[String]) {
    let one = |n| async move {
        let answer = app.predict(unique(base, n)).await;
        review(app, &answer, &classes[n as usize % 2]).await;
    };
    stream::iter(0..count)
        .map(one)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

/// Puts so many reviewed records and their pictures where an instance will find them. One in eight is `few`.
fn prepare(data: &Path, count: u64) {
    std::fs::create_dir_all(data).unwrap();
    let mut writer = records::open_writer(&data.join("relance.db"), false).unwrap();
    let uploads = Uploads::new(data.join("pictures"), false);
    let base = picture("jpeg-1x1.jpg");
    let transaction = writer.transaction().unwrap();
    for n in 0..count {
        let bytes = unique(&base, 1 << 40 | n);
        let digest = Sha256::digest(&bytes).into();
        uploads.store(&digest, "jpg", &bytes).unwrap();
        let label = if n % 8 == 0 { "few" } else { "many" };
        let mut record = record_store::record(n);
        record.image_sha256 = hex::encode(digest);
        record.image_ref = Some(Uploads::reference(&digest, "jpg"));
        record.add_reviews([record_reviews::review(n as u32, label)]);
        records::insert(&transaction, Spool::None, &record).unwrap();
    }
    transaction.commit().unwrap();
}

/// Streams an archive as fast as it comes; how many bytes it had, and how much memory that took at most, in KiB.
async fn streamed(app: &App, query: &str, to: &Path) -> (u64, u64) {
    let before = app.resident_kib();
    let (mut most, mut bytes) = (before, 0);
    let mut looked = Instant::now();
    let mut file = std::io::BufWriter::new(std::fs::File::create(to).unwrap());
    let path = format!("/dataset.zip{query}");
    let mut answer = app.get(&path).send().await.unwrap();
    while let Some(piece) = answer.chunk().await.unwrap() {
        std::io::Write::write_all(&mut file, &piece).unwrap();
        bytes += piece.len() as u64;
        if looked.elapsed() > Duration::from_millis(20) {
            most = most.max(app.resident_kib());
            looked = Instant::now();
        }
    }
    std::io::Write::flush(&mut file).unwrap();
    (bytes, most - before)
}

fn count_members(archive: &Path) -> usize {
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print(len(z.namelist()))";
    let ran = Command::new("python3")
        .args(["-c", script])
        .arg(archive)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_dataset() {
    const MANY: u64 = 40_000;
    // A directory of 40,000 members in memory would be more, and 2,000 pictures ten times as much.
    const BOUND: u64 = 20 << 10;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    prepare(&data, MANY);
    let app = Setup::new().data(&data).start().await;
    let classes = classes(&app).await;
    let archive = dir.path().join("dataset.zip");
    let (bytes, grown) = streamed(&app, "?label=few", &archive).await;
    println!(
        "{} small pictures: {bytes} bytes, memory grew by {grown} KiB",
        MANY / 8
    );
    assert_eq!(count_members(&archive), MANY as usize / 8 + 1);
    // What has been taken once is there for the next; only what grows with the number would be more.
    let (bytes, grown) = streamed(&app, "", &archive).await;
    println!("{MANY} small pictures: {bytes} bytes, memory grew by {grown} KiB");
    assert_eq!(count_members(&archive), MANY as usize + 1);
    assert!(grown < BOUND, "{grown} KiB");

    let mut large = picture("jpeg-1x1.jpg");
    large.resize(100_000, 0);
    reviewed(&app, &large, 2_000, &classes).await;
    let (bytes, grown) = streamed(&app, "", &archive).await;
    println!("2000 pictures of 100 KB more: {bytes} bytes, memory grew by {grown} KiB");
    assert_eq!(count_members(&archive), MANY as usize + 2_001);
    assert!(
        bytes > 200_000_000 && grown < BOUND,
        "{bytes} bytes, {grown} KiB"
    );
}

#[tokio::test]
async fn only_two_are_written_at_once() {
    let app = App::start().await;
    let classes = classes(&app).await;
    let mut large = picture("jpeg-1x1.jpg");
    large.resize(8_000_000, 0);
    reviewed(&app, &large, 8, &classes).await;
    // They are not read, so they cannot end.
    let mut first = app.get("/dataset.zip").send().await.unwrap();
    let second = app.get("/dataset.zip").send().await.unwrap();
    let refused = problem(app.get("/dataset.zip"), 503, "busy").await;
    assert!(refused.contains("dataset"), "{refused}");
    // One whose client has gone ends.
    drop(second);
    eventually("there is room again", async || {
        app.get("/dataset.zip").send().await.unwrap().status() == StatusCode::OK
    })
    .await;
    let mut bytes = Vec::new();
    while let Some(piece) = first.chunk().await.unwrap() {
        bytes.extend(piece);
    }
    assert_eq!(unzip(&bytes).len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_records_in_azure_are_in_it() {
    let azurite = Azurite::http();
    azurite.create_container("uploads").await;
    let emulator = Emulator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let app = Setup::new()
        .data(dir.path())
        .set("AZURE_STORAGE_BLOB_ENDPOINT", &azurite.endpoint())
        .set("AZURE_STORAGE_KEY", azurite::KEY)
        .set("AZURE_COSMOS_ENDPOINT", &emulator.url)
        .set("AZURE_COSMOS_KEY", cosmos::KEY)
        .start()
        .await;
    let classes = classes(&app).await;
    let base = picture("jpeg-1x1.jpg");
    let mut answers = Vec::new();
    for n in 0..40 {
        answers.push(app.predict(unique(&base, n)).await);
    }
    eventually("all has been shipped", async || {
        app.metric("relance_backlog_records").await == 0
            && app.metric("relance_shipped_records_total").await == 40
    })
    .await;
    for (n, answer) in answers.iter().enumerate() {
        review(&app, answer, &classes[n % 2]).await;
    }
    let members = dataset(&app, "?val=0.5").await;
    assert_eq!(members.len(), 41);
    for (n, answer) in (0..).zip(&answers) {
        let end = format!("/{}/{}.jpg", classes[n as usize % 2], id(answer));
        assert_eq!(ending(&members, &end).1, unique(&base, n));
    }
    let lines = manifest(&members);
    let val = lines.iter().filter(|line| line["split"] == "val").count();
    assert!((5..35).contains(&val), "{val}");
}
