"""What single cells of the feature maps are asked, and where drawings keep their necks."""

from __future__ import annotations

import torch
from PIL import Image

from cells import IGNORED, cell_loss, cell_targets, make_cell_heads
from differences import difference
from model import Classifier

UNKNOWN = [float("nan")] * 4


def test_targets() -> None:
    necks = torch.tensor([[-1.0, -1.0, -0.55, -0.4], [0.1, 0.1, 0.12, 0.12], UNKNOWN])
    targets = cell_targets(necks, torch.tensor([1, 0, 1]), 4, background=2)
    assert targets[0].tolist() == [[1, 2, 2, 2], [IGNORED, 2, 2, 2], [2] * 4, [2] * 4]
    # a neck smaller than a cell still has one
    assert (targets[1] == 0).nonzero().tolist() == [[2, 2]]
    assert (targets[2] == IGNORED).all()


def test_loss_falls_for_right_answers() -> None:
    necks, labels = torch.tensor([[-1.0, -1.0, 0.0, 0.0], UNKNOWN]), torch.tensor([0, 1])
    targets = cell_targets(necks, labels, 4, background=2).clamp(min=0)
    right = 8 * torch.nn.functional.one_hot(targets, 3).permute(0, 3, 1, 2).float()
    assert cell_loss([right], necks, labels) < 0.01
    assert cell_loss([right.roll(1, 1)], necks, labels) > 1
    assert cell_loss([right], necks[1:].expand(2, 4), labels) == 0


def test_heads_fit_the_maps() -> None:
    model = Classifier("n", 3).eval()
    pictures = torch.rand(2, 3, 64, 64)
    maps, logits = model.maps_and_logits(pictures)
    assert torch.equal(logits, model(pictures))
    shapes = [tuple(each.shape) for each in make_cell_heads(model, 3)(maps)]
    assert shapes == [(2, 4, 4, 4), (2, 4, 2, 2)]


def test_the_difference_of_two_drawings() -> None:
    first = Image.new("RGB", (100, 80), (40, 90, 60))
    second = first.copy()
    second.paste((200, 30, 30), (50, 20, 70, 50))
    x0, y0, x1, y1 = difference(first, second)
    assert 38 <= x0 <= 50 and 70 <= x1 <= 82
    assert 8 <= y0 <= 20 and 50 <= y1 <= 62
    assert difference(first, first) is None
