"""Our network against the original, and the exported file against both."""

from __future__ import annotations

import ast
import os
from pathlib import Path

os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")

import onnx
import pytest
import torch
from torch import nn

from export import export, open_session
from model import Classifier, load_ultralytics_state_dict

YOLO = pytest.importorskip("ultralytics").YOLO

NAMES = ["aberta", "fechada"]


def randomise(network: nn.Module) -> None:
    """Gives every batch normalisation statistics that change its output.

    They start from what random pictures cause: with untrained weights the signal
    would otherwise fade on its way, and any two networks would agree.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.7, 1.6)
        nn.init.normal_(norm.bias, 0, 0.3)
    network.train()
    with torch.no_grad():
        network(random_pictures(8, 128))
    network.eval()
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.running_mean += torch.randn_like(norm.running_mean) * norm.running_var.sqrt() * 0.3
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.6, 1.6)


def random_pictures(count: int, size: int) -> torch.Tensor:
    """Coarse and fine random patterns between 0 and 1."""
    coarse = nn.functional.interpolate(torch.rand(count, 3, 5, 5), (size, size), mode="bilinear")
    return 0.7 * coarse + 0.3 * torch.rand(count, 3, size, size)


def pair(scale: str, seed: int = 0) -> tuple[nn.Module, Classifier]:
    """The original with random weights and ours with the same."""
    torch.manual_seed(seed)
    theirs = YOLO(f"yolov8{scale}-cls.yaml").model.eval()
    randomise(theirs)
    classes = theirs.model[-1].linear.out_features
    ours = Classifier(scale, classes).eval()
    (eps,) = {m.eps for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)}
    load_ultralytics_state_dict(ours, theirs.state_dict(), norm_eps=eps)
    return theirs, ours


@pytest.mark.parametrize("scale", ["n", "s"])
@pytest.mark.parametrize("size", [64, 224])
def test_same_answers(scale: str, size: int) -> None:
    theirs, ours = pair(scale)
    pictures = random_pictures(3, size)
    with torch.inference_mode():
        probabilities, logits = theirs(pictures)
        assert (ours(pictures) - logits).abs().max() <= 1e-5
        assert (ours.probabilities(pictures) - probabilities).abs().max() <= 1e-5
        assert logits.std(dim=0).max() > 0.05, "the pictures must make a difference"
        assert (ours.fuse().probabilities(pictures) - probabilities).abs().max() <= 1e-5


@pytest.mark.parametrize("scale", ["n", "s", "m", "l", "x"])
def test_same_number_of_parameters(scale: str) -> None:
    theirs = YOLO(f"yolov8{scale}-cls.yaml").model
    ours = Classifier(scale, 1000)
    count = sum(value.numel() for value in ours.parameters())
    assert count == sum(value.numel() for value in theirs.parameters())


def test_our_own_norms() -> None:
    norms = {(m.eps, m.momentum) for m in Classifier().modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms == {(1e-3, 0.03)}


def test_exported_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reference = onnx.load(YOLO("yolov8n-cls.yaml").export(format="onnx", imgsz=224, simplify=False))
    torch.manual_seed(1)
    model = Classifier("n", len(NAMES)).eval()
    randomise(model)
    pictures = random_pictures(1, 224)
    with torch.inference_mode():
        expected = model.probabilities(pictures).numpy()
    path = tmp_path / "ours.onnx"
    export(model, NAMES, 224, path)

    graph = onnx.load(path, load_external_data=False)
    props = {prop.key: prop.value for prop in graph.metadata_props}
    original = {prop.key: prop.value for prop in reference.metadata_props}
    assert list(props) == list(original)
    for key in ("task", "stride", "batch", "imgsz", "channels", "head", "end2end"):
        assert props[key] == original[key]
    assert set(ast.literal_eval(props["args"])) == set(ast.literal_eval(original["args"]))
    assert ast.literal_eval(props["names"]) == {0: "aberta", 1: "fechada"}
    assert props["license"] == "MIT OR Apache-2.0"
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"BatchNormalization", "Shape", "Gather", "Slice"}
    assert not any(tensor.external_data for tensor in graph.graph.initializer)

    session = open_session(path)
    (entry,), (output,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.shape, entry.type) == ("images", [1, 3, 224, 224], "tensor(float)")
    assert (output.name, output.shape) == ("output0", [1, 2])
    (answer,) = session.run(None, {"images": pictures.numpy()})
    assert abs(answer - expected).max() <= 1e-5


@pytest.mark.parametrize("name", ["bottle", "bottle.int8", "bottle-n"])
def test_shipped_file_loads(name: str) -> None:
    session = open_session(Path(__file__).parents[1] / f"{name}.onnx")
    size = ast.literal_eval(session.get_modelmeta().custom_metadata_map["imgsz"])
    (answer,) = session.run(None, {"images": torch.rand(1, 3, *size).numpy()})
    assert answer.shape == (1, 2) and answer.sum() == pytest.approx(1, abs=1e-5)
