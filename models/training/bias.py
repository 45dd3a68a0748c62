"""Corrects biases for what rounding the weights to int8 shifts.

Rounding moves each output channel of a convolution by about the sum of the weights' errors times the mean of
what they are multiplied with. Where a channel has few weights, as in depthwise convolutions, that does not average
out, and the bias can take it back (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias
Correction", ICCV 2019; here with means measured on pictures).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

# of int8 weights: the sum of two of them times the largest activations fits into 16 bits, in which some processors add
LARGEST_WEIGHT = 64


def correct_biases(
    path: Path, batches: Iterable[dict[str, np.ndarray]], exact: Collection[str] = ()
) -> None:
    """Changes the biases of a float32 model's convolutions but for the `exact` nodes; its constants must be folded."""
    model = onnx.load(str(path))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    convs = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and len(node.input) > 2 and {*node.input[1:3]} <= tensors.keys()
        and node.name not in exact
    ]
    means = channel_means(model, {conv.input[0] for conv in convs}, batches)
    for conv in convs:
        weight, bias = (numpy_helper.to_array(tensors[name]) for name in conv.input[1:3])
        lost = weight - rounded(weight)
        groups = next((entry.i for entry in conv.attribute if entry.name == "group"), 1)
        # outputs of a group see the inputs of that group
        inputs = means[conv.input[0]].reshape(groups, -1).repeat(len(weight) // groups, axis=0)
        shift = (lost.sum(axis=tuple(range(2, lost.ndim))) * inputs).sum(axis=1)
        # a bias of its own: equal ones may have been one tensor
        conv.input[2] = f"{conv.output[0]}_bias"
        model.graph.initializer.append(
            numpy_helper.from_array((bias + shift).astype(np.float32), conv.input[2])
        )
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, str(path))


def rounded(weight: np.ndarray) -> np.ndarray:
    """What is left of weights in int8 of a reduced range with a scale for each output channel."""
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    scale = np.maximum(largest, np.finfo(np.float32).tiny) / LARGEST_WEIGHT
    return np.round(weight / scale) * scale


def channel_means(
    model: onnx.ModelProto, names: set[str], batches: Iterable[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The mean of each channel of some tensors over all pictures."""
    fed = {entry.name for entry in model.graph.input}
    inner = sorted(names - fed)
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inner)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    sums: dict[str, np.ndarray] = {}
    count = 0
    for batch in batches:
        values = {**dict(zip(inner, session.run(inner, batch))), **batch}
        count += 1
        for name in names:
            value = values[name]
            mean = value.mean(axis=(0, *range(2, value.ndim)), dtype=np.float64)
            sums[name] = sums.get(name, 0) + mean
    return {name: total / count for name, total in sums.items()}
