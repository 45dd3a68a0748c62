//! Pictures in Azure Blob Storage: what is put there is there, once, as it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use relance::remote::{FailureKind, State};
use relance::uploads::blob::{Blob, BlobError};
use reqwest::StatusCode;

use crate::support::azurite::{Azurite, KEY};
use crate::support::container::{MAX, about, bytes, open, reference, settings, with_container};
use crate::support::picture;

fn header(answer: &reqwest::Response, name: &str) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_picture_comes_back_byte_for_byte_with_what_is_kept_with_it() {
    let (azurite, blob) = with_container().await;
    let bytes = Bytes::from(picture("jpeg-1280x960.jpg"));
    let reference = reference(&bytes);
    assert_eq!(blob.presence().name(), "blob");
    assert_eq!(blob.presence().state(), State::Unknown);
    assert_eq!(blob.get(&reference, MAX).await, Ok(None));
    blob.delete(&reference).await.unwrap();

    let about = about("garrafa.jpg");
    blob.put(&reference, &about, bytes.clone()).await.unwrap();
    assert_eq!(blob.get(&reference, MAX).await, Ok(Some(bytes.clone())));
    assert_eq!(blob.presence().state(), State::Up);

    let answer = azurite.read(&format!("uploads/{reference}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), "image/jpeg");
    assert_eq!(header(&answer, "x-ms-blob-type"), "BlockBlob");
    assert_eq!(
        header(&answer, "x-ms-meta-request_id"),
        about.request_id.to_string()
    );
    assert_eq!(header(&answer, "x-ms-meta-image_name"), "garrafa.jpg");
    assert_eq!(
        header(&answer, "x-ms-meta-timestamp"),
        "2026-03-01T12:30:15.25Z"
    );
    assert_eq!(answer.bytes().await.unwrap(), bytes);

    blob.delete(&reference).await.unwrap();
    assert_eq!(blob.get(&reference, MAX).await, Ok(None));
    blob.delete(&reference).await.unwrap();
    assert!(azurite.list("uploads").await.is_empty());
}

#[tokio::test]
async fn the_first_request_that_brings_a_picture_is_kept_with_it() {
    let (azurite, blob) = with_container().await;
    let bytes = bytes(3000, 1);
    let reference = reference(&bytes);
    let first = about("first.jpg");
    blob.put(&reference, &first, bytes.clone()).await.unwrap();
    let again = about("again.jpg");
    blob.put(&reference, &again, bytes.clone()).await.unwrap();
    let together = (0..8).map(|_| blob.put(&reference, &again, bytes.clone()));
    for outcome in join_all(together).await {
        outcome.unwrap();
    }
    assert_eq!(azurite.list("uploads").await, [reference.as_str()]);
    let answer = azurite.read(&format!("uploads/{reference}")).await;
    assert_eq!(header(&answer, "x-ms-meta-image_name"), "first.jpg");
    assert_eq!(
        header(&answer, "x-ms-meta-request_id"),
        first.request_id.to_string()
    );
    assert_eq!(blob.presence().state(), State::Up);
}

#[tokio::test]
async fn names_in_any_script_are_kept() {
    let (azurite, blob) = with_container().await;
    let long = "ž".repeat(3000);
    let names = [
        "",
        " a b ",
        "garrafa açúcar.jpg",
        "瓶子 №5.jpg",
        "🍾.png",
        "100%25.jpg",
        "a\r\nx-ms-meta-evil: 1",
        "\u{0}\u{7f}\u{85}",
        "\"quoted\", \\ and ; = :",
        &long,
    ];
    for (n, name) in names.into_iter().enumerate() {
        let bytes = bytes(500, n as u64);
        let reference = reference(&bytes);
        blob.put(&reference, &about(name), bytes).await.unwrap();
        let answer = azurite.read(&format!("uploads/{reference}")).await;
        assert!(answer.headers().get("x-ms-meta-evil").is_none());
        let value = header(&answer, "x-ms-meta-image_name");
        assert!(value.len() <= 1024, "{}", value.len());
        let kept = percent_encoding::percent_decode_str(&value)
            .decode_utf8()
            .unwrap();
        let expected = if name == long {
            &name[..kept.len()]
        } else {
            name
        };
        assert_eq!(kept, expected);
        assert!(name.is_empty() || !kept.is_empty());
    }
}

#[tokio::test]
async fn large_pictures_go_in_one_piece_and_too_large_ones_are_not_read() {
    let (azurite, blob) = with_container().await;
    let large = bytes(10 * 1024 * 1024, 7);
    let reference = reference(&large);
    blob.put(&reference, &about("large.jpg"), large.clone())
        .await
        .unwrap();
    assert_eq!(blob.get(&reference, MAX).await, Ok(Some(large.clone())));
    let exact = large.len() as u64;
    assert_eq!(blob.get(&reference, exact).await, Ok(Some(large)));
    let failure = blob.get(&reference, exact - 1).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(
        failure.message.contains("more than 10485759 bytes"),
        "{failure}"
    );
    assert_eq!(blob.presence().state(), State::Up);

    let empty = Bytes::new();
    let reference = self::reference(&empty);
    blob.put(&reference, &about("empty"), empty.clone())
        .await
        .unwrap();
    assert_eq!(blob.get(&reference, MAX).await, Ok(Some(empty)));
    assert_eq!(azurite.list("uploads").await.len(), 2);
}

#[tokio::test]
async fn a_picture_that_is_not_the_one_its_name_says_is_not_given_out() {
    let (azurite, blob) = with_container().await;
    let reference = reference(b"what was stored");
    azurite
        .write(&format!("uploads/{reference}"), b"what was not".to_vec())
        .await;
    let failure = blob.get(&reference, MAX).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.message.contains("not the one"), "{failure}");
}

#[tokio::test]
async fn a_missing_container_and_a_wrong_key_are_told_apart() {
    let azurite = Azurite::http();
    let blob = open(&azurite.endpoint(), KEY, "uploads");
    let bytes = bytes(500, 1);
    let reference = reference(&bytes);
    let about = about("a.jpg");
    let failures = |blob: Arc<Blob>| {
        let (reference, about, bytes) = (reference.clone(), about.clone(), bytes.clone());
        async move {
            [
                blob.put(&reference, &about, bytes).await.unwrap_err(),
                blob.get(&reference, MAX).await.unwrap_err(),
                blob.delete(&reference).await.unwrap_err(),
            ]
        }
    };
    let blob = Arc::new(blob);
    for failure in failures(Arc::clone(&blob)).await {
        assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
        assert!(
            failure.message.contains("404 ContainerNotFound")
                && failure.message.contains("az storage container create"),
            "{failure}"
        );
        assert_eq!(blob.presence().state(), State::Down(failure.message));
    }
    azurite.create_container("uploads").await;
    blob.put(&reference, &about, bytes.clone()).await.unwrap();
    assert_eq!(blob.presence().state(), State::Up);

    let wrong = Arc::new(open(&azurite.endpoint(), "d3Jvbmc=", "uploads"));
    for failure in failures(wrong).await {
        assert_eq!(failure.kind, FailureKind::Denied, "{failure}");
        assert!(failure.message.contains("403"), "{failure}");
        assert!(!failure.message.contains("d3Jvbmc="), "{failure}");
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let error = |arguments: &[&str]| {
        let outcome: Result<Blob, BlobError> = Blob::new(&settings(arguments));
        outcome.err().unwrap().to_string()
    };
    let endpoint = "--azure-storage-blob-endpoint";
    let sas = error(&[endpoint, "https://relance.blob.core.windows.net/?sig=hush"]);
    assert!(
        sas.contains("AZURE_STORAGE_BLOB_ENDPOINT") && !sas.contains("hush"),
        "{sas}"
    );
    let plain = error(&[endpoint, "http://relance.blob.core.windows.net"]);
    assert!(
        plain.contains("https://") && plain.contains("AZURE_STORAGE_KEY"),
        "{plain}"
    );
    let there = [endpoint, "http://127.0.0.1:10000/devstoreaccount1"];
    let key = error(&[&there[..], &["--azure-storage-key", "no base64!"]].concat());
    assert!(
        key.contains("AZURE_STORAGE_KEY") && !key.contains("no base64"),
        "{key}"
    );
    let container = error(&[&there[..], &["--azure-storage-container", "Up"]].concat());
    assert!(container.contains("AZURE_STORAGE_CONTAINER"), "{container}");
}

#[tokio::test]
async fn only_addresses_in_the_container_lead_to_a_picture() {
    let blob = open("http://127.0.0.1:10000/devstoreaccount1", KEY, "uploads");
    let here = "http://127.0.0.1:10000/devstoreaccount1/uploads/";
    let reference = reference(b"a picture");
    let r = reference.as_str();
    assert_eq!(blob.reference(r), Some(r));
    assert_eq!(blob.reference(&format!("{here}{r}")), Some(r));
    assert_eq!(
        blob.reference(&format!("{}{r}", here.replace("http", "HTTP"))),
        Some(r)
    );

    let encoded = r.replace('/', "%2F");
    let hostile = [
        String::new(),
        "/".into(),
        "..".into(),
        format!("/{r}"),
        format!("../{r}"),
        format!("./{r}"),
        format!("{r}/"),
        format!("{r}?snapshot=2026"),
        format!("{r}#a"),
        format!("{r}\0"),
        r.to_uppercase(),
        encoded.clone(),
        r.replace('/', "\\"),
        format!("{here}{encoded}"),
        format!("{here}../uploads/{r}"),
        format!("{here}../secrets/{r}"),
        format!("{here}%2e%2e/secrets/{r}"),
        format!("{here}/{r}"),
        format!("{here}{r}?sv=2026&sig=x"),
        format!("{here}{r}#x"),
        format!("{here}{r} "),
        format!(" {here}{r}"),
        format!("{}{r}", here.replace("uploads", "secrets")),
        format!("{}{r}", here.replace("uploads", "Uploads")),
        format!("{}{r}", here.replace("devstoreaccount1", "another")),
        format!("{}{r}", here.replace("devstoreaccount1/", "")),
        format!("{}{r}", here.replace("10000", "10001")),
        format!("{}{r}", here.replace(":10000", "")),
        format!("{}{r}", here.replace("10000", "10000@evil.example")),
        format!("{}{r}", here.replace("127.0.0.1", "me:pw@127.0.0.1")),
        format!("{}{r}", here.replace("127.0.0.1", "evil.example")),
        format!("{}{r}", here.replace("http:", "https:")),
        format!("{}{r}", here.replace("http:", "file:")),
        format!("https://evil.example/?{here}{r}"),
        "http://127.0.0.1:10000/devstoreaccount1/uploads".into(),
        "http://169.254.169.254/metadata/identity".into(),
        "é://".into(),
    ];
    for given in hostile {
        assert_eq!(blob.reference(&given), None, "{given:?}");
    }

    // Names that are none of ours never reach the network: nothing listens there.
    let failure = blob
        .put("../x", &about("x"), Bytes::new())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert_eq!(blob.get("../secrets/x", MAX).await, Ok(None));
    assert_eq!(blob.delete("../secrets").await, Ok(()));
    assert_eq!(blob.presence().state(), State::Unknown);
}

#[tokio::test]
async fn transfers_are_quick() {
    const AT_ONCE: usize = 16;
    let (azurite, blob) = with_container().await;
    let pictures: Vec<Bytes> = (0..400).map(|n| bytes(50_000, n)).collect();
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let about = about("a.jpg");
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for bytes in &pictures[..100] {
        let reference = reference(bytes);
        let start = Instant::now();
        blob.put(&reference, &about, bytes.clone()).await.unwrap();
        puts.push(start.elapsed());
        let start = Instant::now();
        blob.get(&reference, MAX).await.unwrap().unwrap();
        gets.push(start.elapsed());
    }
    let start = Instant::now();
    let many = stream::iter(&pictures[100..])
        .map(async |bytes| blob.put(&reference(bytes), &about, bytes.clone()).await);
    let outcomes: Vec<_> = many.buffer_unordered(AT_ONCE).collect().await;
    let rate = 300.0 / start.elapsed().as_secs_f64();
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(azurite.list("uploads").await.len(), 400);
    let (put, get) = (median(puts), median(gets));
    println!("50 KB: put {put:?}, get {get:?} (medians); {rate:.0} puts/s, {AT_ONCE} at once");
    assert!(put < Duration::from_secs(1) && get < Duration::from_secs(1));
}
