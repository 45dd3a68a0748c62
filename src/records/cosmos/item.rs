//! Records as items.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::records::{Queue, Record};
use crate::remote::{Failure, FailureKind};

const SECONDS_A_DAY: i64 = 86_400;

/// A record under the names that it has in the API, with what Cosmos DB needs.
#[derive(Serialize)]
struct Item<'a> {
    id: Uuid,
    /// Seconds from the last write until the item is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<i32>,
    /// Where it waits for its first review.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
    #[serde(flatten)]
    record: &'a Record,
}

/// The item of a record that is kept for so many days after its request; 0 keeps it for ever.
pub fn of(record: &Record, retention_days: u32) -> Result<Value, Failure> {
    let item = Item {
        id: record.request_id,
        ttl: ttl(record, retention_days),
        queue: Queue::of(record).filter(|_| record.review.is_none()),
        record,
    };
    json(&item)
}

/// As JSON, by way of its text. Without that, a probability of 0.98 would be 0.9800000190734863 in some places and
/// 0.98 in others, and comparisons would go wrong.
pub fn json<T: Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|e| Failure::new(FailureKind::Rejected, e.to_string()))
}

// Records may have waited long before they are written.
fn ttl(record: &Record, retention_days: u32) -> Option<i32> {
    if retention_days == 0 {
        return None;
    }
    let age = jiff::Timestamp::now().as_second() - record.timestamp.as_second();
    let left = i64::from(retention_days) * SECONDS_A_DAY - age;
    Some(i32::try_from(left.max(1)).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(age_days: i64) -> Record {
        let time = jiff::Timestamp::now().as_second() - age_days * SECONDS_A_DAY;
        serde_json::from_value(json!({
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "timestamp": jiff::Timestamp::from_second(time).unwrap(),
            "image_name": "garrafa.jpg",
            "prediction": "aberta",
            "confidence": 0.98,
            "top": [{ "class": "aberta", "index": 0, "confidence": 0.98 }],
            "processing_time": 3.2,
            "cached": false,
            "model": { "name": "bottle", "version": "3f1c9a7be042" },
            "image_sha256": "00",
            "image_ref": "00/00/00.jpg",
            "image_format": "jpeg",
            "image_width": 3,
            "image_height": 4,
            "user_ip": null,
            "client": "ana",
            "instance": "here",
            "status": 200
        }))
        .unwrap()
    }

    #[test]
    fn an_item_has_the_fields_of_the_record_and_digits_as_written() {
        let record = record(0);
        let item = of(&record, 0).unwrap();
        assert_eq!(item["id"], item["request_id"]);
        assert_eq!(item["confidence"].to_string(), "0.98");
        assert_eq!(item["top"][0]["confidence"].to_string(), "0.98");
        assert_eq!(item.get("ttl"), None);
        assert_eq!(serde_json::from_value::<Record>(item).unwrap(), record);
    }

    #[test]
    fn items_live_for_what_is_left_of_the_retention() {
        let left = |age, days| of(&record(age), days).unwrap()["ttl"].as_i64().unwrap();
        let near = |left: i64, days: i64| (left - days * SECONDS_A_DAY).abs() <= 2;
        assert!(near(left(0, 30), 30), "{}", left(0, 30));
        assert!(near(left(10, 30), 20), "{}", left(10, 30));
        assert_eq!(left(40, 30), 1);
        assert_eq!(left(0, u32::MAX), i64::from(i32::MAX));
    }
}
