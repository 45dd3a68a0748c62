"""A network that looks twice: where it looks, what it sees there, and that all of it can be exported."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import train
from checkpoint import load, load_model
from data import middles, to_tensor
from export import export, open_session
from lite import Lite
from networks import looks, make_network
from options import parse_options
from quantize import list_pictures, quantize
from zoom import REACH, SHARPNESS, TRAINING_SIDE, Zoom, cut, found_place, place_loss, true_place, window, window_warp

UNKNOWN = [float("nan")] * 4


def picture(side: int = 96) -> Image.Image:
    """Coarse noise."""
    few = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    return Image.fromarray(few).resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("middle", "half", "side"), [((0, 0), 1, 96), ((0, 0), 1, 40), ((0.25, -0.5), 0.5, 96), ((-0.4, 0.3), 0.6, 40)]
)
def test_a_window_shows_what_pillow_would_cut(middle: tuple[float, float], half: float, side: int) -> None:
    whole = picture()
    x, y = ((at + 1) * 48 for at in middle)
    box = (x - half * 48, y - half * 48, x + half * 48, y + half * 48)
    expected = to_tensor(whole.resize((side, side), Image.Resampling.BILINEAR, box=box))
    seen = cut(to_tensor(whole)[None], torch.tensor([[*middle, half]]), side)[0]
    # Pillow rounds its shares, and sees nothing beyond the box
    inner = (..., slice(2, -2), slice(2, -2))
    assert (seen[inner] - expected[inner]).abs().max() < 0.02


def test_a_window_stays_in_the_picture() -> None:
    places = torch.rand(1000, 3) * torch.tensor([2, 2, 3]) - torch.tensor([1, 1, 0])
    middle, half = window(places)[:, :2], window(places)[:, 2:]
    assert (middle.abs() + half <= 1 + 1e-6).all() and (half > 0).all()
    inside = torch.tensor([[0.1, -0.2, 0.5]])
    assert window(inside)[0].tolist() == pytest.approx([0.1, -0.2, 0.25 * REACH])


def located(necks: torch.Tensor, side: int) -> torch.Tensor:
    """What a locator that is right says: [batch, 2, side, side]."""
    place, line = true_place(necks), middles(side)
    apart = (line - place[:, 0, None])[:, None, :] ** 2 + (line - place[:, 1, None])[:, :, None] ** 2
    return torch.stack([-apart * side**2, place[:, 2, None, None].log().expand_as(apart)], 1)


def test_the_loss_is_small_where_the_place_is_right() -> None:
    necks = torch.tensor([[-0.5, -0.7, -0.3, -0.1], [0.2, 0.1, 0.4, 0.2], UNKNOWN])
    right = located(necks, 18)
    assert found_place(right)[:2].numpy() == pytest.approx(true_place(necks)[:2].numpy(), abs=0.03)
    loss = place_loss(right, necks)
    assert loss < place_loss(right.roll(3, 2), necks) - 1
    larger = right + torch.tensor([0, 1.0])[:, None, None]
    assert loss < place_loss(larger, necks) - 0.3
    assert place_loss(right, necks[2:].expand(3, 4)) == 0


def test_of_two_necks_it_looks_at_one() -> None:
    here, there = (located(torch.tensor([[x, -0.1, x + 0.2, 0.1]]), 18) for x in (-0.7, 0.6))
    here[:, 0] += SHARPNESS * np.log(3)
    both = torch.where(here[:, :1] > there[:, :1], here, there)
    # the middle by likelihood would be -0.28
    assert found_place(both)[0, 0] < -0.5


def test_it_begins_with_what_one_look_knows() -> None:
    torch.manual_seed(0)
    one, two = Lite("lite0").eval(), Zoom("lite0-zoom").eval()
    two.load_state_dict(two.from_one_look(one.state_dict()))
    pictures = torch.rand(2, 3, 96, 96)
    _, (first, second), _ = looks(two, pictures, torch.tensor([UNKNOWN, [-1.0, -1, 1, 1]]))
    assert torch.equal(first, one(pictures))
    # the second picture's neck is the whole of it
    whole = cut(pictures, torch.tensor([[0, 0, 1.0]]).expand(2, 3), TRAINING_SIDE)
    assert torch.allclose(second[1], one(whole)[1], atol=1e-5)
    assert torch.allclose(second[1], two.second(whole)[1], atol=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of small crosses on noise, and where they are."""
    root = tmp_path_factory.mktemp("crosses")
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 12)):
        notes = []
        for number in range(count):
            name = ("dia", "noite")[number % 2]
            pixels = rng.integers(0, 120, (64, 64, 3), np.uint8)
            x, y = (int(at) for at in rng.integers(6, 46, 2))
            pixels[y : y + 12, x : x + 12] = (250, 240, 200) if name == "dia" else (250, 60, 240)
            (root / split / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / split / name / f"{number}.png")
            notes.append({"file": f"{name}/{number}.png", "neck": [x, y, x + 12, y + 12]})
        (root / split / "manifest.jsonl").write_text("\n".join(map(json.dumps, notes)))
    return root


def run(data: Path, out: Path, *more: str) -> None:
    options = ["--data", str(data), "--out", str(out), "--cache", str(out.parent / "cache"), "--device", "cpu"]
    options += ["--size", "64", "--batch", "12", "--workers", "0", "--scale", "lite0-zoom", "--warmup", "0.2"]
    train.train(parse_options([*options, *more]))


