//! An inference: tensors in, tensors out.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;

use super::tensor::{bytes_of, floats, strings};
use super::{
    Datatype, Error, InputTensor, OutputData, OutputTensor, Parameter, Parameters, Place, Server,
};
use crate::access::Account;
use crate::classification::Ranking;
use crate::model::Model;
use crate::service::{Answer, DEFAULT_TOP, Input, Request};

/// Parameter of an answer with the identifiers of the records, comma separated and in the order of the batch.
const REQUEST_IDS: &str = "request_ids";

/// A request for an inference.
#[derive(Clone, Debug)]
pub struct InferRequest {
    /// Model.
    pub model: String,
    /// Its version; empty for the one there is.
    pub version: String,
    /// The client's name for this request; empty if it has none.
    pub id: String,
    /// Parameters, which the answer repeats.
    pub parameters: Parameters,
    /// Inputs.
    pub inputs: Vec<InputTensor>,
    /// Wanted outputs; none means all.
    pub outputs: Vec<RequestedOutput>,
}

/// A wanted output.
#[derive(Clone, Debug)]
pub struct RequestedOutput {
    /// Name.
    pub name: String,
    /// The so many likeliest classes as `score:index:label`, instead of all scores.
    pub classification: Option<usize>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct InferResponse {
    /// Model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The client's name for the request.
    pub id: String,
    /// Parameters.
    pub parameters: Parameters,
    /// Outputs in the order in which they were wanted.
    pub outputs: Vec<OutputTensor>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// User or key name.
    pub client: Option<String>,
    /// Address.
    pub address: Option<IpAddr>,
    /// Who has paid for the first picture, and pays for the others; none where there is no limit.
    pub account: Option<Account>,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
}

impl RequestedOutput {
    /// An output with these parameters.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(name: String, parameters: &Parameters) -> Result<Self, Error> {
        refuse_shared_memory("output", &name, parameters)?;
        let classification = match parameters.get("classification") {
            None => None,
            Some(value) => Some(value.as_count().ok_or_else(|| {
                Error::Invalid(format!(
                    "the parameter `classification` of output {name:?} is not a whole number from 0 up"
                ))
            })?),
        };
        Ok(Self {
            name,
            classification: classification.filter(|&classes| classes > 0),
        })
    }
}

/// Refuses a tensor that lies in memory shared with the client.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn refuse_shared_memory(
    kind: &str,
    name: &str,
    parameters: &Parameters,
) -> Result<(), Error> {
    if parameters.contains_key("shared_memory_region") {
        return Err(Error::Invalid(format!(
            "{kind} {name:?} is in shared memory, which is not supported; send tensors in the message"
        )));
    }
    Ok(())
}

