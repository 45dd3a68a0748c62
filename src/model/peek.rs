//! What an ONNX file says of itself, without loading it.

use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};

use super::{ModelDigest, ModelError, literal};

/// What is known of a model that is not loaded.
#[derive(Clone, Debug)]
pub struct Peek {
    /// SHA-256 of the file.
    pub digest: ModelDigest,
    /// Class names by index; none if its metadata has none.
    pub labels: Vec<String>,
    /// The file's own words about itself.
    pub description: Option<String>,
}

/// The part of ONNX's `ModelProto` that is read.
#[derive(Message)]
struct File {
    #[prost(message, repeated, tag = "14")]
    metadata: Vec<Property>,
}

#[derive(Message)]
struct Property {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Reads a file's metadata. Blocks.
///
/// # Errors
/// [`ModelError::Unreadable`].
pub fn peek(path: &Path) -> Result<Peek, ModelError> {
    let bytes = std::fs::read(path).map_err(|error| ModelError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let metadata = File::decode(bytes.as_slice()).unwrap_or_default().metadata;
    let find = |key| metadata.iter().find(|property| property.key == key);
    let labels = find("names").and_then(|names| literal::names(&names.value).ok());
    Ok(Peek {
        digest: Sha256::digest(&bytes).into(),
        labels: labels.unwrap_or_default(),
        description: find("description").map(|description| description.value.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_without_the_network() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = peek(&root.join("models/bottle.onnx")).unwrap();
        assert_eq!(found.labels, ["aberta", "fechada"]);
        assert!(found.description.is_some());
        let text = peek(&root.join("tests/fixtures/models/text.onnx")).unwrap();
        assert!(text.labels.is_empty());
        assert!(peek(&root.join("no/such.onnx")).is_err());
    }
}
