"""An exported network learns on as if it had not been exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import train
from checkpoint import load, load_model
from data import find_samples
from export import export, open_session
from networks import make_network
from options import parse_options
from store import Store
from unfold import normalised, read_export, start_from_export, unfold

SIZE = 64
INT8 = Path(__file__).parents[1] / "bottle.int8.onnx"


def exported(scale: str, path: Path, names: list[str] = ["dia", "noite"]) -> Path:
    """An export of a network whose normalisations do something."""
    torch.manual_seed(0)
    model = make_network(scale, len(names)).train()
    for _ in range(3):
        model(torch.rand(8, 3, SIZE, SIZE))
    export(model, names, SIZE, path)
    return path


def train_from(start: Path, data: Path, out: Path, scale: str, *more: str) -> None:
    options = ["--data", str(data), "--out", str(out), "--cache", str(out.parent / "cache"), "--device", "cpu"]
    options += ["--size", str(SIZE), "--batch", "16", "--epochs", "1", "--workers", "0", "--scale", scale]
    train.train(parse_options([*options, "--start", str(start), *more]))


@pytest.mark.parametrize("scale", ["n", "lite0", "lite0-zoom"])
def test_it_answers_as_the_export_and_learns_as_before_it(scale: str, tmp_path: Path) -> None:
    path = exported(scale, tmp_path / "model.onnx")
    weights, names = read_export(path)
    model = make_network(scale, 2)
    pictures = torch.rand(16, 3, SIZE, SIZE)
    unfold(model, weights, pictures)
    assert names == ["dia", "noite"]
    session = open_session(path)
    expected = np.concatenate([session.run(None, {"images": each[None].numpy()})[0] for each in pictures])
    with torch.inference_mode():
        assert abs(model.eval().probabilities(pictures).numpy() - expected).max() < 1e-5
        # what it does while it learns is measured on the batch, which is here what was measured before
        assert abs(model.train().probabilities(pictures).numpy() - expected).max() < 1e-3
    pairs = normalised(model.eval(), pictures[:1])
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm for *_, norm in pairs} == set(norms)


def test_training_goes_on_from_an_export(data: Path, tmp_path: Path) -> None:
    path = exported("n", tmp_path / "model.onnx")
    train_from(path, data, tmp_path / "run", "n")
    assert load_model(tmp_path / "run" / "best.pt")[1] == ["dia", "noite"]
    assert load(tmp_path / "run" / "last.pt")["progress"]["epoch"] == 1


def test_a_result_may_go_a_part_of_the_way(data: Path, tmp_path: Path) -> None:
    path = exported("n", tmp_path / "model.onnx")
    weights = {}
    for share in ("0", "0.5", "1"):
        train_from(path, data, tmp_path / share, "n", "--blend", share)
        model = load_model(tmp_path / share / "best.pt")[0]
        weights[share] = next(value for value in model.parameters() if value.ndim > 1)
    none, half, whole = weights.values()
    assert not torch.equal(none, whole)
    assert torch.allclose(half, (none + whole) / 2, atol=1e-7)


def test_there_is_no_way_from_other_classes(data: Path, tmp_path: Path) -> None:
    path = exported("n", tmp_path / "model.onnx", ["a", "b", "c"])
    with pytest.raises(SystemExit, match="--blend: .*model.onnx has other classes"):
        train_from(path, data, tmp_path / "run", "n", "--blend", "0.5")
    for wrong in (["--blend", "0.5"], ["--blend", "1.5", "--start", "a.pt"]):
        with pytest.raises(SystemExit):
            parse_options(wrong)


def test_other_classes_get_a_last_layer_of_their_own(data: Path, tmp_path: Path) -> None:
    path = exported("lite0", tmp_path / "model.onnx", ["a", "b", "c"])
    model = make_network("lite0", 2)
    before = model.last_layers[0].weight.clone()
    samples = find_samples(data)
    start_from_export(path, model, samples.names, Store(samples.train, SIZE, tmp_path / "cache"), SIZE)
    assert torch.equal(model.last_layers[0].weight, before)


def test_what_is_no_float_export_of_the_network_is_refused(data: Path, tmp_path: Path) -> None:
    path = exported("n", tmp_path / "model.onnx")
    with pytest.raises(SystemExit, match="not a float export of scale lite0"):
        train_from(path, data, tmp_path / "run", "lite0")
    with pytest.raises(SystemExit, match="not a float export of scale s"):
        train_from(path, data, tmp_path / "run", "s")
    with pytest.raises(SystemExit, match="not a float export of scale lite0"):
        train_from(INT8, data, tmp_path / "run", "lite0")
    (tmp_path / "broken.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(SystemExit, match="not a readable export"):
        train_from(tmp_path / "broken.onnx", data, tmp_path / "run", "n")
    with pytest.raises(SystemExit, match="not a readable export"):
        train_from(tmp_path / "none.onnx", data, tmp_path / "run", "n")
