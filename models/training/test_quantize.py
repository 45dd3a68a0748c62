"""int8 files of our model and of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image

from bias import LARGEST_WEIGHT
from data import preprocess
from export import read_metadata
from quantize import Input, Refused, compare, describe, list_pictures, quantize

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
MODELS = FIXTURES / "models"
SAMPLES = ROOT / "models" / "samples"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Coloured blobs in sizes that need cropping."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(24):
        few = rng.integers(0, 256, (5, 7, 3), np.uint8)
        picture = Image.fromarray(few).resize((300, 240), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:02d}.png")
    return list_pictures(folder, 100)


def test_our_model_agrees_with_its_int8_form(tmp_path: Path) -> None:
    samples = list_pictures(SAMPLES, 100)
    out = tmp_path / "int8.onnx"
    quantize(ROOT / "models" / "bottle.onnx", samples, out)
    result = compare(ROOT / "models" / "bottle.onnx", out, samples)
    assert result.same == result.pictures
    assert out.stat().st_size < 0.35 * (ROOT / "models" / "bottle.onnx").stat().st_size
    assert largest_weight(out) == LARGEST_WEIGHT


def test_the_shipped_int8_model_is_of_the_shipped_model() -> None:
    model, small = (ROOT / "models" / name for name in ("bottle.onnx", "bottle.int8.onnx"))
    # the date of the export is in it
    assert read_metadata(onnx.load(small)) == read_metadata(onnx.load(model))
    assert largest_weight(small) == LARGEST_WEIGHT
    result = compare(model, small, list_pictures(ROOT / "models" / "evaluation", 1000))
    assert result.pictures == 240 and result.same >= 0.99 * result.pictures
    exact, rough = result.right
    assert abs(exact - rough) <= 0.005 * result.pictures


@pytest.mark.parametrize(
    "name",
    [
        "yolov8n-cls-nc10-64-names",
        "yolov8n-cls-nc10-64-logits",
        "yolo11n-cls-nc10-224-batch4",
        "yolo11n-cls-nc1000-224-dynamic",
        "yolo26n-cls-nc2-320x192-dynamic",
    ],
)
def test_other_exports(name: str, pictures: list[Path], tmp_path: Path) -> None:
    path, out = MODELS / f"{name}.onnx", tmp_path / "int8.onnx"
    quantize(path, pictures, out)
    before, after = onnx.load(path), onnx.load(out)
    assert read_metadata(after) == read_metadata(before)
    assert _shapes(after) == _shapes(before)
    quantised = [node for node in after.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantised) > 20
    assert not _fed_by(after, "Softmax") & {"DequantizeLinear"}, "the head must stay in float"
    # these have random weights, which magnify every error
    model_input = describe(before)
    exact, rough = (answers(each, model_input, pictures) for each in (path, out))
    assert distance(rough, exact) < 0.9 * distance(np.roll(exact, 1, axis=0), exact)


def answers(path: Path, model_input: Input, pictures: list[Path]) -> np.ndarray:
    """What a model says of every picture."""
    session = onnxruntime.InferenceSession(str(path))
    rows = []
    for picture in pictures:
        pixels = preprocess(picture, model_input.size)[None].numpy()
        batch = {model_input.name: np.repeat(pixels, model_input.batch, 0)}
        rows.append(session.run(None, batch)[0][0])
    return np.stack(rows)


def largest_weight(path: Path) -> int:
    """Of all int8 weights, without their sign."""
    tensors = [numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer if t.data_type == TensorProto.INT8]
    return max(int(np.abs(tensor.astype(np.int32)).max()) for tensor in tensors)


def distance(some: np.ndarray, others: np.ndarray) -> float:
    """The mean difference of the answers."""
    return float(np.abs(some - others).mean())


def _shapes(model: onnx.ModelProto) -> list[str]:
    return [str(entry.type) for entry in (*model.graph.input, *model.graph.output)]


def _fed_by(model: onnx.ModelProto, kind: str) -> set[str]:
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    users = [node for node in model.graph.node if node.op_type == kind]
    return {makers.get(name, "") for node in users for name in node.input}


def test_same_bytes_every_time(pictures: list[Path], tmp_path: Path) -> None:
    path = MODELS / "yolov8n-cls-nc10-64.onnx"
    for name in ("a.onnx", "b.onnx"):
        quantize(path, pictures, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yolov8n-cls-nc10-224-fp16", "half precision"),
        ("yolo11n-cls-nc10-224-fp16-inside", "half precision"),
        ("yolov8n-cls-nc10-224-int8", "quantised already"),
        ("yolov8n-nc10-64", "task is detect"),
        ("yolov8n-cls-nc10-64-ch1", r"\[1, 1, 64, 64\]"),
        ("text", "not an ONNX file"),
        ("truncated", "not an ONNX file"),
        ("add", "2 inputs"),
    ],
)
def test_refusals(name: str, reason: str, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    with pytest.raises(Refused, match=reason):
        quantize(MODELS / f"{name}.onnx", pictures, out)
    assert not out.exists()
