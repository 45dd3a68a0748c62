//! Records in SQLite.

mod open;
mod reader;
mod remarks;
mod reviews;
mod row;
mod write;

use std::io;

use rusqlite::ErrorCode;

pub use open::{checkpoint, open_checkpointer, open_writer, restart_log};
pub use reader::Reader;
pub use remarks::{count_waiting_remarks, forget_remarks, remark, remarks_shipped};
pub use write::{Arrived, Spool, count_waiting, forget, insert, prepare, shipped};

/// SQLite's error as an I/O error: `StorageFull` and `ReadOnlyFilesystem` are told apart from the rest.
pub fn io_error(error: &rusqlite::Error) -> io::Error {
    let kind = match error.sqlite_error().map(|e| (e.code, e.extended_code)) {
        Some((ErrorCode::DiskFull, _)) => io::ErrorKind::StorageFull,
        // SQLite could not make room for its shared memory file.
        Some((_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)) => io::ErrorKind::StorageFull,
        Some((ErrorCode::ReadOnly, _)) => io::ErrorKind::ReadOnlyFilesystem,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::records::bounds::first_id_at;
    use crate::records::{ClassScore, Filter, ModelName, Page, Record};

    fn record(n: u8, prediction: &str, confidence: f32) -> Record {
        let millis = 1_700_000_000_000 + i64::from(n);
        let first = first_id_at(Timestamp::from_millisecond(millis).unwrap());
        let id = Uuid::from_u128(first.as_u128() | u128::from(n));
        Record {
            request_id: id,
            timestamp: Timestamp::from_millisecond(millis).unwrap(),
            image_name: format!("{n}.jpg"),
            prediction: prediction.into(),
            confidence,
            top: vec![ClassScore {
                class: prediction.into(),
                index: 0,
                confidence,
            }],
            processing_time: 1.5,
            cached: n.is_multiple_of(2),
            model: ModelName {
                name: "m".into(),
                version: "v".into(),
            },
            image_sha256: "ab".repeat(32),
            image_ref: Some("ab/ab/x.jpg".into()),
            image_format: "jpeg".into(),
            image_width: 3,
            image_height: 4,
            user_ip: Some("::1".into()),
            client: None,
            instance: "here".into(),
            status: 200,
            review: None,
            review_history: None,
            opinion: None,
        }
    }

    fn store() -> (tempfile::TempDir, Reader) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.db");
        let writer = open_writer(&path, false).unwrap();
        for n in 0..10 {
            let (class, confidence) = if n % 3 == 0 {
                ("a", 0.9)
            } else {
                ("b", 0.1 * f32::from(n))
            };
            insert(&writer, Spool::None, &record(n, class, confidence)).unwrap();
        }
        (dir, Reader::new(path))
    }

    fn names(page: &Page) -> Vec<&str> {
        page.records.iter().map(|r| r.image_name.as_str()).collect()
    }

    #[test]
    fn a_record_comes_back_whole() {
        let (_dir, reader) = store();
        let written = record(7, "b", 0.1 * 7.0);
        assert_eq!(reader.get(written.request_id).unwrap(), Some(written));
        assert_eq!(reader.get(Uuid::nil()).unwrap(), None);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let (_dir, reader) = store();
        let mut filter = Filter {
            limit: 4,
            ..Filter::default()
        };
        let mut all = Vec::new();
        loop {
            let page = reader.list(&filter).unwrap();
            all.extend(names(&page).into_iter().map(str::to_owned));
            filter.before = page.next;
            if filter.before.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..10).rev().map(|n| format!("{n}.jpg")).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn filters_combine() {
        let (_dir, reader) = store();
        let list = |filter: Filter| {
            reader
                .list(&Filter {
                    limit: 100,
                    ..filter
                })
                .unwrap()
        };
        let at = |n: i64| Some(Timestamp::from_millisecond(1_700_000_000_000 + n).unwrap());
        let page = list(Filter {
            prediction: Some("a".into()),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["9.jpg", "6.jpg", "3.jpg", "0.jpg"]);
        let page = list(Filter {
            min_confidence: Some(0.9),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["9.jpg", "6.jpg", "3.jpg", "0.jpg"]);
        let page = list(Filter {
            max_confidence: Some(0.25),
            from: at(2),
            to: at(5),
            ..Filter::default()
        });
        assert_eq!(names(&page), ["2.jpg"]);
    }
}
