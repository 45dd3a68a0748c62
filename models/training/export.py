"""Writes a trained checkpoint as one self-contained ONNX file."""

from __future__ import annotations

import argparse
import io
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from checkpoint import load_model
from data import find_samples, preprocess
from networks import Network

VERSION = "1.0.0"


class _WithSoftmax(nn.Module):
    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.probabilities(images)


def metadata(
    names: list[str], size: int, model: Network, opset: int, batch: int = 1
) -> dict[str, str]:
    """The keys an Ultralytics export carries, so that its readers read ours."""
    arguments = {
        "data": None, "batch": batch, "fraction": 1.0, "quantize": None,
        "nms": None, "dynamic": False, "simplify": False, "opset": opset,
    }
    values = {
        "description": f"Relance {model.title} classifier: {', '.join(names)}",
        "author": "Relance",
        "date": datetime.now(timezone.utc).isoformat(),
        "version": VERSION,
        "license": model.licence,
        "docs": "models/README.md",
        "stride": 1,
        "task": "classify",
        "head": "Classify",
        "batch": batch,
        "imgsz": [size, size],
        "names": dict(enumerate(names)),
        "args": arguments,
        "channels": 3,
        "end2end": False,
    }
    return {key: str(value) for key, value in values.items()}


def read_metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The custom metadata of a model."""
    return {entry.key: entry.value for entry in model.metadata_props}


def export(
    model: Network, names: list[str], size: int, path: Path, opset: int = 17, batch: int = 1
) -> None:
    """Fuses the model in place and writes it with fixed shapes."""
    model = model.eval().fuse()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the newer exporter cannot write this opset, and this one folds and inlines all we need
        warnings.simplefilter("ignore", DeprecationWarning)
        # sizes are fixed here, and shall be constants
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            _WithSoftmax(model),
            (torch.zeros(batch, 3, size, size),),
            buffer,
            input_names=["images"],
            output_names=["output0"],
            opset_version=opset,
            do_constant_folding=True,
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    del graph.metadata_props[:]
    for key, value in metadata(names, size, model, opset, batch).items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_name = "relance"
    graph.producer_version = VERSION
    onnx.checker.check_model(graph, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, str(path))


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def check(path: Path, data: Path, size: int) -> float:
    """Accuracy of the ONNX file on a data set's test pictures."""
    session = open_session(path)
    samples = find_samples(data).test
    hits = 0
    for sample in samples:
        pixels = preprocess(sample.path, size)[None].numpy()
        hits += int(np.argmax(session.run(None, {"images": pixels})[0])) == sample.label
    print(f"onnxruntime on {len(samples)} test pictures: {hits} right, {hits / len(samples):.4f}")
    return hits / len(samples)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=here / "runs" / "bottle" / "best.pt")
    parser.add_argument("--out", type=Path, default=here.parent / "bottle.onnx")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--check", type=Path, help="data set whose test pictures to try it on")
    options = parser.parse_args()
    model, names, size = load_model(options.checkpoint)
    export(model, names, size, options.out, options.opset)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    if options.check:
        check(options.out, options.check, size)


if __name__ == "__main__":
    main()
