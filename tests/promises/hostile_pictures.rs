//! Whatever is uploaded is answered, soon and within memory, and disturbs nobody.

mod corpus;
mod jpeg;
mod others;
mod png;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;

use crate::support::{self, App, picture, process};

/// What a hostile file may cost of a processor; a good one of 12 million pixels takes a tenth of it.
const MAX_CPU: Duration = Duration::from_secs(1);

/// Two pictures of `MAX_PIXELS` in memory at once, with what decodes them.
const MAX_MEMORY_KIB: u64 = 700 * 1024;

#[tokio::test]
async fn hostile_pictures_are_answered_within_bounds() {
    let app = App::start().await;
    let good = picture("jpeg-420.jpg");
    let expected = app.predict(good.clone()).await;
    let cases = corpus::all();
    assert!(cases.len() >= 200, "only {} cases", cases.len());

    let mut outcomes: BTreeMap<u16, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut dearest = (Duration::ZERO, "");
    for case in &cases {
        let before = process::cpu_time(app.pid());
        let (status, answer) = support::json(app.post_picture(case.bytes.clone(), "a.png")).await;
        let cpu = process::cpu_time(app.pid()) - before;
        dearest = dearest.max((cpu, &case.name));
        *outcomes.entry(status.as_u16()).or_default() += 1;
        if !status.is_success() && !status.is_client_error() {
            wrong.push(format!("{}: {status} {answer}", case.name));
        }
        if cpu >= MAX_CPU {
            wrong.push(format!(
                "{}: {cpu:?} of processor time, {status}",
                case.name
            ));
        }
    }
    println!(
        "{} cases: {outcomes:?}, dearest {dearest:?}, peak {} MiB",
        cases.len(),
        process::peak_kib(app.pid()) / 1024
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        process::peak_kib(app.pid()) < MAX_MEMORY_KIB,
        "{} KiB",
        process::peak_kib(app.pid())
    );
    // The corpus is not so broken that all of it is refused at the door.
    assert!(outcomes.get(&200).is_some_and(|n| *n >= 30), "{outcomes:?}");
    assert!(
        outcomes.get(&422).is_some_and(|n| *n >= 100),
        "{outcomes:?}"
    );

    let again = app.predict(good).await;
    assert_eq!(again["top"], expected["top"]);
    assert!(!app.log().contains("panicked"), "{}", app.log());
    let status = app.get("/health/ready").send().await.unwrap().status();
    assert_eq!(status, StatusCode::OK);
}
