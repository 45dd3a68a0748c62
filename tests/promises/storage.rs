//! A disk that is full or cannot be written costs answers and not the service.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{App, Setup, json, picture, problem, unique};

/// An instance whose data folder is a file system of its own of `size` bytes, which only it can see.
struct OwnDisk {
    app: App,
    _mount_point: tempfile::TempDir,
}

impl OwnDisk {
    async fn start(size: &str) -> Self {
        let mount_point = tempfile::tempdir().unwrap();
        let dir = mount_point.path().to_str().unwrap();
        let script = format!("mount -t tmpfs -o size={size} tmpfs '{dir}' && exec \"$@\"");
        // As an ordinary user, a user namespace gives the right to mount.
        let wrapper = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
        ];
        let app = Setup::new()
            .data(mount_point.path())
            .inside(&wrapper)
            .start()
            .await;
        Self {
            app,
            _mount_point: mount_point,
        }
    }

    /// The data folder as the instance sees it.
    fn dir(&self) -> PathBuf {
        let seen = self.app.data.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.app.pid())).join(seen)
    }

    fn remount(&self, options: &str) {
        let pid = self.app.pid().to_string();
        let dir = self.app.data.to_str().unwrap();
        let enter = [
            "--target",
            &pid,
            "--user",
            "--mount",
            "--preserve-credentials",
            "mount",
            "-o",
        ];
        let status = std::process::Command::new("nsenter")
            .args(enter)
            .args([options, dir])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[tokio::test]
async fn a_full_disk_is_507_until_there_is_space() {
    let disk = OwnDisk::start("6m").await;
    let app = &disk.app;
    app.predict(picture("jpeg-420.jpg")).await;

    let ballast = disk.dir().join("ballast");
    let fill = |path: &PathBuf| {
        use std::io::Write;
        let mut file = std::fs::File::create(path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    };
    fill(&ballast);
    let base = picture("jpeg-640x480.jpg");
    for n in 0..20 {
        let detail = problem(
            app.post_picture(unique(&base, n), "a.jpg"),
            507,
            "storage-full",
        )
        .await;
        assert!(detail.contains("full"), "{detail}");
    }
    // A known picture needs room for its record alone.
    let known = app
        .post_picture(picture("jpeg-420.jpg"), "a.jpg")
        .send()
        .await
        .unwrap()
        .status()
        .as_u16();
    assert!([200, 507].contains(&known), "{known}");
    assert_eq!(app.get("/health").send().await.unwrap().status(), 200);
    assert_eq!(
        json(app.get("/requests")).await.0,
        200,
        "what was recorded can still be read"
    );

    std::fs::remove_file(&ballast).unwrap();
    let answer = app.predict(unique(&base, 1000)).await;
    let id = answer["request_id"].as_str().unwrap();
    assert_eq!(json(app.get(&format!("/requests/{id}"))).await.0, 200);
}

#[tokio::test]
async fn a_journal_without_room_is_507_and_recovers() {
    let disk = OwnDisk::start("3m").await;
    let app = &disk.app;
    // One small picture over and over: only records fill the disk.
    let picture = picture("png-1x1.png");
    let end = Instant::now() + Duration::from_secs(60);
    let mut answered = 0;
    loop {
        assert!(
            Instant::now() < end,
            "the disk is not full after {answered} records"
        );
        let long_name = "n".repeat(250);
        let response = app
            .post_picture(picture.clone(), &long_name)
            .send()
            .await
            .unwrap();
        match response.status().as_u16() {
            200 => answered += 1,
            507 => break,
            other => panic!("{other}: {}", response.text().await.unwrap()),
        }
    }
    let (_, ready) = json(app.get("/health/ready")).await;
    assert!(
        ready["status"] == "ready" && ready["storage"] != "ok",
        "{ready}"
    );

    let size = "remount,size=64m";
    disk.remount(size);
    app.predict(picture.clone()).await;
    assert_eq!(json(app.get("/health/ready")).await.1["storage"], "ok");
    let (_, page) = json(app.get("/requests?limit=500")).await;
    assert!(
        page["requests"].as_array().unwrap().len() > answered.min(400),
        "records from before are still there"
    );
}

#[tokio::test]
async fn a_read_only_disk_is_503_until_it_can_be_written() {
    let disk = OwnDisk::start("16m,ro").await;
    let app = &disk.app;
    for _ in 0..3 {
        let response = app
            .post_picture(picture("png-rgb.png"), "a.png")
            .send()
            .await
            .unwrap();
        assert!(response.headers().contains_key("retry-after"));
        problem(
            app.post_picture(picture("png-rgb.png"), "a.png"),
            503,
            "storage-unavailable",
        )
        .await;
    }
    assert_eq!(app.get("/health").send().await.unwrap().status(), 200);
    let (_, ready) = json(app.get("/health/ready")).await;
    assert!(
        ready["status"] == "ready" && ready["storage"] != "ok",
        "{ready}"
    );
    disk.remount("remount,rw");
    let answer = app.predict(picture("png-rgb.png")).await;
    let id = answer["request_id"].as_str().unwrap();
    assert_eq!(json(app.get(&format!("/requests/{id}"))).await.0, 200);
    assert_eq!(json(app.get("/health/ready")).await.1["storage"], "ok");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let log = Setup::new()
        .data(&file.join("data"))
        .try_start()
        .err()
        .unwrap();
    assert!(
        log.contains("DATA_DIR") && log.contains("cannot be used"),
        "{log}"
    );
}

#[tokio::test]
async fn pictures_that_cannot_be_written_show_in_readiness() {
    let app = App::start().await;
    let (folder, aside) = (app.data.join("pictures"), app.data.join("aside"));
    app.predict(picture("jpeg-420.jpg")).await;
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, b"in the way").unwrap();
    let post = |n| {
        app.post("/predict")
            .body(unique(&picture("jpeg-420.jpg"), n))
    };
    problem(post(1), 503, "storage-unavailable").await;
    let (_, ready) = json(app.get("/health/ready")).await;
    assert!(
        ready["status"] == "ready" && ready["storage"] != "ok",
        "{ready}"
    );
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(json(post(1)).await.0, 200);
    assert_eq!(json(app.get("/health/ready")).await.1["storage"], "ok");
}
