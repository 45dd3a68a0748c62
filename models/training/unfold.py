"""Makes an exported network trainable again.

An export has its batch normalisations folded into the convolutions before them. Here each
gets one back that does what the folded one did, with the mean and the spread that the
network's own activations have, so that training goes on as if there had been no export.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, nn
from torch.nn import functional

from data import to_pixels
from export import read_metadata
from networks import Network, fitting, last_layers
from store import Store

PICTURES, BATCH = 256, 16
# the length of a filter of He's initialisation, whatever its number of inputs
FILTER_LENGTH = math.sqrt(2)


def read_export(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The weights and the class names of a file that `export.py` wrote."""
    try:
        graph = onnx.load(str(path))
        classes = list(ast.literal_eval(read_metadata(graph)["names"]).values())
    except (OSError, DecodeError, KeyError, ValueError, SyntaxError) as error:
        raise SystemExit(f"{path}: is not a readable export with class names: {error}") from error
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.graph.initializer}
    # equal weights are written once
    arrays |= {node.output[0]: arrays[node.input[0]] for node in graph.graph.node if node.op_type == "Identity"}
    weights = {name.removeprefix("model."): torch.from_numpy(each.copy()) for name, each in arrays.items()}
    return weights, classes


def start_from_export(path: Path, model: Network, names: list[str], store: Store, size: int) -> bool:
    """Takes over an export's weights; its last layer only if the classes are the same, and says whether.

    `store` holds the training pictures, a few of which tell how large activations are.
    """
    weights, classes = read_export(path)
    weights = fitting(model, weights)
    if classes != names:
        weights |= last_layers(model)
    step = max(1, len(store) // PICTURES)
    squares = torch.from_numpy(store.read(list(range(0, len(store), step))[:PICTURES]))
    pixels = functional.interpolate(to_pixels(squares), (size, size), mode="bilinear", antialias=True)
    try:
        unfold(model, weights, pixels)
    except (KeyError, RuntimeError) as error:
        raise SystemExit(f"{path}: is not a float export of scale {model.scale}: {error}") from error
    return classes == names


@torch.no_grad()
def unfold(model: Network, folded: dict[str, Tensor], pictures: Tensor) -> None:
    """Loads weights with folded normalisations, and measures new ones on pictures (0 to 1)."""
    training = model.training
    model.eval()
    pairs = normalised(model, pictures[:1])
    biases, norms = {f"{name}.bias" for name, _, _ in pairs}, [norm for *_, norm in pairs]
    missing, unexpected = model.load_state_dict(
        {key: value for key, value in folded.items() if key not in biases}, strict=False
    )
    lacking = [key for key in missing if model.get_submodule(key.rpartition(".")[0]) not in norms]
    if lacking or unexpected:
        raise KeyError(f"lacks {lacking[:3]}, has {unexpected[:3]}")
    for name, _, norm in pairs:
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(folded[f"{name}.bias"])
    for (_, conv, norm), (mean, variance) in zip(pairs, moments(model, norms, pictures)):
        # a filter's length changes nothing behind a normalisation but how fast it learns
        gain = FILTER_LENGTH / conv.weight.flatten(1).norm(dim=1).clamp(min=1e-6)
        conv.weight.mul_(gain[:, None, None, None])
        norm.running_mean.copy_(gain * mean)
        norm.running_var.copy_(gain**2 * variance)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt() / gain)
        norm.bias.add_(mean)
    model.train(training)


def normalised(model: Network, picture: Tensor) -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Each normalisation with the convolution before it and that one's name, in order."""
    names = {module: name for name, module in model.named_modules()}
    order: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: order.append(module))
        for module in names
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    model(picture)
    for hook in hooks:
        hook.remove()
    return [
        (names[conv], conv, norm)
        for conv, norm in zip(order, order[1:])
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]


def moments(model: Network, norms: list[nn.BatchNorm2d], pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of each channel that goes into each normalisation."""
    sums = {norm: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}
    counts = dict.fromkeys(norms, 0)

    def add(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        sums[norm] += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
        counts[norm] += values.numel() // values.shape[1]

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    for batch in pictures.split(BATCH):
        model(batch)
    for hook in hooks:
        hook.remove()
    means = [sums[norm] / counts[norm] for norm in norms]
    return [(mean.float(), (square - mean**2).clamp(min=0).float()) for mean, square in means]
