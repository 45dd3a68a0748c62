//! Messages of gRPC as the protocol's own types, and back.

use std::collections::HashMap;

use bytes::Bytes;

use super::proto::infer_parameter::ParameterChoice;
use super::proto::model_infer_request::InferInputTensor;
use super::proto::model_infer_response::InferOutputTensor;
use super::proto::model_metadata_response::TensorMetadata;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{
    DataType, InferParameter, InferTensorContents, ModelConfig, ModelInferRequest,
    ModelInferResponse, ModelInput, ModelMetadataResponse, ModelOutput, RepositoryIndexResponse,
    ServerMetadataResponse, model_input,
};
use crate::oip::{
    self, Data, Error, InferRequest, InferResponse, InputTensor, OutputData, OutputTensor,
    Parameter, Parameters, RequestedOutput,
};

/// The request, and whether its tensors are in binary form.
pub(super) fn request(message: ModelInferRequest) -> Result<(InferRequest, bool), Error> {
    let raw = message.raw_input_contents;
    let binary = !raw.is_empty();
    if binary && raw.len() != message.inputs.len() {
        let (found, inputs) = (raw.len(), message.inputs.len());
        return Err(Error::Invalid(format!(
            "raw_input_contents has {found} elements for {inputs} inputs; accepted is one for each, or none at all"
        )));
    }
    let mut raw = raw.into_iter();
    let inputs = message.inputs.into_iter();
    let outputs = message.outputs.into_iter();
    let request = InferRequest {
        model: message.model_name,
        version: message.model_version,
        id: message.id,
        parameters: parameters(message.parameters),
        inputs: inputs
            .map(|input| tensor(input, raw.next()))
            .collect::<Result<_, _>>()?,
        outputs: outputs
            .map(|output| RequestedOutput::new(output.name, &parameters(output.parameters)))
            .collect::<Result<_, _>>()?,
    };
    Ok((request, binary))
}

fn tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<InputTensor, Error> {
    let name = input.name;
    oip::refuse_shared_memory("input", &name, &parameters(input.parameters))?;
    let data = match (raw, input.contents) {
        (Some(raw), None) => Data::Binary(raw),
        (Some(_), Some(_)) => {
            return Err(Error::Invalid(format!(
                "input {name:?} has both contents and raw_input_contents; accepted is one of them"
            )));
        }
        (None, Some(contents)) if !contents.bytes_contents.is_empty() => {
            Data::Strings(contents.bytes_contents)
        }
        (None, Some(contents)) if !contents.fp32_contents.is_empty() => {
            Data::numbers(&contents.fp32_contents)
        }
        (None, _) => Data::Missing,
    };
    Ok(InputTensor {
        name,
        datatype: input.datatype,
        shape: input.shape,
        data,
    })
}

fn parameters(sent: HashMap<String, InferParameter>) -> Parameters {
    let one = |(name, value): (String, InferParameter)| {
        let value = match value.parameter_choice? {
            ParameterChoice::BoolParam(value) => Parameter::Bool(value),
            ParameterChoice::Int64Param(value) => Parameter::Int(value),
            ParameterChoice::StringParam(value) => Parameter::Text(value),
            ParameterChoice::DoubleParam(value) => Parameter::Double(value),
            ParameterChoice::Uint64Param(value) => Parameter::Uint(value),
        };
        Some((name, value))
    };
    sent.into_iter().filter_map(one).collect()
}

impl From<Parameter> for InferParameter {
    fn from(parameter: Parameter) -> Self {
        Self {
            parameter_choice: Some(match parameter {
                Parameter::Bool(value) => ParameterChoice::BoolParam(value),
                Parameter::Int(value) => ParameterChoice::Int64Param(value),
                Parameter::Uint(value) => ParameterChoice::Uint64Param(value),
                Parameter::Double(value) => ParameterChoice::DoubleParam(value),
                Parameter::Text(value) => ParameterChoice::StringParam(value),
            }),
        }
    }
}

/// The answer, with its tensors in binary form or not.
pub(super) fn response(response: InferResponse, binary: bool) -> ModelInferResponse {
    let mut raw = Vec::new();
    let outputs = response.outputs.into_iter();
    let outputs = outputs.map(|output| output_tensor(output, binary.then_some(&mut raw)));
    ModelInferResponse {
        model_name: response.model,
        model_version: response.version,
        id: response.id,
        parameters: response
            .parameters
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
        outputs: outputs.collect(),
        raw_output_contents: raw,
    }
}

fn output_tensor(output: OutputTensor, raw: Option<&mut Vec<Bytes>>) -> InferOutputTensor {
    let datatype = output.data.datatype().name().to_owned();
    let contents = match (raw, output.data) {
        (Some(raw), data) => {
            raw.push(data.to_binary());
            None
        }
        (None, OutputData::Fp32(values)) => Some(InferTensorContents {
            fp32_contents: values,
            ..InferTensorContents::default()
        }),
        (None, OutputData::Bytes(texts)) => Some(InferTensorContents {
            bytes_contents: texts.into_iter().map(Bytes::from).collect(),
            ..InferTensorContents::default()
        }),
    };
    InferOutputTensor {
        name: output.name,
        datatype,
        shape: output.shape,
        parameters: HashMap::new(),
        contents,
    }
}

impl From<oip::ServerMetadata> for ServerMetadataResponse {
    fn from(metadata: oip::ServerMetadata) -> Self {
        Self {
            name: metadata.name.into(),
            version: metadata.version.into(),
            extensions: metadata.extensions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<oip::TensorMetadata> for TensorMetadata {
    fn from(tensor: oip::TensorMetadata) -> Self {
        Self {
            name: tensor.name,
            datatype: tensor.datatype.into(),
            shape: tensor.shape,
        }
    }
}

impl From<oip::ModelMetadata> for ModelMetadataResponse {
    fn from(metadata: oip::ModelMetadata) -> Self {
        Self {
            name: metadata.name,
            versions: metadata.versions,
            platform: metadata.platform.into(),
            inputs: metadata.inputs.into_iter().map(Into::into).collect(),
            outputs: metadata.outputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<oip::ModelConfig> for ModelConfig {
    fn from(config: oip::ModelConfig) -> Self {
        let data_type = |name| DataType::from_str_name(name).unwrap_or_default().into();
        let format = |name: Option<&str>| {
            let format = name.and_then(model_input::Format::from_str_name);
            format.unwrap_or_default().into()
        };
        let input = config.input.into_iter().map(|input| ModelInput {
            name: input.name,
            data_type: data_type(input.data_type),
            format: format(input.format),
            dims: input.dims,
        });
        let output = config.output.into_iter().map(|output| ModelOutput {
            name: output.name,
            data_type: data_type(output.data_type),
            dims: output.dims,
        });
        Self {
            name: config.name,
            platform: config.platform.into(),
            max_batch_size: config.max_batch_size,
            input: input.collect(),
            output: output.collect(),
            backend: config.backend.into(),
        }
    }
}

impl From<Vec<oip::ModelIndex>> for RepositoryIndexResponse {
    fn from(index: Vec<oip::ModelIndex>) -> Self {
        let one = |model: oip::ModelIndex| ModelIndex {
            name: model.name,
            version: model.version,
            state: model.state.into(),
            reason: model.reason.into(),
        };
        Self {
            models: index.into_iter().map(one).collect(),
        }
    }
}
