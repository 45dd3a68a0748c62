"""Asks every cell of the feature maps what it shows, where pictures say where their neck is.

One answer for a whole picture teaches slowly where to look. These heads learn beside the
classifier, from cells on the neck (which class?) and off it (none), and are then dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from data import middles
from model import Classifier

# Necks of other bottles in the picture have no box and count as background, hence the doubt.
BACKGROUND_WEIGHT = 0.3
IGNORED = -1


class CellHeads(nn.Module):
    """A class, or none, for every cell of the last two stages."""

    def __init__(self, channels: list[int], classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(wide, classes + 1, 1) for wide in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [head(each) for head, each in zip(self.heads, maps)]


def cell_targets(necks: Tensor, labels: Tensor, side: int, background: int) -> Tensor:
    """The class of each cell of a square map: [batch, side, side].

    `necks` are boxes in a square from -1 to 1. Cells are of the neck if their middle is,
    background if they do not touch it, and ignored otherwise or where it is unknown.
    """
    line = middles(side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    x0, y0, x1, y1 = (necks[:, k, None, None] for k in range(4))
    half = 1 / side
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    nearest = ((x - middle_x).abs() <= half) & ((y - middle_y).abs() <= half)
    inside = nearest | ((x > x0) & (x < x1) & (y > y0) & (y < y1))
    away = (x + half < x0) | (x - half > x1) | (y + half < y0) | (y - half > y1)
    targets = torch.full(x0.shape[:1] + x.shape, IGNORED)
    targets = torch.where(away, background, targets)
    return torch.where(inside, labels[:, None, None], targets)


def cell_loss(answers: list[Tensor], necks: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of the cells on necks and, with less weight, of those off them."""
    total = answers[0].new_zeros(())
    if not torch.isfinite(necks).all(1).any():
        return total
    for answer in answers:
        background = answer.shape[1] - 1
        targets = cell_targets(necks, labels, answer.shape[2], background).to(answer.device)
        losses = functional.cross_entropy(answer, targets, ignore_index=IGNORED, reduction="none")
        off, on = targets == background, (targets != background) & (targets != IGNORED)
        total = total + (losses * on).sum() / on.sum().clamp(min=1)
        total = total + BACKGROUND_WEIGHT * (losses * off).sum() / off.sum().clamp(min=1)
    return total / len(answers)


def make_cell_heads(model: Classifier, classes: int) -> CellHeads:
    """Heads that fit a model's `maps_and_logits`."""
    return CellHeads(model.map_channels, classes)
