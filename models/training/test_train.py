"""Training as a whole: learns, stops and goes on, and reports; and its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train
from batches import Views, scenes
from checkpoint import load, load_model
from data import find_samples, list_samples, pair_by_name, preprocess
from export import export, open_session
from metrics import calibration_error, class_table, confusion, fit_temperature, fit_weights
from options import parse_options
from store import Store

NAMES = ["Céu", "mar azul", "relva"]
COLOURS = [(120, 180, 250), (20, 60, 160), (40, 160, 40)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three easy classes, as someone's folder of class folders would be."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, colour in zip(NAMES, COLOURS):
        (root / name).mkdir()
        for number in range(40):
            noise = rng.normal(0, 30, (48, 64, 3)) + np.array(colour)
            picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
            picture.save(root / name / f"{number}.png")
    return root


def run(data: Path, out: Path, *more: str) -> None:
    """A short training run at a small size."""
    options = ["--data", str(data), "--out", str(out), "--cache", str(out.parent / "cache")]
    options += ["--size", "32", "--batch", "16", "--epochs", "3", "--workers", "0"]
    train.train(parse_options([*options, "--device", "cpu", *more]))


def test_any_class_folders(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, tmp_path / "run", "--epochs", "6", "--small-size", "32")
    printed = capsys.readouterr().out
    assert "classes: Céu, mar azul, relva" in printed
    for figure in ("precision", "recall", "accuracy", "calibration error", "the logits of each look count"):
        assert figure in printed
    model, names, size = load_model(tmp_path / "run" / "best.pt")
    assert (names, size) == (NAMES, 32)
    export(model, names, size, tmp_path / "mine.onnx")
    picture = preprocess(data / "relva" / "0.png", 32)[None].numpy()
    assert open_session(tmp_path / "mine.onnx").run(None, {"images": picture})[0].shape == (1, 3)


def test_an_interrupted_run_becomes_the_same(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path / "whole", "--mixup", "0.5")
    real, calls = train.train_epoch, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(train, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "halves", "--mixup", "0.5")
    monkeypatch.setattr(train, "train_epoch", real)
    assert load(tmp_path / "halves" / "last.pt")["progress"]["epoch"] == 2
    run(data, tmp_path / "halves", "--mixup", "0.5", "--resume")
    for name in ("last.pt", "best.pt"):
        one, two = (load(tmp_path / folder / name)["model"] for folder in ("whole", "halves"))
        assert all(torch.equal(one[key], two[key]) for key in one), name


def test_another_run_is_not_resumed(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", "--epochs", "1")
    with pytest.raises(SystemExit, match="--rate 0.001, not 0.5"):
        run(data, tmp_path / "run", "--epochs", "1", "--rate", "0.5", "--resume")


def test_starting_from_other_classes(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "first", "--epochs", "1")
    other = tmp_path / "two"
    other.mkdir()
    for name in NAMES[:2]:
        (other / name).symlink_to(data / name)
    run(other, tmp_path / "second", "--epochs", "1", "--start", str(tmp_path / "first" / "best.pt"))
    assert load_model(tmp_path / "second" / "best.pt")[1] == NAMES[:2]


def test_a_size_of_its_own_for_service(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", "--epochs", "1", "--test-size", "40")
    assert load_model(tmp_path / "run" / "best.pt")[2] == 40


def test_frozen_layers_stay_as_they_start(data: Path, tmp_path: Path) -> None:
    for scale, layers in (("n", 9), ("lite0", 17), ("lite0-zoom", 18)):
        first, second = tmp_path / scale / "first", tmp_path / scale / "second"
        run(data, first, "--epochs", "1", "--scale", scale)
        start = ["--epochs", "1", "--scale", scale, "--start", str(first / "best.pt")]
        run(data, second, *start, "--freeze", "3")
        before, after = (load_model(folder / "best.pt")[0].body for folder in (first, second))
        assert len(after) == layers
        for number, (old, new) in enumerate(zip(before, after)):
            # how much a look counts goes into last layers
            kept = {key: value for key, value in old.state_dict().items() if not key.startswith("_fc.")}
            same = [torch.equal(new.state_dict()[key], value) for key, value in kept.items()]
            assert all(same) if number < 3 else not any(same), number
        with pytest.raises(SystemExit, match=f"has {layers} layers before its head, not 40"):
            run(data, second, *start, "--freeze", "40")


def test_stops_early(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, tmp_path / "run", "--epochs", "50", "--rate", "0", "--patience", "1")
    assert "no better for 1 epochs: stopped" in capsys.readouterr().out


def test_folders_with_weights(data: Path, tmp_path: Path) -> None:
    stores = [Store(find_samples(data).train, 32, tmp_path) for _ in range(2)]
    count = len(stores[0])
    views = Views(stores, [1.0, 0.5], 32, batch=8, seed=0, epoch=0)
    seen = [(store, scene) for batch in views.batches for store, scene, _ in batch]
    assert len(seen) == round(1.5 * count) // 8 * 8
    assert len(set(seen)) == len(seen)
    assert sum(store == 1 for store, _ in seen) <= round(0.5 * count)


def test_different_classes_are_refused(data: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "other" / name).mkdir(parents=True)
    with pytest.raises(SystemExit, match="has the classes"):
        run(data, tmp_path / "run", "--data", str(tmp_path / "other"))


def test_manifest_and_pairs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / name / "1.png")
    assert len(scenes(list_samples(tmp_path, ["a", "b"]))) == 2
    assert len(scenes(pair_by_name(list_samples(tmp_path, ["a", "b"])))) == 1
    notes = [
        {"file": f"val/{name}/1.png", "pair": 7, "neck": [15, 10, 25, 20], "caps": [], "family": "x"}
        for name in "ab"
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, notes)))
    samples = list_samples(tmp_path, ["a", "b"])
    assert scenes(samples) == [[0, 1]]
    assert samples[0].groups == {"family": "x"}
    store = Store(samples, 16, tmp_path / "cache")
    assert store.necks[0] == pytest.approx([-1 / 3, -1 / 3, 1 / 3, 1 / 3])


def test_both_pictures_of_a_scene_get_the_same_view(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "1.png")
    store = Store(pair_by_name(list_samples(tmp_path, ["a", "b"])), 40, tmp_path / "cache")
    (pixels, labels, _), *_ = Views([store], [1.0], 32, batch=2, seed=0, epoch=3)
    assert labels.tolist() == [0, 1]
    assert torch.equal(pixels[0], pixels[1])


def test_store_is_read_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / name / "1.png")
    samples = list_samples(tmp_path, ["a", "b"])
    first = Store(samples, 16, tmp_path / "cache").read([1])
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert (Store(samples, 16, tmp_path / "cache").read([1]) == first).all()
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}


def test_calibration_error() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2)
    honest = torch.tensor([[0.8, 0.2]]).log().expand(10, 2)
    assert calibration_error(honest, labels) == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([[0.999, 0.001]]).log().expand(10, 2)
    assert calibration_error(sure, labels) == pytest.approx(0.199, abs=1e-3)
    assert fit_temperature(sure, labels) == pytest.approx(4.98, abs=0.05)


def test_a_look_counts_as_much_as_it_knows() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (600,), generator=rng)
    noise = torch.randn(2, 600, 2, generator=rng)
    good, poor = 2 * torch.eye(2)[labels] + noise[0], noise[1]
    [alone] = fit_weights(good[None], labels)
    assert alone == pytest.approx(1 / fit_temperature(good, labels), rel=0.01)
    with torch.inference_mode():
        both = torch.stack([good, poor])
    first, second = fit_weights(both, labels)
    assert first == pytest.approx(alone, rel=0.05) and second < 0.2
    # of what is always right nothing follows
    assert fit_weights(10 * torch.eye(2)[labels][None], labels) == [pytest.approx(2, abs=1.1)]


def test_class_table() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 1, 1])
    assert confusion(logits, labels).tolist() == [[1, 0], [1, 1]]
    assert class_table(["a", "b"], logits, labels).splitlines()[2].split() == ["b", "2", "1.0000", "0.5000"]
