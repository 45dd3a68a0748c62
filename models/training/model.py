"""YOLOv8 image classifiers in plain PyTorch, scales n, s, m, l and x."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# depth multiple, width multiple
SCALES: dict[str, tuple[float, float]] = {
    "n": (0.33, 0.25),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.00, 1.00),
    "x": (1.00, 1.25),
}
STAGES = ((128, 3), (256, 6), (512, 6), (1024, 3))
HEAD_CHANNELS = 1280
MAX_CHANNELS = 1024


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))

    @torch.no_grad()
    def fuse(self) -> None:
        """Folds the batch normalisation into the convolution."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.conv.weight.mul_(gain[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain)
        self.norm = nn.Identity()


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels, 3)
        self.second = ConvUnit(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class SplitStage(nn.Module):
    """C2f: halves the channels, runs blocks in a row on one half, joins every result."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        half = outputs // 2
        self.half = half
        self.enter = ConvUnit(inputs, 2 * half)
        self.blocks = nn.ModuleList(Residual(half) for _ in range(blocks))
        self.leave = ConvUnit((2 + blocks) * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        # unlike `chunk`, exports to a single node with constant sizes
        parts = list(self.enter(x).split(self.half, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class Head(nn.Module):
    """Convolution, global average pool, dropout, linear; gives logits."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.enter = ConvUnit(inputs, HEAD_CHANNELS)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(HEAD_CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.drop(self.pool(self.enter(x)).flatten(1)))


class Classifier(nn.Module):
    """The whole network; `forward` gives logits."""

    def __init__(self, scale: str = "n", classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        depth, width = SCALES[scale]

        def channels(nominal: int) -> int:
            return math.ceil(min(nominal, MAX_CHANNELS) * width / 8) * 8

        current = channels(64)
        layers: list[nn.Module] = [ConvUnit(3, current, 3, 2)]
        for nominal, repeats in STAGES:
            wide = channels(nominal)
            layers.append(ConvUnit(current, wide, 3, 2))
            layers.append(SplitStage(wide, wide, max(round(repeats * depth), 1)))
            current = wide
        self.layers = nn.Sequential(*layers, Head(current, classes, dropout))
        self.scale = scale
        self.map_channels = [channels(nominal) for nominal, _ in STAGES[-2:]]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"YOLOv8{self.scale}-cls"

    @property
    def licence(self) -> str:
        """That of this repository."""
        return "MIT OR Apache-2.0"

    @property
    def last_layers(self) -> list[nn.Linear]:
        """What turns features into logits."""
        return [self.layers[-1].linear]

    @property
    def body(self) -> list[nn.Module]:
        """Its layers up to the head, in order."""
        return list(self.layers[:-1])

    def maps_and_logits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The feature maps of the last two stages, and the logits."""
        before, last, head = self.layers[:-3], self.layers[-3:-1], self.layers[-1]
        early = before(x)
        late = last(early)
        return [early, late], head(late)

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax over the classes."""
        return self(x).softmax(dim=1)

    def fuse(self) -> "Classifier":
        """Folds every batch normalisation; only for inference."""
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.fuse()
        return self


def _translate(key: str) -> str:
    """The name of an Ultralytics weight in this module."""
    head, index, rest = key.split(".", 2)
    if head != "model":
        raise KeyError(f"not a weight of a YOLOv8 classifier: {key}")
    is_head = int(index) == 1 + 2 * len(STAGES)
    parts = rest.split(".")
    if is_head and parts[0] == "conv":
        parts[0] = "enter"
    elif parts[0] == "m":
        parts[0] = "blocks"
        parts[2] = {"cv1": "first", "cv2": "second"}[parts[2]]
    elif parts[0] in ("cv1", "cv2"):
        parts[0] = {"cv1": "enter", "cv2": "leave"}[parts[0]]
    return ".".join(["layers", index, *("norm" if part == "bn" else part for part in parts)])


def load_ultralytics_state_dict(
    model: Classifier, state: Mapping[str, Tensor], norm_eps: float = 1e-5
) -> None:
    """Loads the weights of an Ultralytics YOLOv8 classifier of the same scale and classes.

    A state dict does not say which epsilon its batch normalisations use. Ultralytics
    8.4 builds classifiers with PyTorch's 1e-5 (only its detectors get 1e-3), hence
    the default; pass the `eps` of the original's BatchNorm2d modules where known.
    """
    model.load_state_dict({_translate(key): value for key, value in state.items()})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = norm_eps
