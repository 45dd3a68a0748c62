"""Materials, colours and painted textures, all made from random numbers."""

from __future__ import annotations

import colorsys
import string
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """`kind` is solid, metal, glass, milky (lets light through) or light."""

    kind: str
    colour: Colour = (0.5, 0.5, 0.5)
    roughness: float = 0.5
    ior: float = 1.5
    texture: np.ndarray | None = field(default=None, compare=False, repr=False)
    strength: float = 1.0


def pick(rng: np.random.Generator, options):
    return options[int(rng.integers(len(options)))]


def hsv(rng: np.random.Generator, hue, saturation, value) -> Colour:
    """A linear colour from ranges of hue, saturation and value."""
    colour = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return tuple(c**2.2 for c in colour)


def bright(rng: np.random.Generator) -> Colour:
    """The colour of a cap or a print: white, black, or anything."""
    kind = rng.random()
    if kind < 0.18:
        return hsv(rng, (0, 1), (0, 0.06), (0.8, 0.97))
    if kind < 0.32:
        return hsv(rng, (0, 1), (0, 0.15), (0.08, 0.25))
    if kind < 0.42:
        return hsv(rng, (0.1, 0.14), (0.4, 0.7), (0.6, 0.85))
    return hsv(rng, (0, 1), (0.3, 0.95), (0.25, 0.95))


def glass(rng: np.random.Generator, stuff: str) -> Material:
    """What a bottle is made of."""
    kind = rng.random()
    if stuff == "metal":
        return Material("metal", hsv(rng, (0, 1), (0, 0.4), (0.5, 0.95)), rng.uniform(0.15, 0.45))
    if stuff == "ceramic":
        return Material("solid", hsv(rng, (0, 1), (0, 0.7), (0.15, 0.95)), rng.uniform(0.1, 0.6))
    if stuff == "hdpe":
        return Material("milky", hsv(rng, (0, 1), (0, 0.5 if kind < 0.5 else 0.05), (0.7, 0.95)), rng.uniform(0.3, 0.6))
    if stuff == "plastic":
        if kind < 0.2:
            return Material("solid", bright(rng), rng.uniform(0.15, 0.5))
        tint = hsv(rng, (0, 1), (0, 0.02 if kind < 0.7 else 0.5), (0.9, 1.0))
        return Material("glass", tint, rng.choice([0.0, 0.05, 0.12]), 1.3)
    if kind < 0.4:
        colour = hsv(rng, (0.25, 0.55), (0, 0.04), (0.93, 1.0))
    elif kind < 0.62:
        colour = hsv(rng, (0.2, 0.42), (0.35, 0.85), (0.35, 0.8))
    elif kind < 0.84:
        colour = hsv(rng, (0.05, 0.1), (0.6, 0.9), (0.35, 0.75))
    elif kind < 0.94:
        colour = hsv(rng, (0.5, 0.66), (0.3, 0.9), (0.4, 0.9))
    else:
        colour = hsv(rng, (0, 1), (0.2, 0.8), (0.1, 0.9))
    return Material("glass", colour, rng.uniform(0.15, 0.4) if rng.random() < 0.1 else 0.0, 1.45)


def liquid(rng: np.random.Generator) -> Material:
    kind = rng.random()
    if kind < 0.25:
        return Material("glass", (0.97, 0.98, 0.99), 0.0, 1.33)
    if kind < 0.7:
        return Material("glass", hsv(rng, (-0.05, 0.17), (0.3, 0.95), (0.3, 0.95)), 0.0, 1.33)
    if kind < 0.8:
        return Material("glass", hsv(rng, (0, 1), (0.3, 0.9), (0.4, 0.95)), 0.0, 1.33)
    return Material("solid", hsv(rng, (-0.05, 0.2), (0, 0.9), (0.2, 0.95)), 0.25)


