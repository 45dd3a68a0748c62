"""Class folders, the preprocessing that serving uses, and augmentation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
Sample = tuple[Path, int]


@dataclass(frozen=True)
class Folders:
    """The samples of each split and the class names in index order."""

    names: list[str]
    train: list[Sample]
    val: list[Sample]
    test: list[Sample]


def find_samples(root: Path) -> Folders:
    """Reads train/val/test folders, or splits plain class folders 80/10/10."""
    if (root / "train").is_dir():
        names = _class_names(root / "train")
        splits = {split: _list(root / split, names) for split in ("train", "val", "test")}
        return Folders(names, **splits)
    names = _class_names(root)
    splits = {"train": [], "val": [], "test": []}
    for path, label in _list(root, names):
        # by content, so that neither new pictures nor new names move old ones
        bucket = hashlib.sha256(path.read_bytes()).digest()[0] * 10 // 256
        splits["val" if bucket == 0 else "test" if bucket == 1 else "train"].append((path, label))
    return Folders(names, **splits)


def _class_names(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(names) < 2:
        raise SystemExit(f"{folder}: needs at least two class folders")
    return names


def _list(folder: Path, names: list[str]) -> list[Sample]:
    return [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def open_rgb(path: Path) -> Image.Image:
    """A picture upright and in RGB."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def centre_crop(picture: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size` (bilinear, antialiased), then the centre square."""
    width, height = picture.size
    if width <= height:
        width, height = size, int(size * height / width)
    else:
        width, height = int(size * width / height), size
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def to_tensor(picture: Image.Image) -> Tensor:
    """Channels first, 0 to 1."""
    pixels = torch.from_numpy(np.array(picture, np.uint8))
    return pixels.permute(2, 0, 1).float() / 255


def preprocess(path: Path, size: int) -> Tensor:
    """A picture as the served model sees it."""
    return to_tensor(centre_crop(open_rgb(path), size))


def augment(picture: Image.Image, size: int, rng: np.random.Generator) -> Tensor:
    """Random crop, flip, turn, colours and a blanked-out patch."""
    width, height = picture.size
    side = min(width, height)
    # mild, for a crop that loses the bottle's mouth loses the answer
    crop = side * rng.uniform(0.8, 1.0)
    left = (width - crop) / 2 + rng.uniform(-1, 1) * (side - crop) / 2
    top = (height - crop) / 2 + rng.uniform(-1, 1) * (side - crop) / 2
    box = (left, top, left + crop, top + crop)
    picture = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if rng.random() < 0.3:
        picture = picture.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(rng.uniform(0.7, 1.3))
    pixels = to_tensor(picture)
    if rng.random() < 0.3:
        pixels = pixels[torch.from_numpy(rng.permutation(3))]
    if rng.random() < 0.2:
        tall, wide = (int(size * rng.uniform(0.05, 0.2)) for _ in range(2))
        y, x = int(rng.integers(size - tall)), int(rng.integers(size - wide))
        pixels[:, y : y + tall, x : x + wide] = float(rng.random())
    return pixels


class Pictures(Dataset[tuple[Tensor, int]]):
    """Samples at one size; augmentation depends only on seed, epoch and index."""

    def __init__(self, samples: list[Sample], size: int, seed: int | None = None) -> None:
        self.samples = samples
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        if self.seed is None:
            return preprocess(path, self.size), label
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return augment(open_rgb(path), self.size, rng), label
