"""Which pictures there are, and how one is made.

Pictures come in groups of four: a pair, which is one scene in both classes, and two
single scenes, one of each class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from render import finish
from render.scene import SPLITS, Scene, generator, sample

CLASSES = {"aberta": False, "fechada": True}
GROUP = 4
# rays a pixel
SAMPLES = 4


@dataclass(frozen=True)
class Picture:
    """One picture's place in the plan; `unit` is the number of its scene."""

    split: str
    number: int
    unit: int
    label: str
    pair: int | None

    @property
    def name(self) -> str:
        return f"{self.number:05d}"


def pictures(split: str, group: int) -> list[Picture]:
    """The four pictures of a group."""
    first, unit = group * GROUP, group * 3
    labels = list(CLASSES) if group % 2 else list(CLASSES)[::-1]
    return [
        Picture(split, first, unit, "aberta", group),
        Picture(split, first + 1, unit, "fechada", group),
        Picture(split, first + 2, unit + 1, labels[0], None),
        Picture(split, first + 3, unit + 2, labels[1], None),
    ]


def order(counts: dict[str, int], first: int = 0) -> list[tuple[str, int]]:
    """Groups in the order of rendering: evaluation, val, then train from `first` on with test among it."""
    groups = {split: -(-count // GROUP) for split, count in counts.items()}
    before = [(split, g) for split in ("evaluation", "val") for g in range(groups[split])]
    mixed = [((g + 0.5) / groups[split], split, g) for split in ("train", "test") for g in range(groups[split])]
    # test is done by the time half of train is
    mixed = [(at * (0.5 if split == "test" else 1), split, g) for at, split, g in mixed]
    mixed = [(at, split, g) for at, split, g in mixed if split != "train" or g * GROUP >= first]
    return before + [(split, g) for _, split, g in sorted(mixed)]


_renderer = None
_last: tuple[tuple[int, str, int], Scene] | None = None


def scene_of(seed: int, picture: Picture) -> Scene:
    """The picture's scene; a pair's is made once."""
    global _last
    key = (seed, picture.split, picture.unit)
    if _last is None or _last[0] != key:
        _last = (key, sample(*key))
    return _last[1]


def light_of(scene: Scene, seed: int, picture: Picture, samples: int = SAMPLES) -> np.ndarray:
    """The rendered scene, linear, at the size it was rendered."""
    global _renderer
    if _renderer is None:
        from render.cycles import Renderer

        _renderer = Renderer()
    rng = generator(seed, picture.split, 2, picture.unit)
    scale, noise = rng.uniform(0.65, 0.9), int(rng.integers(2**31))
    return _renderer.picture(scene.parts(CLASSES[picture.label]), scene.camera, scene.light, scene.flash, noise, samples, scale)


def make(seed: int, picture: Picture, samples: int = SAMPLES) -> tuple[dict, bytes]:
    """The manifest's row and the JPEG."""
    scene = scene_of(seed, picture)
    light = light_of(scene, seed, picture, samples)
    # half of the pairs differ in their closure alone, the others in their photographs too
    own = generator(seed, picture.split, 3, picture.unit).random() < 0.5
    rng = generator(seed, picture.split, 4, picture.number if own else picture.unit, int(own))
    pixels = finish.develop(light, rng, scene.size)
    quality = 85 if picture.split == "evaluation" else int(rng.integers(78, 93))
    row = {
        "file": f"{picture.label}/{picture.name}.jpg", "label": picture.label, "seed": seed, "unit": picture.unit,
        "family": scene.family, "environment": scene.environment, "closure": scene.closure, "pair": picture.pair,
        "size": list(scene.size), "neck": scene.neck, "bottle": scene.bottle, "caps": scene.caps,
    }
    return row, finish.encode(pixels, quality)
