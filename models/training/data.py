"""Class folders, what a manifest says of their pictures, and the preprocessing of serving."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SPLITS = ("train", "val", "test")
GROUPS = ("family", "environment", "closure")
Size = int | tuple[int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """A picture, its class and what its manifest says, if it has one."""

    path: Path
    label: int
    # in pixels of the picture
    neck: Box | None = None
    caps: tuple[Box, ...] = ()
    # pictures of one scene share it
    pair: str | None = None
    groups: dict[str, str] = field(default_factory=dict)


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
        names = class_names(root / "train")
        return Folders(names, **{split: list_samples(root / split, names) for split in SPLITS})
    names = class_names(root)
    splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for sample in list_samples(root, names):
        # by content, so that neither new pictures nor new names move old ones
        bucket = hashlib.sha256(sample.path.read_bytes()).digest()[0] * 10 // 256
        splits["val" if bucket == 0 else "test" if bucket == 1 else "train"].append(sample)
    return Folders(names, **splits)


def class_names(folder: Path) -> list[str]:
    """The names of the class folders, sorted."""
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(names) < 2:
        raise SystemExit(f"{folder}: needs at least two class folders")
    return names


def list_samples(folder: Path, names: list[str]) -> list[Sample]:
    """The pictures in the class folders of `folder`, with what a manifest beside them says."""
    notes = read_manifest(folder)
    return [
        _sample(path, label, notes.get((name, path.name)))
        for label, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def read_manifest(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The lines of `manifest.jsonl` by class folder and file name; empty without one."""
    path = folder / "manifest.jsonl"
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {(Path(line["file"]).parent.name, Path(line["file"]).name): line for line in lines}


def _sample(path: Path, label: int, note: dict[str, Any] | None) -> Sample:
    if note is None:
        return Sample(path, label)
    neck, pair = note.get("neck"), note.get("pair")
    return Sample(
        path,
        label,
        neck=tuple(neck) if neck else None,
        caps=tuple(tuple(box) for box in note.get("caps") or ()),
        pair=None if pair is None else str(pair),
        groups={key: str(note[key]) for key in GROUPS if note.get(key) is not None},
    )


def pair_by_name(samples: list[Sample]) -> list[Sample]:
    """Makes pairs of files with the same name, where no manifest says what belongs together."""
    return [
        sample if sample.pair is not None else replace(sample, pair=sample.path.stem)
        for sample in samples
    ]


def open_rgb(path: Path) -> Image.Image:
    """A picture upright and in RGB."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def centre_crop(picture: Image.Image, size: Size) -> Image.Image:
    """Bilinear, antialiased: the shorter side to `size`, then the centre square.

    A size of unequal (height, width) stretches the whole picture instead. Both are
    what Ultralytics does.
    """
    tall, wide = (size, size) if isinstance(size, int) else size
    if tall != wide:
        return picture.resize((wide, tall), Image.Resampling.BILINEAR)
    width, height = picture.size
    if width <= height:
        width, height = wide, int(wide * height / width)
    else:
        width, height = int(wide * width / height), wide
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - wide) / 2), round((height - wide) / 2)
    return picture.crop((left, top, left + wide, top + wide))


def to_tensor(picture: Image.Image) -> Tensor:
    """Channels first, 0 to 1."""
    pixels = torch.from_numpy(np.array(picture, np.uint8))
    return pixels.permute(2, 0, 1).float() / 255


def to_pixels(squares: Tensor) -> Tensor:
    """A batch of uint8 squares with channels first, 0 to 1."""
    return squares.permute(0, 3, 1, 2).float().div_(255)


def preprocess(path: Path, size: Size) -> Tensor:
    """A picture as the served model sees it."""
    return to_tensor(centre_crop(open_rgb(path), size))


def middles(count: int) -> Tensor:
    """Where the middles of a row of so many pixels or cells are, from -1 to 1."""
    return (torch.arange(count) + 0.5) * 2 / count - 1


def box_in_square(box: Box, width: int, height: int) -> Box:
    """A box in pixels of the picture, in its centre square, whose sides run from -1 to 1."""
    half = min(width, height) / 2
    x0, y0, x1, y1 = box
    return (
        (x0 - width / 2) / half,
        (y0 - height / 2) / half,
        (x1 - width / 2) / half,
        (y1 - height / 2) / half,
    )
