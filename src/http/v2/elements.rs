//! Elements of a tensor in JSON, nested or flat.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::image::Format;
use crate::oip::Data;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands in `data`.
pub(super) struct Elements(pub Data);

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Found::default();
        Collect(&mut found).deserialize(deserializer)?;
        let Found { numbers, strings } = found;
        Ok(Self(match (numbers.is_empty(), strings.is_empty()) {
            (true, true) => Data::Missing,
            (false, true) => Data::Numbers(numbers.into()),
            (true, false) => Data::Strings(strings),
            (false, false) => {
                return Err(de::Error::custom("`data` mixes strings and numbers"));
            }
        }))
    }
}

#[derive(Default)]
struct Found {
    /// Little-endian 32-bit floats.
    numbers: Vec<u8>,
    strings: Vec<Bytes>,
}

/// Adds the elements, which may be nested by the dimensions of the shape.
struct Collect<'a>(&'a mut Found);

impl Collect<'_> {
    fn number<E>(self, value: f32) -> Result<(), E> {
        self.0.numbers.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or strings as the elements of `data`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Collect(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.0.strings.push(picture(value).ok_or_else(|| {
            E::custom("a string of `data` is neither base64 nor a picture itself")
        })?);
        Ok(())
    }
}

/// The picture that a string holds: in base64, or as it is if all of its bytes are text by chance.
fn picture(text: &str) -> Option<Bytes> {
    let plain = || {
        let bytes = text.as_bytes();
        Format::sniff(bytes)
            .is_ok()
            .then(|| Bytes::copy_from_slice(bytes))
    };
    BASE64.decode(text).ok().map(Bytes::from).or_else(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> Result<Data, String> {
        let parsed = serde_json::from_str::<Elements>(json);
        parsed
            .map(|elements| elements.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_may_be_nested_and_of_any_kind() {
        let Ok(Data::Numbers(bytes)) = data("[[[1, 2.5], [-3, 1e39]], [0.1]]") else {
            panic!("no numbers");
        };
        let expected = [1.0, 2.5, -3.0, f32::INFINITY, 0.1];
        assert_eq!(
            bytes,
            expected
                .iter()
                .flat_map(|n: &f32| n.to_le_bytes())
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn strings_are_base64_or_pictures_themselves() {
        for (json, expected) in [
            (r#"["aGVsbG8="]"#, &b"hello"[..]),
            (r#"[["aGVsbG8"]]"#, b"hello"),
            (r#""GIF89a rest""#, b"GIF89a rest"),
        ] {
            let Ok(Data::Strings(strings)) = data(json) else {
                panic!("{json}");
            };
            assert_eq!(strings, [expected], "{json}");
        }
        assert!(matches!(data("[]"), Ok(Data::Missing)));
        for (json, why) in [
            (r#"["no picture"]"#, "neither base64"),
            (r#"[1, "aGVsbG8="]"#, "mixes"),
            ("[true]", "expected numbers or strings"),
            ("[null]", "expected numbers or strings"),
            (r#"[{"b64": "aGVsbG8="}]"#, "expected numbers or strings"),
        ] {
            let error = data(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
