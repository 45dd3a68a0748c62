"""A network that looks twice: at the whole picture, and then closely at the neck it found there.

A neck is often a tenth of a picture, and what closes it a part of that. The second look shows it always
equally large. Its window is cut with two matrix products, so that an export needs no operator that some
runtimes lack.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from augment import focused_warp
from data import middles
from lite import Lite

# what one look is called, and what two are
ZOOMS = {"lite0-zoom": "lite0"}
LOOKS = ("first", "second")
# the side of the second look in pixels, in training and in service (as with --test-size), and how many
# times as wide as the neck it is
TRAINING_SIDE, CLOSE_SIDE, REACH = 160, 192, 1.5
# of a picture's side
SMALLEST_WINDOW = 0.2
# scores learn to be so many times the logarithm of how likely a cell is, so that of two necks
# one is looked at, and not the middle between them
SHARPNESS = 3.0
LOCATOR_CHANNELS = 48
# in the names of its weights and of its operators
LOCATOR = "locate"
# in training windows are off by so much: the logarithm of their side, and their middle in neck sizes
SIDE_JITTER, MIDDLE_JITTER = 0.4, 0.25


class Locator(nn.Module):
    """From maps at strides of 16 and 32 pixels to a score and the neck's size for each cell of the first."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv2d(wide, LOCATOR_CHANNELS, 1) for wide in channels)
        self.join = nn.Conv2d(LOCATOR_CHANNELS, LOCATOR_CHANNELS, 3, padding=1)
        self.leave = nn.Conv2d(LOCATOR_CHANNELS, 2, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """[batch, 2, height, width]: a score, and the logarithm of the longer side where a picture's is 2."""
        fine, coarse = (enter(each) for enter, each in zip(self.enter, maps))
        side = int(fine.shape[2]), int(fine.shape[3])
        both = functional.relu(fine + functional.interpolate(coarse, side, mode="nearest"))
        return self.leave(functional.relu(self.join(both)))


def found_place(located: Tensor) -> Tensor:
    """The neck's middle and its longer side, [batch, 3], in a square from -1 to 1."""
    side = int(located.shape[2])
    share = located[:, 0].flatten(1).softmax(1)
    size = (share * located[:, 1].flatten(1)).sum(1).exp()
    share = share.view(-1, side, side)
    line = middles(side).to(located.device)
    x, y = (share.sum(1) * line).sum(1), (share.sum(2) * line).sum(1)
    return torch.stack([x, y, size], 1)


def true_place(necks: Tensor) -> Tensor:
    """The same from boxes; NaN stays NaN."""
    x0, y0, x1, y1 = necks.unbind(1)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, torch.maximum(x1 - x0, y1 - y0)], 1)


def place_loss(located: Tensor, necks: Tensor) -> Tensor:
    """How badly the scores tell the neck's cells, and the sizes there its size; 0 where no neck is known."""
    known = torch.isfinite(necks).all(1)
    if not known.any():
        return located.new_zeros(())
    located, place = located[known], true_place(necks[known].to(located.device))
    side = located.shape[2]
    line = middles(side).to(located.device)
    # the middle, shared among the cells around it
    near = [(1 - (line - place[:, k, None]).abs() * side / 2).clamp(min=0) for k in (0, 1)]
    target = (near[1][:, :, None] * near[0][:, None, :]).flatten(1)
    target = target / target.sum(1, keepdim=True).clamp(min=1e-6)
    missed = -(target * (located[:, 0].flatten(1) / SHARPNESS).log_softmax(1)).sum(1)
    sizes = located[:, 1].flatten(1)
    wanted = place[:, 2, None].clamp(min=1e-3).log().expand_as(sizes)
    off = (target * functional.smooth_l1_loss(sizes, wanted, reduction="none")).sum(1)
    return (missed + off).mean()


def window(place: Tensor, reach: float | Tensor = REACH) -> Tensor:
    """The middle and half the side, [batch, 3], of a square around a neck that is inside the picture."""
    half = (place[:, 2] * reach / 2).clamp(SMALLEST_WINDOW, 1.0)
    room = (1 - half)[:, None]
    middle = torch.minimum(torch.maximum(place[:, :2], -room), room)
    return torch.cat([middle, half[:, None]], 1)


