//! Why a model is not served.

use std::path::PathBuf;

/// A model or ONNX Runtime library that cannot be used. Each text is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The shared library was found nowhere.
    #[error(
        "ONNX Runtime is missing (looked for {}): run `scripts/fetch-onnxruntime`, or set ORT_DYLIB_PATH to libonnxruntime.so",
        .path.display()
    )]
    RuntimeMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The shared library is there and does not work.
    #[error(
        "ONNX Runtime at {} cannot be used ({reason}): run `scripts/fetch-onnxruntime` to get the right version",
        .path.display()
    )]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// OpenVINO was found nowhere.
    #[error(
        "OpenVINO is missing (looked for lib/openvino/libopenvino_c.so): run `make openvino`, or set PROVIDER=cpu"
    )]
    OpenVinoMissing,
    /// OpenVINO is there and does not work.
    #[error(
        "OpenVINO at {} cannot be used ({reason}): run `make openvino` to get the right version, or set PROVIDER=cpu",
        .path.display()
    )]
    OpenVinoUnusable {
        /// The library.
        path: PathBuf,
        /// Its words.
        reason: String,
    },
    /// The model file cannot be read.
    #[error("the model {} cannot be read ({error}): set MODEL to the ONNX file of a classification model", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The labels file cannot be used.
    #[error("the labels file {} cannot be used ({reason}): it must hold one class name a line, in UTF-8", .path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model is not one this service can serve.
    #[error("the model {} {fault}; accepted are classification models as `yolo export format=onnx` writes them", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a model; completes the sentence "the model … ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not ONNX, or damaged.
    #[error("is not a whole, valid ONNX file ({0})")]
    Corrupt(String),
    /// Another task.
    #[error("is a model for the task \"{0}\", not for \"classify\"")]
    Task(String),
    /// Inputs that a picture cannot fill.
    #[error(
        "takes {0} where one picture tensor [batch, 3, height, width] of float32 or float16 is expected"
    )]
    Input(String),
    /// Outputs that are not class scores.
    #[error("gives {0} where one row of class scores [batch, classes] is expected")]
    Output(String),
    /// No class names.
    #[error(
        "has no class names in its metadata; set LABELS to a text file with one name a line, or put it beside a model of MODELS as labels.txt"
    )]
    NoNames,
    /// Unreadable class names.
    #[error("has class names in its metadata that cannot be read ({0})")]
    BadNames(String),
    /// The names don't fit the output.
    #[error("gives {scores} class scores but has {names} class names")]
    NameCount {
        /// Length of the output row.
        scores: usize,
        /// Number of names.
        names: usize,
    },
    /// The input size is open and the metadata doesn't tell it.
    #[error("has an open input size and no usable `imgsz` in its metadata ({0})")]
    NoSize(String),
    /// OpenVINO cannot read or compile it.
    #[error("cannot be run by OpenVINO ({0}); PROVIDER=cpu may")]
    OpenVino(String),
    /// Inference failed.
    #[error("cannot be run ({0})")]
    Run(String),
}
