//! What a model file says of itself, checked.

use ort::value::{TensorElementType, ValueType};

use super::error::Fault;
use super::literal;
use super::session::Session;
use crate::image::InputSize;

/// How to feed a model and read its answer.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub input: InputSize,
    pub element: Element,
    /// Pictures per run that the graph demands; 1 if it leaves that open.
    pub batch: usize,
    /// The output is logits: the softmax was left out of the graph.
    pub logits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
}

pub(super) struct Facts {
    /// Names of the input and the output.
    pub tensors: [String; 2],
    pub labels: Vec<String>,
    pub description: Option<String>,
}

/// Reads shapes and metadata of an opened model.
pub(super) fn examine(
    session: &ort::session::Session,
    labels: Option<Vec<String>>,
) -> Result<(Spec, Facts), Fault> {
    let metadata = session
        .metadata()
        .map_err(|e| Fault::Corrupt(e.to_string()))?;
    if let Some(task) = metadata.custom("task")
        && task != "classify"
    {
        return Err(Fault::Task(task));
    }
    let (shape, element) = input(session)?;
    let classes = output(session)?;
    let input = input_size(&shape, metadata.custom("imgsz"))?;
    let labels = match (labels, metadata.custom("names")) {
        (Some(labels), _) => labels,
        (None, Some(names)) => literal::names(&names).map_err(Fault::BadNames)?,
        (None, None) => return Err(Fault::NoNames),
    };
    if let Some(scores) = classes
        && scores != labels.len()
    {
        return Err(Fault::NameCount {
            scores,
            names: labels.len(),
        });
    }
    let batch = usize::try_from(shape[0]).unwrap_or(1).max(1);
    let spec = Spec {
        input,
        element,
        batch,
        logits: false,
    };
    Ok((
        spec,
        Facts {
            tensors: [
                session
                    .inputs()
                    .first()
                    .map_or("", |input| input.name())
                    .into(),
                session
                    .outputs()
                    .first()
                    .map_or("", |output| output.name())
                    .into(),
            ],
            labels,
            description: metadata.custom("description"),
        },
    ))
}

fn input(session: &ort::session::Session) -> Result<([i64; 4], Element), Fault> {
    let [input] = session.inputs() else {
        return Err(Fault::Input(format!("{} inputs", session.inputs().len())));
    };
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
        return Err(Fault::Input("no tensor".into()));
    };
    let element = match ty {
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float16 => Element::F16,
        other => return Err(Fault::Input(format!("a tensor of {other}"))),
    };
    let dims: &[i64] = shape;
    match *dims {
        [batch, channels, height, width] if channels == 3 || channels == -1 => {
            Ok(([batch, channels, height, width], element))
        }
        _ => Err(Fault::Input(format!("a tensor of shape {}", shown(dims)))),
    }
}

fn output(session: &ort::session::Session) -> Result<Option<usize>, Fault> {
    let [output] = session.outputs() else {
        return Err(Fault::Output(format!(
            "{} outputs",
            session.outputs().len()
        )));
    };
    match output.dtype() {
        ValueType::Tensor {
            ty: TensorElementType::Float32 | TensorElementType::Float16,
            shape,
            ..
        } => {
            let dims: &[i64] = shape;
            match *dims {
                [_, classes] => Ok(usize::try_from(classes).ok().filter(|&n| n > 0)),
                _ => Err(Fault::Output(format!("a tensor of shape {}", shown(dims)))),
            }
        }
        other => Err(Fault::Output(other.to_string())),
    }
}

fn shown(dims: &[i64]) -> String {
    let dims: Vec<String> = dims
        .iter()
        .map(|&d| if d < 0 { "?".into() } else { d.to_string() })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// Largest side of an input; Ultralytics' default for any task is 640.
const MAX_SIDE: u32 = 4096;

fn input_size(shape: &[i64; 4], imgsz: Option<String>) -> Result<InputSize, Fault> {
    let fixed = |side: i64| u32::try_from(side).ok().filter(|&n| n > 0);
    let size = match (fixed(shape[2]), fixed(shape[3]), imgsz) {
        (Some(height), Some(width), _) => InputSize { width, height },
        (_, _, Some(text)) => {
            let (height, width) = literal::size(&text).map_err(Fault::NoSize)?;
            InputSize { width, height }
        }
        (_, _, None) => return Err(Fault::NoSize("it has none".into())),
    };
    let sides = [size.width, size.height];
    if sides.iter().any(|&side| side == 0 || side > MAX_SIDE) {
        return Err(Fault::NoSize(format!(
            "{}×{} is not between 1 and {MAX_SIDE}",
            size.height, size.width
        )));
    }
    Ok(size)
}

impl Spec {
    pub(super) fn element_name(&self) -> &'static str {
        match self.element {
            Element::F32 => "float32",
            Element::F16 => "float16",
        }
    }

    /// Runs the model once and settles what only a run shows: the length of the answer, and whether it is
    /// probabilities or logits.
    pub(super) fn settle(&mut self, session: &mut Session, names: usize) -> Result<(), Fault> {
        let scores = session.warm_up()?;
        if scores.len() != names {
            return Err(Fault::NameCount {
                scores: scores.len(),
                names,
            });
        }
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(Fault::Run("its scores are not finite numbers".into()));
        }
        let sum: f32 = scores.iter().sum();
        self.logits = (sum - 1.0).abs() > 0.01 || scores.iter().any(|&score| score < 0.0);
        Ok(())
    }
}