def fractal(rng: np.random.Generator, size: int, start: int = 3, octaves: int = 5, stretch: int = 1) -> np.ndarray:
    """Cloudy noise from 0 to 1; `stretch` draws it out along x."""
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        cells = min(start * 2**k, size)
        grid = rng.random((cells, max(2, cells // stretch))).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)) / 1.7**k
    total -= total.min()
    return total / max(total.max(), 1e-6)


def _mix(a: Colour, b: Colour, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return np.float32(a) * (1 - share) + np.float32(b) * share


def _near(rng: np.random.Generator, colour: Colour, spread: float = 0.5) -> Colour:
    factor = rng.uniform(1 - spread, 1 + 0.6 * spread)
    return tuple(float(np.clip(c * factor, 0.01, 0.95)) for c in colour)


def surface(rng: np.random.Generator, kind: str, size: int = 256) -> np.ndarray:
    """A texture for tables, floors and walls, linear light."""
    y, x = np.mgrid[0:size, 0:size] / size
    if kind == "wood":
        tone = hsv(rng, (0.04, 0.11), (0.25, 0.75), (0.25, 0.9))
        grain = fractal(rng, size, 24, 4, 12)
        rings = 0.5 + 0.5 * np.sin((y * rng.uniform(4, 20) + fractal(rng, size, 3, 3, 2) * 3) * 6.28)
        picture = _mix(tone, _near(rng, tone, 0.7), 0.7 * grain + 0.3 * rings)
        planks = int(rng.integers(1, 6))
        if planks > 1:
            row = (y * planks).astype(int)
            picture = picture * rng.uniform(0.75, 1.1, planks)[row][..., None]
            picture[(y * planks) % 1 < 0.015] *= 0.35
        return picture
    if kind == "tiles":
        n, m = int(rng.integers(2, 7)), int(rng.integers(2, 7))
        tone = hsv(rng, (0, 1), (0, 0.5), (0.2, 0.95))
        picture = np.float32(tone) * rng.uniform(0.85, 1.08, (n, m, 1))[(y * n).astype(int), (x * m).astype(int)]
        shift = 0.5 * ((y * n).astype(int) % 2) if rng.random() < 0.5 else 0
        joint = ((y * n) % 1 < 0.05) | ((x * m + shift) % 1 < 0.05)
        picture[joint] = hsv(rng, (0, 1), (0, 0.1), (0.3, 0.9))
        return picture
    if kind == "brick":
        tone = hsv(rng, (0.0, 0.08), (0.2, 0.7), (0.3, 0.8))
        row = (y * 8).astype(int)
        column = (x * 4 + 0.5 * (row % 2)).astype(int) % 4
        picture = np.float32(tone) * rng.uniform(0.6, 1.15, (8, 4, 1))[row, column]
        picture *= 0.75 + 0.4 * fractal(rng, size, 16, 4)[..., None]
        joint = ((y * 8) % 1 < 0.13) | ((x * 4 + 0.5 * (row % 2)) % 1 < 0.07)
        picture[joint] = hsv(rng, (0.05, 0.15), (0, 0.2), (0.4, 0.8))
        return picture
    if kind == "marble":
        veins = np.abs(fractal(rng, size, 3, 6) - fractal(rng, size, 4, 6))
        tone = hsv(rng, (0, 1), (0, 0.15), (0.75, 0.97) if rng.random() < 0.7 else (0.05, 0.3))
        return _mix(hsv(rng, (0, 1), (0, 0.3), (0.3, 0.7)), tone, veins * rng.uniform(6, 14))
    if kind == "cloth":
        a, b = bright(rng), bright(rng)
        n = int(rng.integers(3, 14))
        share = ((x * n) % 1 < 0.5) * 0.5 + ((y * n) % 1 < 0.5) * (0.5 if rng.random() < 0.6 else 0)
        return _mix(a, b, share) * (0.8 + 0.3 * fractal(rng, size, 64, 2)[..., None])
    if kind == "stripes":
        a, b = bright(rng), bright(rng)
        angle, n = rng.uniform(0, 6.28), rng.uniform(2, 12)
        return _mix(a, b, ((x * np.cos(angle) + y * np.sin(angle)) * n % 1 < rng.uniform(0.2, 0.8)) * 1.0)
    if kind == "grass":
        share = fractal(rng, size, 40, 3) * 0.7 + 0.3 * rng.random((size, size))
        tone = hsv(rng, (0.18, 0.36), (0.4, 0.8), (0.3, 0.7))
        return _mix(_near(rng, tone, 0.8), tone, share)
    if kind == "sand":
        tone = hsv(rng, (0.07, 0.13), (0.15, 0.5), (0.6, 0.95))
        return np.float32(tone) * (0.7 + 0.3 * fractal(rng, size, 6, 4)[..., None] + 0.15 * rng.random((size, size, 1)))
    if kind == "pegs":
        picture = np.ones((size, size, 3), np.float32) * np.float32(hsv(rng, (0.05, 0.15), (0.1, 0.6), (0.3, 0.9)))
        picture[((x * 12 % 1 - 0.5) ** 2 + (y * 12 % 1 - 0.5) ** 2) < 0.03] *= 0.1
        return picture
    if kind == "brushed":
        return np.float32(hsv(rng, (0.5, 0.7), (0, 0.1), (0.4, 0.85))) * (0.7 + 0.5 * fractal(rng, size, 64, 3, 32)[..., None])
    if kind == "photo":
        return _photograph(rng)
    if kind == "print":
        return np.float32(label(rng, size, size) / 255.0) ** 2.2
    tone = hsv(rng, (0, 1), (0, 0.6), (0.15, 0.95))
    if kind == "concrete":
        tone = hsv(rng, (0.05, 0.6), (0, 0.12), (0.3, 0.85))
        return np.float32(tone) * (0.65 + 0.35 * fractal(rng, size, 4, 6)[..., None] + 0.12 * rng.random((size, size, 1)))
    if kind == "abstract":
        picture = np.stack([fractal(rng, size, int(rng.integers(2, 9)), 4) for _ in range(3)], -1)
        return np.clip(picture * rng.uniform(0.4, 1.3, 3), 0, 1) ** 2
    if kind == "plain":
        return np.float32(tone) * (0.93 + 0.07 * fractal(rng, size, 2, 3)[..., None])
    raise ValueError(kind)


# CC0 or public domain, within scikit-image; see README.md
PHOTOGRAPHS = ("brick", "grass", "gravel", "coffee", "rocket")


def _photograph(rng: np.random.Generator) -> np.ndarray:
    """A cut-out of a photograph, in other colours now and then."""
    from skimage import data

    picture = Image.fromarray(getattr(data, pick(rng, PHOTOGRAPHS))()).convert("RGB")
    side = int(min(picture.size) * rng.uniform(0.4, 1.0))
    x, y = (int(rng.integers(0, edge - side + 1)) for edge in picture.size)
    pixels = np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR, (x, y, x + side, y + side))) / 255.0
    if rng.random() < 0.5:
        pixels = pixels[..., rng.permutation(3)] * rng.uniform(0.7, 1.0, 3)
    return np.float32(pixels) ** 2.2


def cork_texture(rng: np.random.Generator) -> np.ndarray:
    tone = hsv(rng, (0.065, 0.1), (0.3, 0.6), (0.6, 0.88))
    spots = fractal(rng, 96, 10, 3)
    dark = np.clip((spots - rng.uniform(0.5, 0.66)) * 6, 0, 1)
    return _mix(tone, _near(rng, (0.25, 0.13, 0.06), 0.3), dark) * (0.85 + 0.2 * rng.random((96, 96, 1)))


def label(rng: np.random.Generator, width: int = 320, height: int = 200) -> np.ndarray:
    """A made-up label: fields, lines of nonsense and a mark. 8 bits, gamma encoded."""

    def colour():
        return tuple(int(255 * c ** (1 / 2.2)) for c in bright(rng))

    picture = Image.new("RGB", (width, height), colour() if rng.random() < 0.6 else (240, 236, 224))
    draw = ImageDraw.Draw(picture)
    ink = colour()
    for _ in range(int(rng.integers(0, 4))):
        top = int(rng.integers(height))
        draw.rectangle((0, top, width, top + int(rng.integers(3, height // 3))), fill=colour())
    for _ in range(int(rng.integers(0, 3))):
        x, y, r = (int(v) for v in rng.integers((0, 0, 10), (width, height, height // 2 + 11)))
        shape = pick(rng, (draw.ellipse, draw.rectangle))
        shape((x - r, y - r, x + r, y + r), fill=colour() if rng.random() < 0.6 else None, outline=ink, width=3)
    for _ in range(int(rng.integers(1, 5))):
        size = int(rng.integers(10, max(12, height // 3)))
        word = "".join(pick(rng, string.ascii_letters + "  &") for _ in range(int(rng.integers(3, 14))))
        at = (int(rng.integers(-20, width // 2)), int(rng.integers(0, height)))
        draw.text(at, word, fill=ink if rng.random() < 0.7 else colour(), font=ImageFont.load_default(size))
    for _ in range(int(rng.integers(0, 3))):
        x, y, w = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(30, width // 2))
        for line in range(int(rng.integers(3, 9))):
            draw.line((x, y + 5 * line, x + w * rng.uniform(0.6, 1), y + 5 * line), fill=ink, width=2)
    if rng.random() < 0.3:
        draw.rectangle((4, 4, width - 5, height - 5), outline=colour(), width=int(rng.integers(2, 7)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)))
