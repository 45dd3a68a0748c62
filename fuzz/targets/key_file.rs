//! Keys as they are written in `API_KEYS` and its file.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use relance::settings::ApiKeys;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(data) else {
        return Corpus::Reject;
    };
    for outcome in [ApiKeys::from_lines(text), text.parse()] {
        match outcome {
            Ok(ApiKeys(keys)) => {
                for key in keys {
                    assert!(!key.name.is_empty() && !key.name.contains(char::is_control));
                    assert!(format!("{key:?}").ends_with(":[redacted]"));
                }
            }
            Err(reason) => assert!(is_ours(&reason), "{reason}"),
        }
    }
    Corpus::Keep
});

// What a message may be, but for numbers: none has a part of what it is about.
fn is_ours(reason: &str) -> bool {
    let words: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
    let about = words
        .trim_start_matches("entry ")
        .trim_start_matches("line ");
    [
        " is not name:shahex ( hexadecimal digits) or name:shahex:limit (pictures a minute,  for any number); `relance \
         key NAME` prints one",
        " appears twice",
        " has another limit than an earlier key of the same name; keys of one name share one limit",
        "there are more than  keys",
    ]
    .contains(&about)
}
