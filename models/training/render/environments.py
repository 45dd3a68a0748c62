"""Surroundings: the light from all around, the ground, the wall behind, clutter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from render.materials import Material, bright, hsv, label, pick, surface
from render.mesh import Mesh, Part, ball, box, lathe, sheet, shift, turn


@dataclass(frozen=True)
class Environment:
    """What may be found in one kind of place. "none" stands for no ground or wall."""

    split: str
    lights: tuple[str, ...]
    grounds: tuple[str, ...]
    walls: tuple[str, ...]
    clutter: tuple[str, ...] = ()
    shelf: float = 0.0
    flash: float = 0.0


ENVIRONMENTS: dict[str, Environment] = {
    "studio": Environment("train", ("softbox",), ("plain",), ("plain", "none")),
    "kitchen": Environment("train", ("window",), ("wood", "tiles", "plain"), ("tiles", "plain", "none"),
                           ("fruit", "glass", "jar", "bowl", "box"), 0.4),
    "bar": Environment("train", ("lamps",), ("wood", "plain"), ("wood", "none"), ("bottle", "glass", "can"), 0.7),
    "garden": Environment("train", ("sun",), ("grass", "wood", "none"), ("none",), ("fruit", "bowl", "box")),
    "pavement": Environment("train", ("overcast",), ("concrete", "tiles"), ("concrete", "plain", "none"), ("can", "box")),
    "desk": Environment("train", ("window", "strips"), ("plain", "wood"), ("plain", "none"), ("book", "box", "can"), 0.3),
    "dim": Environment("train", ("lamps",), ("cloth", "wood"), ("plain", "stripes", "none"), ("bowl", "glass", "book"), 0.3),
    "flash": Environment("train", ("dark",), ("wood", "cloth", "plain"), ("plain", "stripes", "none"),
                         ("box", "can", "book", "glass"), 0.2, 1.0),
    "bathroom": Environment("train", ("strips",), ("tiles", "plain"), ("tiles",), ("jar", "can"), 0.5),
    "abstract": Environment("train", ("random",), ("abstract", "print", "stripes", "none"), ("abstract", "print", "photo", "photo", "none"),
                            ("ball", "box", "book", "can"), 0.0, 0.1),
    # only in val
    "picnic": Environment("val", ("park",), ("cloth", "grass"), ("none",), ("fruit", "bowl", "glass")),
    "cellar": Environment("val", ("bulb",), ("concrete", "wood"), ("brick",), ("bottle", "jar", "box"), 0.5, 0.2),
    # only in test and evaluation
    "counter": Environment("test", ("hall",), ("marble",), ("marble", "plain", "none"), ("glass", "jar", "fruit", "bowl"), 0.3),
    "beach": Environment("test", ("sea",), ("sand", "none"), ("none",), ("ball", "fruit", "can")),
    "workshop": Environment("test", ("tubes",), ("brushed", "concrete"), ("pegs",), ("box", "can", "jar"), 0.4),
    "party": Environment("test", ("neon",), ("plain", "brushed", "marble"), ("none", "brushed"), ("glass", "can", "bottle"),
                         0.3, 0.3),
}


def environments(split: str) -> list[str]:
    """The environments of a split; evaluation shares those of test."""
    return [n for n, e in ENVIRONMENTS.items() if e.split == ("test" if split == "evaluation" else split)]


# what a place between two environments has of one or the other; its light is the first one's
TRAITS = (("grounds",), ("walls",), ("clutter", "shelf"))

WIDE, HIGH = 384, 192


def light(rng: np.random.Generator, kind: str) -> np.ndarray:
    """Radiance from all around, top row up: rooms, skies, studios."""
    y = np.linspace(90, -90, HIGH)[:, None]
    x = np.linspace(0, 360, WIDE, endpoint=False)[None, :]
    sky = np.zeros((HIGH, WIDE, 3), np.float32)

    def patch(az, el, width, height, colour, soft=1.0):
        """A rectangle of light at an azimuth and elevation, in degrees."""
        away = np.abs((x - az + 180) % 360 - 180)
        inside = np.clip((width / 2 - away) / soft + 0.5, 0, 1) * np.clip((height / 2 - np.abs(y - el)) / soft + 0.5, 0, 1)
        sky[:] = sky * (1 - inside[..., None]) + np.float32(colour) * inside[..., None]

    def blobs(count, low, high, size, level):
        for _ in range(count):
            colour = np.float32(hsv(rng, (0, 1), (0, 0.6), (0.2, 1.0))) * level
            patch(rng.uniform(0, 360), rng.uniform(low, high), rng.uniform(*size), rng.uniform(*size), colour)

    def lamps(count, low, high, size, level, hue=(0.05, 0.14), saturation=(0.1, 0.6)):
        nonlocal sky
        for _ in range(count):
            az, el, s = rng.uniform(0, 360), rng.uniform(low, high), rng.uniform(*size)
            away = ((x - az + 180) % 360 - 180) * math.cos(math.radians(el))
            spot = np.clip(1.5 - np.hypot(away, y - el) / s, 0, 1)[..., None]
            sky = sky * (1 - spot) + np.float32(hsv(rng, hue, saturation, (0.9, 1))) * level * spot

    def room(wall, floor, ceiling):
        sky[:] = np.float32(wall)
        sky[(y < -12)[:, 0]] = np.float32(floor)
        sky[(y > rng.uniform(35, 55))[:, 0]] = np.float32(ceiling)

    if kind in ("sun", "park", "sea", "overcast"):
        up = np.clip(y / 90, 0, 1)[..., None]
        blue, pale = np.float32(hsv(rng, (0.55, 0.62), (0.3, 0.75), (0.6, 0.95))), np.float32((0.9, 0.92, 0.95))
        if kind == "overcast":
            blue = pale * rng.uniform(0.5, 1)
        sky[:] = pale * (1 - up**0.5) + blue * up**0.5
        clouds = np.asarray(Image.fromarray(np.float32(rng.random((12, 24)))).resize((WIDE, HIGH), Image.Resampling.BICUBIC))
        sky += np.clip((clouds - rng.uniform(0.3, 0.9)) * 1.2, 0, 0.8)[..., None]
        tone = {"sea": (0.5, 0.6), "park": (0.2, 0.4)}.get(kind, (0.1, 0.4))
        sky[(y < 0)[:, 0]] = np.float32(hsv(rng, tone, (0.1, 0.6), (0.3, 0.7)))
        if kind != "sea":
            far = np.asarray(Image.fromarray(np.float32(rng.random(48)[None])).resize((WIDE, 1), Image.Resampling.BICUBIC))
            hedge = (y < 2 + 28 * np.clip(far, 0, 1)) & (y > -6)
            green = np.float32(hsv(rng, (0.2, 0.4) if kind != "overcast" else (0, 1), (0.1, 0.7), (0.15, 0.6)))
            leaves = Image.fromarray(np.float32(rng.uniform(0.2, 1.7, (HIGH // 4, WIDE // 4))))
            speckle = np.asarray(leaves.resize((WIDE, HIGH), Image.Resampling.BICUBIC))[..., None]
            sky = np.where(hedge[..., None], green * speckle, sky)
            if kind == "overcast":
                blobs(int(rng.integers(6, 22)), 0, 25, (4, 30), 0.5)
        if kind != "overcast":
            away = (x - rng.uniform(0, 360) + 180) % 360 - 180
            el = rng.uniform(12, 70)
            off = np.hypot(away * math.cos(math.radians(el)), y - el)
            sky += (np.exp(-((off / 2.2) ** 2)) * rng.uniform(60, 260) + 0.5 * np.exp(-off / 12))[..., None] * np.float32(
                (1, rng.uniform(0.75, 0.98), rng.uniform(0.5, 0.92)))
    elif kind == "softbox":
        base = hsv(rng, (0, 1), (0, 0.25), (0.2, 0.95))
        sky[:] = np.float32(base)
        for _ in range(int(rng.integers(1, 4))):
            patch(rng.uniform(0, 360), rng.uniform(10, 80), rng.uniform(25, 90), rng.uniform(20, 60),
                  np.float32((1, 1, 1)) * rng.uniform(3, 12), 6)
    elif kind in ("window", "hall"):
        room(hsv(rng, (0, 1), (0, 0.4), (0.3, 0.8)), hsv(rng, (0, 0.12), (0.1, 0.5), (0.2, 0.6)), (0.6,) * 3)
        blobs(int(rng.integers(8, 30)), -25, 30, (4, 40), 0.6)
        az = rng.uniform(0, 360)
        for k in range(int(rng.integers(1, 4 if kind == "window" else 6))):
            tint = np.float32(hsv(rng, (0.1, 0.62), (0, 0.25), (0.95, 1)))
            patch(az + 30 * k, rng.uniform(10, 25), rng.uniform(14, 26), rng.uniform(25, 50), tint * rng.uniform(5, 16), 1.5)
    elif kind in ("lamps", "bulb"):
        room(*(hsv(rng, (0.0, 0.14), (0.2, 0.7), (0.15, 0.45)) for _ in range(3)))
        blobs(int(rng.integers(6, 25)), -30, 40, (3, 30), 0.25)
        lamps(int(rng.integers(3, 12)) if kind == "lamps" else 2, -5, 60, (2, 8), rng.uniform(6, 20))
    elif kind in ("strips", "tubes"):
        room(*(hsv(rng, (0.1, 0.6), (0, 0.2), (0.5, 0.9)) for _ in range(3)))
        blobs(int(rng.integers(5, 25)), -30, 30, (4, 40), 0.7)
        for _ in range(int(rng.integers(2, 6))):
            patch(rng.uniform(0, 360), rng.uniform(40, 80), rng.uniform(40, 120), rng.uniform(3, 9), (8, 8.6, 9), 1)
    elif kind == "dark":
        room(*(hsv(rng, (0, 1), (0, 0.4), (0.08, 0.3)) for _ in range(3)))
        blobs(int(rng.integers(5, 20)), -30, 40, (4, 40), 0.08)
    elif kind == "neon":
        room(*(hsv(rng, (0.6, 1.0), (0.3, 0.9), (0.1, 0.35)) for _ in range(3)))
        lamps(int(rng.integers(15, 50)), -12, 50, (1.2, 5), rng.uniform(3, 9), (0, 1), (0.2, 0.9))
        for _ in range(3):
            patch(rng.uniform(0, 360), rng.uniform(10, 70), rng.uniform(10, 70), rng.uniform(4, 20),
                  np.float32(hsv(rng, (0, 1), (0.2, 0.8), (0.9, 1))) * 7, 2)
    else:  # random
        grid = rng.random((int(rng.integers(3, 14)), int(rng.integers(4, 24)), 3)).astype(np.float32)
        picture = Image.fromarray((grid * 255).astype(np.uint8)).resize((WIDE, HIGH), Image.Resampling.BICUBIC)
        sky[:] = (np.asarray(picture, np.float32) / 255) ** 2 * 1.5
        blobs(int(rng.integers(5, 40)), -60, 60, (3, 50), 1.0)
        lamps(int(rng.integers(1, 8)), 0, 80, (3, 14), rng.uniform(4, 14), (0, 1), (0, 0.5))
    return np.roll(np.clip(sky, 0.002, 300), int(rng.integers(WIDE)), 1).astype(np.float32)


def ground(rng: np.random.Generator, kind: str) -> list[Part]:
    """A table or floor at height 0."""
    if kind == "none":
        return []
    material = Material("solid", (0.5, 0.5, 0.5), pick(rng, (0.08, 0.2, 0.35, 0.5, 0.8)), texture=surface(rng, kind))
    if kind == "grass" or kind == "sand":
        material = Material("solid", (0.5, 0.5, 0.5), 0.9, texture=material.texture)
    tile = rng.uniform(12, 60)
    if rng.random() < 0.5:
        return [Part(sheet(600, 600, tile).moved(turn("z", rng.uniform(0, 6.28))), material)]
    width, depth = rng.uniform(60, 180), rng.uniform(40, 90)
    top = sheet(width, depth, tile)
    slab = box(width, depth, 3).moved(shift(z=-3.02))
    place = shift(rng.uniform(-0.3, 0.3) * width, rng.uniform(-0.15, 0.15) * depth) @ turn("z", rng.normal(0, 0.25))
    return [Part(top.moved(place), material),
            Part(slab.moved(place), Material("solid", tuple(material.texture.mean((0, 1))), 0.5))]


def wall(rng: np.random.Generator, kind: str) -> list[Part]:
    """A wall beyond the bottle, which stands in the direction of y."""
    if kind == "none":
        return []
    material = Material("solid", (0.5, 0.5, 0.5), rng.uniform(0.3, 0.9), texture=surface(rng, kind))
    upright = sheet(900, 700, rng.uniform(20, 90)).moved(turn("x", math.pi / 2))
    return [Part(upright.moved(turn("z", rng.normal(0, 0.3)) @ shift(0, rng.uniform(15, 120), 200)), material)]


def thing(rng: np.random.Generator, kind: str) -> list[Part]:
    """One object of clutter on the ground at the origin."""
    material = Material("solid", bright(rng), rng.uniform(0.1, 0.8))
    if kind == "fruit":
        radius = rng.uniform(2, 5)
        colour = hsv(rng, (-0.02, 0.32), (0.5, 0.95), (0.3, 0.95))
        shape = lambda r, z, t: r * (1 + 0.03 * np.sin(3 * t) + 0.05 * np.sin(z))
        t = np.linspace(-math.pi / 2, math.pi / 2, 13)
        fruit = lathe(np.stack([radius * np.cos(t), radius * rng.uniform(0.8, 1.6) * (np.sin(t) + 1)], 1), 28, shape, crease=9)
        return [Part(fruit, Material("solid", colour, rng.uniform(0.2, 0.6)))]
    if kind == "ball":
        return [Part(ball(rng.uniform(2, 9), rng.uniform(0.7, 1.2)), material)]
    if kind == "glass":
        r, h = rng.uniform(2.5, 4), rng.uniform(5, 13)
        profile = [(0, 0), (r * 0.8, 0), (r, h), (r - 0.2, h), (r * 0.75, 0.8), (0, 0.8)]
        return [Part(lathe(profile, 32), Material("glass", (0.97, 0.98, 0.98)))]
    if kind in ("jar", "can"):
        r, h = rng.uniform(2.5, 6), rng.uniform(5, 18)
        profile = [(0, 0), (r, 0), (r, h * 0.95), (r * 0.9, h), (0, h)]
        texture = (label(rng, 256, 160) / 255.0) ** 2.2
        return [Part(lathe(profile, 40, arc=(0, 6.283)), Material("solid", (1, 1, 1), rng.uniform(0.1, 0.5), texture=texture))]
    if kind == "bowl":
        r, h = rng.uniform(5, 12), rng.uniform(1.5, 7)
        profile = [(0, 0), (r * 0.5, 0), (r, h), (r - 0.3, h), (r * 0.5, 0.5), (0, 0.4)]
        return [Part(lathe(profile, 40), material)]
    if kind == "book":
        texture = (label(rng, 160, 220) / 255.0) ** 2.2
        size = rng.uniform((10, 14, 1), (20, 26, 5))
        book = box(*size)
        if rng.random() < 0.5:
            book = book.moved(shift(z=size[0] / 2) @ turn("y", math.pi / 2) @ shift(z=-size[2] / 2))
        return [Part(book.moved(turn("z", rng.uniform(0, 6.28))), Material("solid", (1, 1, 1), 0.5, texture=texture))]
    if kind == "bottle":
        # no mouth to see: a rounded decanter body
        r, h = rng.uniform(3, 5), rng.uniform(14, 24)
        profile = [(0, 0), (r, 0), (r, h * 0.8), (r * 0.8, h * 0.92), (0, h)]
        stuff = Material("glass", hsv(rng, (0, 0.45), (0.2, 0.9), (0.3, 0.95)), 0.0)
        return [Part(lathe(profile, 36, crease=1.2), stuff)]
    texture = (label(rng, 200, 200) / 255.0) ** 2.2 if rng.random() < 0.6 else None
    solid = box(*rng.uniform((3, 3, 3), (18, 14, 20)))
    return [Part(solid.moved(turn("z", rng.uniform(0, 6.28))), Material("solid", bright(rng), 0.5, texture=texture))]


def shelf(rng: np.random.Generator, clutter: tuple[str, ...]) -> list[Part]:
    """Boards with things on them, some way behind."""
    y, z = rng.uniform(14, 60), rng.uniform(-4, 14)
    gap = rng.uniform(20, 34)
    board = Material("solid", (0.5, 0.5, 0.5), 0.5, texture=surface(rng, pick(rng, ("wood", "plain"))))
    parts = []
    for level in range(2):
        parts.append(Part(box(260, 22, 2).moved(shift(0, y + 11, z + level * gap - 2)), board))
        for _ in range(int(rng.integers(2, 6))):
            place = shift(rng.uniform(-45, 45), y + rng.uniform(4, 16), z + level * gap)
            parts += [Part(p.mesh.moved(place), p.material) for p in thing(rng, pick(rng, clutter))]
    return parts
