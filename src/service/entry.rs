//! What is recorded of a classified request.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::results::{Outcome, Subject};
use super::{Config, Request};
use crate::image::InputSize;
use crate::records::{ClassScore, Record};
use crate::settings::UserIp;
use crate::uploads::Uploads;

/// Longest file name kept, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// `image_format` of a tensor, which is no picture.
const TENSOR: &str = "tensor";

/// The record of `request`; nothing if the model has no classes.
pub(super) fn record(config: &Config, request: &Request, outcome: &Outcome) -> Option<Record> {
    let model = request.model.model();
    let ranking = outcome.subject.ranking();
    let best = ranking.first()?;
    let class = |index: u32| {
        model
            .labels
            .get(index as usize)
            .cloned()
            .unwrap_or_default()
    };
    let top = ranking
        .iter()
        .take(request.top.max(1))
        .map(|score| ClassScore {
            class: class(score.index),
            index: score.index,
            confidence: score.confidence,
        });
    let about = About::new(&outcome.subject, model.input);
    Some(Record {
        request_id: outcome.request_id,
        timestamp: timestamp(outcome.request_id),
        image_name: image_name(request.image_name.as_deref(), about.extension),
        prediction: class(best.index),
        confidence: best.confidence,
        top: top.collect(),
        processing_time: (outcome.processing_time.as_secs_f64() * 1e6).round() / 1e3,
        cached: outcome.timings.is_none(),
        model: request.model.0.name(),
        image_sha256: about.sha256,
        image_ref: about.reference,
        image_format: about.format.into(),
        image_width: about.size.width,
        image_height: about.size.height,
        user_ip: request
            .address
            .and_then(|address| kept(address, config.user_ip)),
        client: request.client.clone(),
        instance: config.instance.clone(),
        status: 200,
        review: None,
        review_history: None,
        opinion: None,
    })
}

/// What a record says of the picture.
struct About {
    format: &'static str,
    extension: &'static str,
    sha256: String,
    reference: Option<String>,
    size: InputSize,
}

impl About {
    fn new(subject: &Subject, input: InputSize) -> Self {
        match subject {
            Subject::Picture(known, format) => Self {
                format: format.name(),
                extension: format.extension(),
                sha256: hex::encode(known.digest),
                reference: Some(Uploads::reference(&known.digest, format.extension())),
                size: InputSize {
                    width: known.classification.picture.width,
                    height: known.classification.picture.height,
                },
            },
            Subject::Tensor(digest, _) => Self {
                format: TENSOR,
                extension: TENSOR,
                sha256: hex::encode(digest),
                reference: None,
                size: input,
            },
        }
    }
}

/// The time in whole milliseconds, which is what stores keep.
pub(in crate::service) fn now() -> Timestamp {
    let millis = Timestamp::now().as_millisecond();
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

// The identifier carries the time; the record must not contradict it.
fn timestamp(request_id: Uuid) -> Timestamp {
    let (seconds, nanos) = request_id.get_timestamp().map_or((0, 0), |t| t.to_unix());
    let millis = i64::try_from(seconds).unwrap_or(0) * 1000 + i64::from(nanos / 1_000_000);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn image_name(given: Option<&str>, extension: &str) -> String {
    let name = given
        .and_then(|name| name.rsplit(['/', '\\']).next())
        .unwrap_or_default();
    let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
    let end = name.floor_char_boundary(MAX_NAME_BYTES);
    name.truncate(end);
    match name.trim() {
        "" | "." | ".." => format!("upload.{extension}"),
        name => name.to_owned(),
    }
}

fn kept(address: IpAddr, keep: UserIp) -> Option<String> {
    match (keep, address.to_canonical()) {
        (UserIp::Off, _) => None,
        (UserIp::Full, address) => Some(address.to_string()),
        (UserIp::Truncated, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(std::net::Ipv4Addr::new(a, b, c, 0).to_string())
        }
        (UserIp::Truncated, IpAddr::V6(address)) => {
            let kept = u128::from(address) & !(u128::MAX >> 48);
            Some(std::net::Ipv6Addr::from(kept).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_only_names() {
        assert_eq!(image_name(Some("../../etc/x.jpg"), "jpg"), "x.jpg");
        assert_eq!(
            image_name(Some("C:\\fotos\\garrafa é.png"), "png"),
            "garrafa é.png"
        );
        assert_eq!(image_name(Some("a\r\nb\0.jpg"), "jpg"), "ab.jpg");
        assert_eq!(image_name(Some(".."), "gif"), "upload.gif");
        assert_eq!(image_name(None, "webp"), "upload.webp");
        assert!(image_name(Some(&"é".repeat(300)), "jpg").len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn addresses_are_kept_as_set() {
        let v4 = "203.0.113.77".parse().unwrap();
        let v6 = "2001:db8:aaaa:bbbb::1".parse().unwrap();
        let mapped = "::ffff:203.0.113.77".parse().unwrap();
        assert_eq!(kept(mapped, UserIp::Full).unwrap(), "203.0.113.77");
        assert_eq!(kept(v4, UserIp::Truncated).unwrap(), "203.0.113.0");
        assert_eq!(kept(v6, UserIp::Truncated).unwrap(), "2001:db8:aaaa::");
        assert_eq!(kept(v4, UserIp::Off), None);
    }

    #[test]
    fn the_time_of_a_record_is_that_of_its_identifier() {
        let before = Timestamp::now().as_millisecond();
        let time = timestamp(Uuid::now_v7()).as_millisecond();
        assert!((before..=before + 1000).contains(&time));
    }
}
