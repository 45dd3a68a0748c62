//! Tensors: their elements, and their binary form.

use bytes::{Bytes, BytesMut};

use super::Error;
use crate::image::InputSize;

/// Types of elements that the model takes or gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// 32-bit floats.
    Fp32,
    /// Byte strings.
    Bytes,
}

impl Datatype {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "FP32",
            Self::Bytes => "BYTES",
        }
    }

    /// The type with this name, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Fp32, Self::Bytes]
            .into_iter()
            .find(|datatype| datatype.name() == name)
    }
}

/// An input as it was sent.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// Name.
    pub name: String,
    /// Name of the type of its elements.
    pub datatype: String,
    /// Shape.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: Data,
}

/// Elements of an input, in the form in which they came.
#[derive(Clone, Debug)]
pub enum Data {
    /// None.
    Missing,
    /// All of them in binary form: floats little-endian, byte strings each behind its length in four bytes.
    Binary(Bytes),
    /// Little-endian 32-bit floats that were sent as numbers.
    Numbers(Bytes),
    /// Byte strings.
    Strings(Vec<Bytes>),
}

impl Data {
    /// Floats that were sent as numbers.
    pub fn numbers(values: &[f32]) -> Self {
        Self::Numbers(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }
}

/// An output.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: OutputData,
}

/// Elements of an output.
#[derive(Clone, Debug)]
pub enum OutputData {
    /// Floats.
    Fp32(Vec<f32>),
    /// Strings.
    Bytes(Vec<String>),
}

impl OutputData {
    /// Type of the elements.
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Fp32(_) => Datatype::Fp32,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// The elements in binary form.
    pub fn to_binary(&self) -> Bytes {
        match self {
            Self::Fp32(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::Bytes(texts) => {
                let mut binary = BytesMut::new();
                for text in texts {
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    binary.extend_from_slice(&length.to_le_bytes());
                    binary.extend_from_slice(text.as_bytes());
                }
                binary.freeze()
            }
        }
    }
}

/// Bytes of the model's input for one picture.
pub(super) fn bytes_of(input: InputSize) -> usize {
    3 * size_of::<f32>() * input.width as usize * input.height as usize
}

/// The `count` byte strings of a `BYTES` tensor.
pub(super) fn strings(tensor: InputTensor, count: usize) -> Result<Vec<Bytes>, Error> {
    let InputTensor { name, data, .. } = tensor;
    let strings = match data {
        Data::Binary(binary) => split(&name, binary, count)?,
        Data::Strings(strings) => strings,
        Data::Numbers(_) => {
            return Err(Error::Invalid(format!(
                "the data of input {name:?} are numbers; a BYTES tensor takes strings: pictures in base64"
            )));
        }
        Data::Missing => return Err(missing(&name)),
    };
    if strings.len() != count {
        let found = strings.len();
        return Err(Error::Invalid(format!(
            "input {name:?} has {found} elements; its shape announces {count}"
        )));
    }
    Ok(strings)
}

/// The `count` tensors of `bytes` bytes each that an `FP32` tensor is made of.
pub(super) fn floats(tensor: InputTensor, count: usize, bytes: usize) -> Result<Vec<Bytes>, Error> {
    let InputTensor { name, data, .. } = tensor;
    let (all, unit, size) = match data {
        Data::Binary(binary) => (binary, "bytes", 1),
        Data::Numbers(numbers) => (numbers, "elements", size_of::<f32>()),
        Data::Strings(_) => {
            return Err(Error::Invalid(format!(
                "the data of input {name:?} are strings; an FP32 tensor takes numbers"
            )));
        }
        Data::Missing => return Err(missing(&name)),
    };
    if all.len() != count * bytes {
        let (found, wanted) = (all.len() / size, count * bytes / size);
        return Err(Error::Invalid(format!(
            "input {name:?} has {found} {unit}; its shape announces {wanted}"
        )));
    }
    Ok((0..count)
        .map(|n| all.slice(n * bytes..(n + 1) * bytes))
        .collect())
}

fn missing(name: &str) -> Error {
    Error::Invalid(format!(
        "input {name:?} has no data; accepted are `data` in JSON, `contents` in gRPC, and binary data"
    ))
}

fn split(name: &str, binary: Bytes, count: usize) -> Result<Vec<Bytes>, Error> {
    let broken = |at: usize, why: &str| {
        Error::Invalid(format!(
            "the binary data of input {name:?} are broken at byte {at}: {why}; accepted is, for each of the {count} \
             elements that the shape announces, its length in four bytes, the lowest first, and then the element"
        ))
    };
    let mut rest = binary.clone();
    let mut strings = Vec::with_capacity(count);
    while !rest.is_empty() {
        let at = binary.len() - rest.len();
        if strings.len() == count {
            return Err(broken(at, "there is more than that"));
        }
        let Some((length, _)) = rest.split_first_chunk::<4>() else {
            return Err(broken(at, "it ends within a length"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let mut element = rest.split_off(4);
        if length > element.len() {
            let left = element.len();
            return Err(broken(
                at,
                &format!("an element of {length} bytes, and {left} are left"),
            ));
        }
        rest = element.split_off(length);
        strings.push(element);
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data: Data) -> InputTensor {
        InputTensor {
            name: "images".into(),
            datatype: String::new(),
            shape: Vec::new(),
            data,
        }
    }

    fn binary(elements: &[&[u8]]) -> Vec<u8> {
        let one = |element: &&[u8]| {
            let length = u32::try_from(element.len()).unwrap().to_le_bytes();
            [&length, *element].concat()
        };
        elements.iter().flat_map(one).collect()
    }

    #[test]
    fn binary_strings_are_split_and_nothing_is_left_over() {
        let all = binary(&[b"one", b"", b"three"]);
        let split = |bytes: &[u8], count| {
            let data = Data::Binary(Bytes::copy_from_slice(bytes));
            strings(tensor(data), count).map_err(|error| error.to_string())
        };
        assert_eq!(split(&all, 3).unwrap(), [&b"one"[..], b"", b"three"]);
        for (bytes, count, why) in [
            (&all[..], 2, "more than that"),
            (&all[..], 4, "has 3 elements"),
            (
                &all[..all.len() - 1],
                3,
                "an element of 5 bytes, and 4 are left",
            ),
            (&all[..9], 3, "within a length"),
            (&[255; 4], 1, "an element of 4294967295 bytes"),
            (&[], 1, "has 0 elements"),
        ] {
            let error = split(bytes, count).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn floats_must_fill_their_shape() {
        let whole = floats(tensor(Data::numbers(&[0.5; 6])), 2, 12).unwrap();
        assert_eq!((whole.len(), whole[1].len()), (2, 12));
        let error = floats(tensor(Data::numbers(&[0.5; 5])), 2, 12).unwrap_err();
        assert!(error.to_string().contains("has 5 elements"), "{error}");
        let error = floats(tensor(Data::Binary(Bytes::from_static(&[0; 23]))), 2, 12).unwrap_err();
        assert!(error.to_string().contains("has 23 bytes"), "{error}");
    }

    #[test]
    fn outputs_have_the_binary_form_that_inputs_have() {
        let texts = OutputData::Bytes(vec!["0.5:0:a".into(), String::new()]);
        assert_eq!(texts.to_binary(), binary(&[b"0.5:0:a", b""]));
        let values = OutputData::Fp32(vec![1.0, -2.5]);
        assert_eq!(values.to_binary(), [0, 0, 128, 63, 0, 0, 32, 192][..]);
    }
}