def window_warp(neck: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A homography from a view to the window of a known neck, off by as much as in training."""
    size = float((neck[2:] - neck[:2]).max())
    middle, half = (neck[:2] + neck[2:]) / 2, size * REACH / 2
    near, far = np.clip(half * np.exp([-SIDE_JITTER, SIDE_JITTER]), SMALLEST_WINDOW, 1.0)
    return focused_warp(middle, (near, far), rng, drift=size * MIDDLE_JITTER)


def cut(pictures: Tensor, windows: Tensor, side: int = CLOSE_SIDE) -> Tensor:
    """What is in each window, [batch, 3, side, side]; bilinear, antialiased where it gets smaller."""
    rows = resampling(windows[:, 1], windows[:, 2], int(pictures.shape[2]), side)
    columns = resampling(windows[:, 0], windows[:, 2], int(pictures.shape[3]), side)
    return rows[:, None] @ pictures @ columns[:, None].transpose(2, 3)


def resampling(middle: Tensor, half: Tensor, inputs: int, outputs: int) -> Tensor:
    """The share of each input pixel in each output pixel of a line: [batch, outputs, inputs]."""
    at = middle[:, None] + half[:, None] * middles(outputs).to(middle.device)
    at = (at + 1) * (inputs / 2) - 0.5
    spread = (half * (inputs / outputs)).clamp(min=1.0)[:, None, None]
    share = (1 - (at[:, :, None] - torch.arange(inputs, device=at.device)).abs() / spread).clamp(min=0)
    return share / share.sum(2, keepdim=True)


class Zoom(nn.Module):
    """Two networks of the same kind; `forward` takes pictures from 0 to 1 and gives the mean of their logits."""

    def __init__(self, scale: str = "lite0-zoom", classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.scale = scale
        self.first, self.second = (Lite(ZOOMS[scale], classes, dropout) for _ in range(2))
        self.map_channels = self.first.map_channels
        self.locate = Locator(self.map_channels)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.first.title} looking twice"

    @property
    def licence(self) -> str:
        """That of both looks."""
        return self.first.licence

    @property
    def last_layers(self) -> list[nn.Linear]:
        """What turns features into logits."""
        return [*self.first.last_layers, *self.second.last_layers]

    @property
    def body(self) -> list[nn.Module]:
        """The whole first look, then the layers of the second up to its head."""
        return [self.first, *self.second.body]

    def looks(
        self, x: Tensor, necks: Tensor, only: str | None = None
    ) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """For training: the first look's maps, the logits of both, the second near the neck where that is known, and
        what the locator says.

        The same of the first look only, or of the second, for which pictures are the windows.
        """
        if only == "second":
            maps, second = self.second.maps_and_logits(x)
            return maps, [second], None
        maps, first = self.first.maps_and_logits(x)
        located = self.locate(maps)
        if only == "first":
            return maps, [first], located
        with torch.no_grad():
            place, true = found_place(located), true_place(necks.to(x.device))
            place = torch.where(torch.isfinite(true), true, place)
            place[:, :2] += place[:, 2:] * MIDDLE_JITTER * (2 * torch.rand_like(place[:, :2]) - 1)
            reach = REACH * (SIDE_JITTER * (2 * torch.rand_like(place[:, 2]) - 1)).exp()
            close = cut(x, window(place, reach), TRAINING_SIDE)
        return maps, [first, self.second(close.contiguous(memory_format=torch.channels_last))], located

    def served_looks(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The first look's maps, and the logits of both."""
        maps, first = self.first.maps_and_logits(x)
        close = cut(x, window(found_place(self.locate(maps))))
        return maps, [first, self.second(close)]

    def maps_and_logits(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The first look's maps, and the logits."""
        maps, (first, second) = self.served_looks(x)
        return maps, (first + second) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.maps_and_logits(x)[1]

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax over the classes."""
        return self(x).softmax(dim=1)

    def fuse(self) -> "Zoom":
        """Folds every batch normalisation; only for inference."""
        self.first.fuse()
        self.second.fuse()
        return self

    def from_one_look(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a network that looks once knows, for both looks; the locator stays as it is."""
        both = {f"{look}.{key}": value for look in LOOKS for key, value in weights.items()}
        return both | {f"{LOCATOR}.{key}": value for key, value in self.locate.state_dict().items()}
