"""Makes an int8 file of a classifier's ONNX export, with ranges measured on pictures."""

from __future__ import annotations

import argparse
import ast
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod

from bias import correct_biases
from data import SUFFIXES, preprocess
from export import read_metadata
from zoom import LOCATOR

# The attention of newer models, everything behind the last convolution and where a second look
# goes stay in float: they cost little time and lose the most.
QUANTISED = ["Conv", "Sigmoid", "Mul", "Add", "Concat", "Split", "MaxPool", "Clip"]
PRODUCTS = {"Gemm", "MatMul", "Softmax"}
DEFAULT_SIZE = 224


class Refused(Exception):
    """A model that this cannot quantise."""


@dataclass(frozen=True)
class Input:
    """What a classifier takes."""

    name: str
    batch: int
    size: tuple[int, int]


def describe(model: onnx.ModelProto) -> Input:
    """The input of a classifier, with a dynamic size taken from the metadata."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in constants]
    if len(inputs) != 1:
        raise Refused(f"it takes {len(inputs)} inputs, not one picture")
    kind = inputs[0].type.tensor_type
    if kind.elem_type == onnx.TensorProto.FLOAT16:
        raise Refused("its input is half precision; export it without half=True and quantise that")
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise Refused("its input is not float32")
    shape = [axis.dim_value for axis in kind.shape.dim]
    if len(shape) != 4 or shape[1] not in (0, 3):
        raise Refused(f"its input has the shape {shape}, not [batch, 3, height, width]")
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise Refused("it is quantised already")
    metadata = read_metadata(model)
    if metadata.get("task", "classify") != "classify":
        raise Refused(f"its task is {metadata['task']}, not classify")
    named = ast.literal_eval(metadata.get("imgsz", str([DEFAULT_SIZE, DEFAULT_SIZE])))
    height, width = (fixed or int(other) for fixed, other in zip(shape[2:], named))
    return Input(inputs[0].name, shape[0] or 1, (height, width))


def list_pictures(folder: Path, most: int) -> list[Path]:
    """At most so many pictures below a folder, evenly spread over the sorted names."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder}: no pictures")
    count = min(most, len(found))
    return [found[index * len(found) // count] for index in range(count)]


class Pictures(CalibrationDataReader):
    """Pictures as serving sees them, in batches of the model's size."""

    def __init__(self, paths: list[Path], model_input: Input) -> None:
        self.input = model_input
        self.batches = self._batches(paths)

    def _batches(self, paths: list[Path]) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(paths), self.input.batch):
            chosen = paths[start : start + self.input.batch]
            chosen += chosen[-1:] * (self.input.batch - len(chosen))
            pixels = np.stack([preprocess(path, self.input.size).numpy() for path in chosen])
            yield {self.input.name: pixels}

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None at the end."""
        return next(self.batches, None)


def fold_constants(path: Path, out: Path) -> None:
    """Writes a model with its constants computed, as quantising wants its weights."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def behind_products(graph: onnx.GraphProto) -> list[str]:
    """The names of what follows a matrix product or a softmax, up to the next convolution."""
    reached: set[str] = set()
    found = []
    for node in graph.node:
        follows = node.op_type != "Conv" and not reached.isdisjoint(node.input)
        if follows:
            found.append(node.name)
        if follows or node.op_type in PRODUCTS:
            reached.update(node.output)
    return found


def quantize(path: Path, pictures: list[Path], out: Path) -> None:
    """Writes the int8 form of a float32 classifier: u8 activations, s8 weights per channel of at most 64.

    Larger weights would give other answers, or slower ones, on processors with AVX2 and no VNNI.
    """
    try:
        original = onnx.load(str(path))
    except Exception as error:
        raise Refused("it is not an ONNX file") from error
    model_input = describe(original)
    with tempfile.TemporaryDirectory() as folder:
        folded, quantised = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
        fold_constants(path, folded)
        graph = onnx.load(str(folded)).graph
        if any(w.data_type == onnx.TensorProto.FLOAT16 and len(w.dims) > 1 for w in graph.initializer):
            raise Refused("its weights are half precision; quantise a float32 export")
        exact = [*behind_products(graph), *(node.name for node in graph.node if f"/{LOCATOR}/" in node.name)]
        correct_biases(folded, Pictures(pictures[::4], model_input).batches, exact)
        quantize_static(
            folded,
            quantised,
            Pictures(pictures, model_input),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            nodes_to_exclude=exact,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        result = onnx.load(str(quantised))
    del result.metadata_props[:]
    result.metadata_props.extend(original.metadata_props)
    result.producer_name, result.producer_version = original.producer_name, original.producer_version
    onnx.checker.check_model(result, full_check=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(result, str(out))


@dataclass(frozen=True)
class Comparison:
    """How an int8 model answers beside its original."""

    pictures: int
    same: int
    largest: float
    # hits of both, None where the folders are not named like the classes
    right: tuple[int, int] | None


def compare(path: Path, other: Path, pictures: list[Path]) -> Comparison:
    """Asks two models about the same pictures, whose folders may be their classes."""
    model = onnx.load(str(path), load_external_data=False)
    model_input = describe(model)
    classes = ast.literal_eval(read_metadata(model).get("names", "{}"))
    indices = {name: index for index, name in dict(classes).items()}
    sessions = [
        onnxruntime.InferenceSession(str(each), providers=["CPUExecutionProvider"])
        for each in (path, other)
    ]
    same, largest, right = 0, 0.0, [0, 0]
    labelled = all(picture.parent.name in indices for picture in pictures)
    for picture in pictures:
        pixels = preprocess(picture, model_input.size).numpy()
        batch = {model_input.name: np.repeat(pixels[None], model_input.batch, 0)}
        first, second = (session.run(None, batch)[0][0] for session in sessions)
        same += int(first.argmax() == second.argmax())
        largest = max(largest, float(np.abs(first - second).max()))
        if labelled:
            for which, answer in enumerate((first, second)):
                right[which] += int(answer.argmax() == indices[picture.parent.name])
    return Comparison(len(pictures), same, largest, tuple(right) if labelled else None)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("model", type=Path, help="float32 ONNX export of a classifier")
    parser.add_argument("--calibrate", type=Path, required=True, help="folder of typical pictures")
    parser.add_argument("--pictures", type=int, default=256, help="so many of them at most")
    parser.add_argument("--out", type=Path, help="the model's name with .int8.onnx, if not given")
    parser.add_argument("--check", type=Path, help="folder of pictures to compare both files on")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)
    out = options.out or options.model.with_suffix(".int8.onnx")
    try:
        quantize(options.model, list_pictures(options.calibrate, options.pictures), out)
    except Refused as reason:
        raise SystemExit(f"{options.model}: {reason}") from None
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    if options.check:
        result = compare(options.model, out, list_pictures(options.check, 100_000))
        share = result.same / result.pictures
        print(f"same class for {result.same} of {result.pictures} pictures ({share:.2%})")
        print(f"largest difference of an output: {result.largest:.3f}")
        if result.right:
            first, second = (hits / result.pictures for hits in result.right)
            print(f"accuracy {first:.2%}, int8 {second:.2%}")


if __name__ == "__main__":
    main()
