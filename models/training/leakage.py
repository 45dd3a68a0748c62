"""Asks whether anything but the closure tells the classes apart.

The neck and every cap are covered, with the same boxes in all pictures of a scene, and
a small network learns the classes from what is left. On scenes that it has not seen it
should do no better than guessing.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from batches import scenes
from data import SPLITS, Box, Sample, centre_crop, class_names, list_samples, open_rgb

SIZE, BATCH, RATE = 128, 32, 2e-3
# how far a box is grown: a share of its longer side, and pixels
GROWTH, EDGE = 0.35, 12
GREY = (128, 128, 128)
LIMIT = 0.60
# so many scenes are enough for one held-out part; fewer are cross-validated
ENOUGH_SCENES, FOLDS, HELD_OUT = 600, 5, 0.3


@dataclass(frozen=True)
class Result:
    """Right answers on held-out scenes."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """The accuracy."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval at 95 %."""
        z, n, p = 1.96, self.total, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return middle - half, middle + half

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.share:.1%} of {self.total} (95 % interval {low:.1%} to {high:.1%})"


def read_samples(root: Path) -> list[Sample]:
    """Every picture below a data set or one of its splits whose neck is known."""
    split = (root / "train").is_dir()
    folders = [root / name for name in SPLITS] if split else [root]
    names = class_names(folders[0])
    found = [sample for folder in folders for sample in list_samples(folder, names)]
    known = [sample for sample in found if sample.neck is not None]
    if not known:
        raise SystemExit(f"{root}: no manifest says where the necks are")
    return known


def covers(members: list[Sample]) -> list[Box]:
    """The boxes to cover in every picture of a scene."""
    boxes = [box for sample in members for box in (sample.neck, *sample.caps) if box]
    return [grown(box) for box in boxes]


def grown(box: Box) -> Box:
    """A box with a generous margin."""
    x0, y0, x1, y1 = box
    more = GROWTH * max(x1 - x0, y1 - y0) + EDGE
    return (x0 - more, y0 - more, x1 + more, y1 + more)


def covered(path: Path, boxes: list[Box]) -> np.ndarray:
    """A small square picture with grey boxes."""
    picture: Image.Image = open_rgb(path)
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        draw.rectangle(box, GREY)
    return np.asarray(centre_crop(picture, SIZE))


def prepare(samples: list[Sample]) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Covered pictures [count, 3, SIZE, SIZE] as bytes, labels, and the indices of each scene."""
    groups = scenes(samples)
    pixels = torch.empty(len(samples), 3, SIZE, SIZE, dtype=torch.uint8)
    for members in tqdm(groups, "covering", leave=False, disable=None):
        boxes = covers([samples[index] for index in members])
        for index in members:
            square = torch.from_numpy(covered(samples[index].path, boxes).copy())
            pixels[index] = square.permute(2, 0, 1)
    return pixels, torch.tensor([sample.label for sample in samples]), groups


def small_network(classes: int) -> nn.Sequential:
    """Five strided convolutions and a linear layer."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (16, 32, 48, 64, 96):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def as_input(pixels: Tensor, indices: list[int]) -> Tensor:
    """Chosen pictures as the network takes them."""
    return (pixels[indices].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def learn(pixels: Tensor, labels: Tensor, groups: list[list[int]], epochs: int, seed: int) -> nn.Module:
    """A network trained on these scenes; the pictures of a scene share a batch."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = small_network(int(labels.max()) + 1).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    size = max(len(group) for group in groups)
    count = max(1, BATCH // size)
    steps = epochs * -(-len(groups) // count)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, max(steps, 2))
    for _ in tqdm(range(epochs), "learning", leave=False, disable=None):
        order = rng.permutation(len(groups))
        for start in range(0, len(order), count):
            indices = [index for group in order[start : start + count] for index in groups[group]]
            inputs = as_input(pixels, indices)
            if rng.random() < 0.5:
                inputs = inputs.flip(3)
            loss = functional.cross_entropy(model(inputs), labels[indices])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.inference_mode()
def hits(model: nn.Module, pixels: Tensor, labels: Tensor, indices: list[int]) -> int:
    """How many of the chosen pictures the network gets right."""
    right = 0
    for start in range(0, len(indices), 128):
        chosen = indices[start : start + 128]
        right += int((model(as_input(pixels, chosen)).argmax(1) == labels[chosen]).sum())
    return right


def probe(samples: list[Sample], epochs: int, seed: int = 0) -> Result:
    """How well a small network tells the classes of unseen scenes without neck and caps."""
    pixels, labels, groups = prepare(samples)
    order = np.random.default_rng(seed).permutation(len(groups))
    if len(groups) >= ENOUGH_SCENES:
        parts = [order[: int(HELD_OUT * len(groups))]]
    else:
        parts = np.array_split(order, FOLDS)
    right = total = 0
    for part in parts:
        held = set(part.tolist())
        known = [group for index, group in enumerate(groups) if index not in held]
        model = learn(pixels, labels, known, epochs, seed)
        unseen = [index for number in part for index in groups[number]]
        right += hits(model, pixels, labels, unseen)
        total += len(unseen)
    return Result(right, total)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "renders")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True, warn_only=True)
    samples = read_samples(options.data)
    result = probe(samples, options.epochs, options.seed)
    print(f"without neck and caps, right on unseen scenes: {result}")
    if result.share > LIMIT:
        raise SystemExit(f"more than {LIMIT:.0%}: something else gives the class away")


if __name__ == "__main__":
    main()
