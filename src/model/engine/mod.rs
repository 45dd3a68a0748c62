//! What runs a model: one of two libraries, each single-threaded here. On a CPU, several such sessions side by
//! side do more than one session with as many threads.

mod onnxruntime;
mod openvino;
mod runtime;

pub(super) use onnxruntime::OnnxRuntime;
pub(super) use openvino::OpenVino;
pub(super) use runtime::{Runtime, one_line};

use super::error::Fault;
use super::spec::Spec;

/// A loaded model with its input buffer; used by one thread at a time.
pub(super) trait Engine: Send {
    /// Where the picture's tensor goes: `3 × height × width`, RGB, 0 to 1.
    fn input(&mut self) -> &mut [f32];

    /// The scores that the model gives the picture in [`Engine::input`].
    fn run(&mut self) -> Result<Vec<f32>, Fault>;
}

/// Elements of one picture's tensor.
fn picture_len(spec: &Spec) -> usize {
    3 * spec.input.height as usize * spec.input.width as usize
}