impl Server<'_> {
    /// Classifies the pictures or tensors of a request side by side; returns once all are recorded.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn infer(
        &self,
        request: InferRequest,
        caller: Caller,
    ) -> Result<InferResponse, Error> {
        let chosen = self.choose(&request, &caller).await?;
        let model = chosen.model();
        let outputs = outputs(model, request.outputs)?;
        let inputs = self.inputs(model, request.inputs)?;
        let of = inputs.len();
        if let Some(account) = &caller.account {
            account.charge_further(of).map_err(Error::RateLimited)?;
        }
        let requests: Vec<Request> = inputs
            .into_iter()
            .map(|input| Request {
                input,
                model: chosen.clone(),
                image_name: None,
                client: caller.client.clone(),
                address: caller.address,
                top: DEFAULT_TOP,
                deadline: caller.deadline,
            })
            .collect();
        let answers = self.service.classify_all(&requests, caller.deadline);
        let answers = answers.await.map_err(|(refusal, n)| Error::Refused {
            refusal,
            place: n.filter(|_| of > 1).map(|n| Place { number: n + 1, of }),
        })?;

        let mut parameters = request.parameters;
        let ids: Vec<String> = answers
            .iter()
            .map(|answer| answer.record.request_id.to_string())
            .collect();
        parameters.insert(REQUEST_IDS.into(), Parameter::Text(ids.join(",")));
        Ok(InferResponse {
            model: model.reference.name.clone(),
            version: model.reference.version.clone(),
            id: request.id,
            parameters,
            outputs: outputs
                .into_iter()
                .map(|output| output.of(model, &answers))
                .collect(),
        })
    }

    fn inputs(&self, model: &Model, mut inputs: Vec<InputTensor>) -> Result<Vec<Input>, Error> {
        let expected = &model.input_name;
        let found = inputs.len();
        let (Some(input), 1) = (inputs.pop(), found) else {
            return Err(Error::Invalid(format!(
                "the request has {found} inputs; the model takes one, {expected:?}"
            )));
        };
        if input.name != *expected {
            return Err(Error::Invalid(format!(
                "the model has no input {:?}; its input is {expected:?}",
                input.name
            )));
        }
        match Datatype::from_name(&input.datatype) {
            Some(Datatype::Bytes) => self.pictures(input),
            Some(Datatype::Fp32) => self.tensors(model, input),
            None => Err(Error::Invalid(format!(
                "input {expected:?} has the datatype {:?}; accepted are BYTES for encoded pictures and FP32 for pixels",
                input.datatype
            ))),
        }
    }

    fn pictures(&self, input: InputTensor) -> Result<Vec<Input>, Error> {
        let count = match *input.shape {
            [count] | [count, 1] => self.count(count),
            _ => None,
        };
        let count = count.ok_or_else(|| self.bad_shape(&input, "[N] or [N, 1]"))?;
        let pictures = strings(input, count)?;
        let max = self.limits.picture_bytes;
        let too_large = |(_, picture): &(usize, &Bytes)| picture.len() > max;
        if let Some((n, picture)) = pictures.iter().enumerate().find(too_large) {
            let (number, bytes) = (n + 1, picture.len());
            return Err(Error::TooLarge(format!(
                "element {number} of {count} has {bytes} bytes; at most {max} are accepted"
            )));
        }
        Ok(pictures.into_iter().map(Input::Picture).collect())
    }

    fn tensors(&self, model: &Model, input: InputTensor) -> Result<Vec<Input>, Error> {
        let (height, width) = (i64::from(model.input.height), i64::from(model.input.width));
        let count = match *input.shape {
            [count, 3, h, w] if (h, w) == (height, width) => self.count(count),
            _ => None,
        };
        let count =
            count.ok_or_else(|| self.bad_shape(&input, &format!("[N, 3, {height}, {width}]")))?;
        let tensors = floats(input, count, bytes_of(model.input))?;
        Ok(tensors.into_iter().map(Input::Tensor).collect())
    }

    fn count(&self, count: i64) -> Option<usize> {
        let count = usize::try_from(count).ok()?;
        (1..=self.limits.batch).contains(&count).then_some(count)
    }

    fn bad_shape(&self, input: &InputTensor, accepted: &str) -> Error {
        let (name, datatype, max) = (&input.name, &input.datatype, self.limits.batch);
        Error::Invalid(format!(
            "input {name:?} has the shape {:?}; accepted for {datatype} is {accepted} with N from 1 to {max}",
            input.shape
        ))
    }
}

fn outputs(model: &Model, wanted: Vec<RequestedOutput>) -> Result<Vec<RequestedOutput>, Error> {
    let expected = &model.output_name;
    let mut names = HashSet::new();
    for output in &wanted {
        if output.name != *expected {
            return Err(Error::Invalid(format!(
                "the model has no output {:?}; its output is {expected:?}",
                output.name
            )));
        }
        if !names.insert(&output.name) {
            return Err(Error::Invalid(format!(
                "output {expected:?} is wanted twice; once is enough"
            )));
        }
    }
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    Ok(vec![RequestedOutput {
        name: expected.clone(),
        classification: None,
    }])
}

impl RequestedOutput {
    fn of(self, model: &Model, answers: &[Answer]) -> OutputTensor {
        let rows = answers.iter().map(|answer| &answer.ranking);
        let classes = model.labels.len();
        let (columns, data) = match self.classification {
            None => (classes, OutputData::Fp32(rows.flat_map(scores).collect())),
            Some(wanted) => {
                let columns = wanted.min(classes);
                let texts = rows.flat_map(|ranking| best(model, ranking, columns));
                (columns, OutputData::Bytes(texts.collect()))
            }
        };
        let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        OutputTensor {
            name: self.name,
            shape: vec![length(answers.len()), length(columns)],
            data,
        }
    }
}

/// The scores in the order of the classes.
fn scores(ranking: &Ranking) -> Vec<f32> {
    let mut scores = vec![0.0; ranking.len()];
    for score in ranking.iter() {
        if let Some(place) = scores.get_mut(score.index as usize) {
            *place = score.confidence;
        }
    }
    scores
}

/// The likeliest classes as `score:index:label`.
fn best(model: &Model, ranking: &Ranking, count: usize) -> Vec<String> {
    let one = |score: &crate::classification::Score| {
        let label = model.labels.get(score.index as usize);
        let label = label.map_or("", String::as_str);
        format!("{}:{}:{label}", score.confidence, score.index)
    };
    ranking.iter().take(count).map(one).collect()
}
