//! Reads request bodies, within bounds of size, time and memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// Memory for request bodies, shared by all requests.
pub(super) struct Budget {
    kib: Arc<Semaphore>,
}

/// A part of the budget, given back when dropped.
pub(crate) struct Share {
    kib: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            kib: Arc::new(Semaphore::new((bytes / 1024).min(Semaphore::MAX_PERMITS))),
        }
    }

    fn share(&self) -> Share {
        Share {
            kib: Arc::clone(&self.kib),
            permit: None,
            bytes: 0,
        }
    }
}

impl Share {
    /// Makes the share at least `bytes` large.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let held = self.bytes.div_ceil(1024);
        let wanted = bytes.div_ceil(1024);
        if wanted <= held {
            return Ok(());
        }
        let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
        let busy = |_| {
            Problem::new(
                Kind::Busy,
                "too many uploads are being received; try again in 1 s",
            )
            .retry_after(1)
        };
        let permit = Arc::clone(&self.kib)
            .try_acquire_many_owned(more)
            .map_err(busy)?;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// A whole request body and the memory it is charged for.
pub(crate) struct Received {
    pub bytes: Bytes,
    pub share: Share,
}

/// Reads the whole body: at most `max` bytes, until `deadline`.
pub(super) async fn read(
    budget: &Budget,
    headers: &HeaderMap,
    body: Body,
    max: usize,
    deadline: Instant,
) -> Result<Received, Problem> {
    let mut body = body;
    let reading = collect(budget, headers, &mut body, max);
    match tokio::time::timeout_at(deadline.into(), reading).await {
        Ok(Ok(received)) => Ok(received),
        Ok(Err(problem)) => {
            discard(body).await;
            Err(problem)
        }
        Err(_) => Err(Problem::new(
            Kind::SlowBody,
            "the request body did not arrive in time",
        )),
    }
}

async fn collect(
    budget: &Budget,
    headers: &HeaderMap,
    body: &mut Body,
    max: usize,
) -> Result<Received, Problem> {
    let too_large = || {
        let detail = format!("the upload is larger than the {max} bytes that are accepted");
        Problem::new(Kind::TooLarge, detail)
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let mut share = budget.share();
    share.grow_to(announced.unwrap_or(0))?;

    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let unreadable = |e| {
            Problem::new(
                Kind::BadBody,
                format!("the request body could not be read to its end ({e})"),
            )
        };
        let Ok(data) = frame.map_err(unreadable)?.into_data() else {
            continue;
        };
        let length = first.len() + all.len() + data.len();
        if length > max {
            return Err(too_large());
        }
        share.grow_to(length)?;
        // A body that comes in one piece is not copied. Any other piece is let go at once, so that the next one can be
        // read into its memory.
        if length == data.len() && announced.is_none_or(|whole| whole <= length) {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.unwrap_or(2 * length));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    Ok(Received { bytes, share })
}

/// How much of a refused body is read all the same, and for how long: a client that is still sending
/// sees a broken connection instead of the answer if nobody reads what it sends.
const DISCARD_BYTES: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Reads and forgets a refused body, within bounds.
pub(super) async fn discard(mut body: Body) {
    let drain = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            if length >= left {
                break;
            }
            left -= length;
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME, drain).await;
}
