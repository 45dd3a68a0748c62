"""Biases corrected for rounded weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bias import correct_biases, rounded


def save_model(path: Path, weights: list[np.ndarray]) -> None:
    """A plain, a depthwise and a grouped convolution, one after the other, with one bias for all."""
    nodes, name = [], "images"
    for number, (weight, groups) in enumerate(zip(weights, (1, 4, 2))):
        pads = [weight.shape[2] // 2] * 4
        inputs = [name, f"weight{number}", "zeros"]
        name = f"out{number}"
        nodes.append(helper.make_node("Conv", inputs, [name], f"conv{number}", group=groups, pads=pads))
    constants = [numpy_helper.from_array(w, f"weight{n}") for n, w in enumerate(weights)]
    constants.append(numpy_helper.from_array(np.zeros(4, np.float32), "zeros"))
    entry, end = (
        helper.make_tensor_value_info(each, TensorProto.FLOAT, [1, channels, 16, 16])
        for each, channels in (("images", 3), (name, 4))
    )
    graph = helper.make_graph(nodes, "convs", [entry], [end], constants)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def means(path: Path, batches: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The mean of each channel of the output, without the edges, where padding takes part."""
    session = onnxruntime.InferenceSession(str(path))
    outputs = [session.run(None, batch)[0][0, :, 4:-4, 4:-4] for batch in batches]
    return np.mean(outputs, axis=(0, 2, 3))


def with_rounded_weights(path: Path, out: Path) -> Path:
    """The model as int8 weights make it."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("weight"):
            tensor.CopyFrom(numpy_helper.from_array(rounded(numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(model, out)
    return out


def test_channels_keep_their_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0.5, 1, shape).astype(np.float32) for shape in ((4, 3, 1, 1), (4, 1, 3, 3), (4, 2, 1, 1))]
    # one large weight in each channel makes the steps coarse
    for weight in weights:
        weight[:, 0, 0, 0] = 40
    batches = [{"images": rng.random((1, 3, 16, 16), np.float32)} for _ in range(20)]
    save_model(tmp_path / "model.onnx", weights)
    exact = means(tmp_path / "model.onnx", batches)
    plain = means(with_rounded_weights(tmp_path / "model.onnx", tmp_path / "plain.onnx"), batches)
    correct_biases(tmp_path / "model.onnx", batches)
    better = means(with_rounded_weights(tmp_path / "model.onnx", tmp_path / "better.onnx"), batches)
    assert np.abs(better - exact).mean() < 0.2 * np.abs(plain - exact).mean()
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)


def test_what_stays_exact_needs_no_correction(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0.5, 1, shape).astype(np.float32) for shape in ((4, 3, 1, 1), (4, 1, 3, 3), (4, 2, 1, 1))]
    save_model(tmp_path / "model.onnx", weights)
    correct_biases(tmp_path / "model.onnx", [{"images": rng.random((1, 3, 16, 16), np.float32)}], ["conv0", "conv2"])
    assert [node.input[2] == "zeros" for node in onnx.load(tmp_path / "model.onnx").graph.node] == [True, False, True]