def test_it_learns_to_look_and_its_export_and_int8_form_do_the_same(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", "--epochs", "8", "--rate", "3e-3", "--dropout", "0")
    model, names, size = load_model(tmp_path / "run" / "best.pt")
    assert isinstance(model, Zoom) and size == 64
    paths = list_pictures(data / "val", 100)
    pictures = torch.stack([to_tensor(Image.open(path)) for path in paths])
    boxes = {note["file"]: note["neck"] for note in map(json.loads, (data / "val" / "manifest.jsonl").open())}
    necks = torch.tensor([boxes[f"{path.parent.name}/{path.name}"] for path in paths]) / 32 - 1
    with torch.inference_mode():
        expected = model.probabilities(pictures).numpy()
        place = found_place(model.locate(model.first.maps_and_logits(pictures)[0]))
    aside = (place - true_place(necks))[:, :2].abs().amax(1)
    # a cell is an eighth of the picture's side of 2
    assert aside.median() < 0.5, aside
    export(model, names, size, tmp_path / "mine.onnx")
    session = open_session(tmp_path / "mine.onnx")
    answers = np.concatenate([session.run(None, {"images": each[None].numpy()})[0] for each in pictures])
    assert abs(answers - expected).max() < 1e-4
    quantize(tmp_path / "mine.onnx", paths, tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type in ("MatMul", "Softmax")]
    assert len(products) >= 4
    fed = {makers.get(name, "") for node in products for name in node.input}
    assert "DequantizeLinear" not in fed, "where it looks must stay in float"
    finders = [node for node in graph.node if node.op_type == "Conv" and "/locate/" in node.name]
    assert len(finders) == 4 and not any(makers.get(finder.input[1]) for finder in finders)


def test_an_interrupted_run_becomes_the_same(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "whole", "--epochs", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "is_over", lambda progress, options: progress.epoch >= 1)
        run(data, tmp_path / "cut", "--epochs", "2")
    run(data, tmp_path / "cut", "--epochs", "2", "--resume")
    whole, cut_short = (load(tmp_path / name / "last.pt")["model"] for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut_short[key]) for key in whole)


def test_it_starts_from_a_run_or_an_export_of_one_look(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "one", "--scale", "lite0", "--epochs", "1")
    model, names, size = load_model(tmp_path / "one" / "best.pt")
    before = model.state_dict()
    export(make_network("lite0", 2), names, size, tmp_path / "one.onnx")
    more = ("--epochs", "1", "--freeze", "1", "--start")
    run(data, tmp_path / "two", *more, str(tmp_path / "one" / "best.pt"))
    after = load_model(tmp_path / "two" / "best.pt")[0].first.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items() if not key.startswith("_fc."))
    run(data, tmp_path / "three", *more, str(tmp_path / "one.onnx"))
    with pytest.raises(SystemExit, match="is of scale lite0-zoom, not lite0"):
        run(data, tmp_path / "four", "--scale", "lite0", "--start", str(tmp_path / "two" / "best.pt"))


def test_a_window_for_training_is_about_where_it_will_be_in_service() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        x, y, wide, tall = rng.uniform((-0.9, -0.9, 0.05, 0.05), (0.4, 0.4, 0.5, 0.5))
        neck = np.array([x, y, x + wide, y + tall], np.float32)
        x, y, half = window(true_place(torch.from_numpy(neck)[None]))[0].tolist()
        matrix = window_warp(neck, rng)
        middle = matrix[:2, 2]
        around = matrix[:2, :2] - np.outer(middle, matrix[2, :2])
        assert np.sqrt(abs(np.linalg.det(around))) == pytest.approx(half, rel=0.5)
        assert middle == pytest.approx((x, y), abs=(0.25 / 0.75 + 0.5) * half)


@pytest.mark.parametrize(("look", "learning"), [("first", ("first.", "locate.")), ("second", ("second.",))])
def test_a_look_can_learn_alone(
    look: str, learning: tuple[str, ...], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, tmp_path / "both", "--epochs", "1")
    start = tmp_path / "both" / "best.pt"
    before = load_model(start)[0].state_dict()
    capsys.readouterr()
    more = ("--epochs", "6", "--rate", "3e-3", "--dropout", "0", "--start", str(start))
    run(data, tmp_path / "alone", "--look", look, *more)
    after = load(tmp_path / "alone" / "last.pt")["average"]
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all(key.startswith(learning) for key in changed)
    assert all(key in changed for key in before if key.startswith(learning) and key.endswith("weight"))
    losses = [float(each) for each in re.findall(r" train (\d\.\d+)", capsys.readouterr().out)]
    assert len(losses) == 6 and losses[-1] < 0.6 * losses[0], losses


def test_only_known_necks_can_be_looked_at_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(data, tmp_path / "unknown")
    (tmp_path / "unknown" / "train" / "manifest.jsonl").unlink()
    with pytest.raises(SystemExit, match="--look second: .*unknown: needs a manifest that says where each neck is"):
        run(tmp_path / "unknown", tmp_path / "run", "--look", "second")
    for wrong in (("--scale", "lite0"), ("--teacher", "best.pt")):
        with pytest.raises(SystemExit):
            parse_options(["--scale", "lite0-zoom", "--look", "second", *wrong])
        assert "--look: only for lite0-zoom, and without --teacher" in capsys.readouterr().err
