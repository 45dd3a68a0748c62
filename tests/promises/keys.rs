//! Keys can be changed without a restart, and a broken file of keys takes nobody's away.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use reqwest::StatusCode;
use sha2::{Digest, Sha256};

use crate::support::{App, Setup, eventually, picture};

fn entry(name: &str, key: &str) -> String {
    format!("{name}:{}", hex::encode(Sha256::digest(key)))
}

async fn status(app: &App, key: &str) -> StatusCode {
    let request = app.get("/models").header("x-api-key", key);
    request.send().await.unwrap().status()
}

async fn comes_in(app: &App, key: &str) {
    let what = format!("{key} comes in");
    eventually(&what, async || status(app, key).await == StatusCode::OK).await;
}

fn with_file(path: &Path) -> Setup {
    Setup::new()
        .set("API_KEYS_FILE", path.to_str().unwrap())
        .set("LOGIN_FAILURES_PER_MINUTE", "0")
}

/// Replaces a file in one step, as careful tools do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn keys_are_changed_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, format!("# ours\n{}\n", entry("ana", "first"))).unwrap();
    let app = with_file(&file)
        .set("API_KEYS", &entry("ci", "fixed"))
        .start()
        .await;
    assert_eq!(status(&app, "first").await, StatusCode::OK);
    assert_eq!(status(&app, "fixed").await, StatusCode::OK);
    assert_eq!(status(&app, "second").await, StatusCode::UNAUTHORIZED);

    // Both keys of one holder for a time, so that nobody is shut out in between.
    let both = format!("{}\n{}\n", entry("ana", "first"), entry("ana", "second"));
    replace(&file, &both);
    comes_in(&app, "second").await;
    assert_eq!(status(&app, "first").await, StatusCode::OK);

    // Written in place, and without the old one.
    fs::write(&file, entry("ana", "second")).unwrap();
    eventually("the old key is gone", async || {
        status(&app, "first").await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(status(&app, "second").await, StatusCode::OK);
    assert_eq!(status(&app, "fixed").await, StatusCode::OK);
    assert!(
        app.log().contains("API_KEYS_FILE was read again"),
        "{}",
        app.log()
    );

    replace(&file, "# nobody\n");
    eventually("all are gone", async || {
        status(&app, "second").await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(status(&app, "fixed").await, StatusCode::OK);
}

/// A folder as Kubernetes mounts secrets: `keys` → `..data/keys`, and `..data` → a folder with a date.
#[tokio::test]
async fn links_that_are_turned_elsewhere_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("keys"), text).unwrap();
    };
    let (data, temporary) = (dir.path().join("..data"), dir.path().join("..data_tmp"));
    version("..2026_01", &entry("ana", "first"));
    symlink("..2026_01", &data).unwrap();
    symlink("..data/keys", dir.path().join("keys")).unwrap();
    let app = with_file(&dir.path().join("keys")).start().await;
    assert_eq!(status(&app, "first").await, StatusCode::OK);

    version("..2026_02", &entry("ana", "second"));
    symlink("..2026_02", &temporary).unwrap();
    fs::rename(&temporary, &data).unwrap();
    fs::remove_dir_all(dir.path().join("..2026_01")).unwrap();
    comes_in(&app, "second").await;
    assert_eq!(status(&app, "first").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_keys_and_is_reported_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let good = format!("{}\n", entry("ana", "first"));
    fs::write(&file, &good).unwrap();
    let app = with_file(&file).start().await;
    let up = async || {
        let text = app
            .get("/metrics")
            .header("x-api-key", "first")
            .send()
            .await
            .unwrap();
        text.text()
            .await
            .unwrap()
            .contains("\nrelance_key_file_up 1\n")
    };
    assert!(up().await);

    for (broken, reason) in [
        (
            format!("{good}phone:in-clear-by-mistake\n"),
            "line 2 is not name:sha256hex",
        ),
        (format!("\n\n{good}{good}"), "line 4 appears twice"),
        (good[..60].to_owned(), "line 1 is not name:sha256hex"),
    ] {
        replace(&file, &broken);
        eventually(reason, async || app.log().contains(reason)).await;
        eventually("the metric tells", async || !up().await).await;
        assert_eq!(status(&app, "first").await, StatusCode::OK);
        replace(&file, &good);
        eventually("it is good again", &up).await;
    }
    fs::write(&file, [0xff, b'\n']).unwrap();
    eventually("it is no text", async || {
        app.log().contains("line 1 is not UTF-8")
    })
    .await;
    fs::remove_file(&file).unwrap();
    eventually("it is gone", async || {
        app.log().contains("cannot be opened")
    })
    .await;
    assert_eq!(status(&app, "first").await, StatusCode::OK);
    let log = app.log();
    let digest = good.trim().split_once(':').unwrap().1;
    assert!(
        !log.contains("in-clear") && !log.contains(&digest[..16]),
        "{log}"
    );
    fs::write(&file, entry("ana", "second")).unwrap();
    comes_in(&app, "second").await;
}

#[test]
fn it_does_not_start_without_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let line = with_file(&file).refusal();
    assert!(
        line.contains("API_KEYS_FILE") && line.contains("cannot be opened"),
        "{line}"
    );
    fs::write(&file, "secret-in-clear\n").unwrap();
    let line = with_file(&file).refusal();
    assert!(line.contains("line 1 is not name:sha256hex"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    fs::write(&file, "x".repeat(2 << 20)).unwrap();
    let line = with_file(&file).refusal();
    assert!(line.contains("larger than"), "{line}");
}

#[tokio::test]
async fn a_file_of_keys_is_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, "").unwrap();
    let app = with_file(&file).set("HOST", "0.0.0.0").start().await;
    assert_eq!(status(&app, "").await, StatusCode::UNAUTHORIZED);
    fs::write(&file, entry("ana", "first")).unwrap();
    comes_in(&app, "first").await;
}

#[tokio::test]
async fn limits_are_changed_with_the_keys_and_what_is_used_up_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, format!("{}:2", entry("ana", "first"))).unwrap();
    let app = with_file(&file).start().await;
    let left = async |key: &str| {
        let request = app.post("/predict").header("x-api-key", key);
        let answer = request.body(picture("jpeg-1x1.jpg")).send().await.unwrap();
        answer.headers()["ratelimit-remaining"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(left("first").await, "1");
    replace(
        &file,
        &format!("{}:2\n{}:2", entry("ana", "first"), entry("ana", "second")),
    );
    comes_in(&app, "second").await;
    assert_eq!(left("second").await, "0");
    replace(&file, &format!("{}:9", entry("ana", "second")));
    eventually("the new limit counts", async || left("second").await == "8").await;
}
