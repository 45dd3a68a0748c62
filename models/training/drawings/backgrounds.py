"""Backgrounds: gradients, textures, shelves, clutter, tables and tiles."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scene import Colour, Scene


def rgb(colour: Colour) -> tuple[int, int, int]:
    """A colour in Pillow's notation."""
    return tuple(int(round(255 * channel)) for channel in colour)


def noise(rng: np.random.Generator, width: int, height: int, cells: float) -> np.ndarray:
    """Smooth noise between 0 and 1 in several octaves, coarsest first."""
    total = np.zeros((height, width), np.float32)
    weight = 0.0
    for octave in range(4):
        across = max(2, int(cells * 2**octave))
        down = max(2, int(across * height / width))
        grid = Image.fromarray(rng.random((down, across), dtype=np.float32))
        share = 0.55**octave
        total += share * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        weight += share
    return np.clip(total / weight, 0, 1)


def _mix(first: Colour, second: Colour, share: np.ndarray) -> np.ndarray:
    share = share[..., None].astype(np.float32)
    return np.float32(first) * (1 - share) + np.float32(second) * share


def _gradient(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    ys, xs = np.mgrid[0 : scene.height, 0 : scene.width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = xs / scene.width * np.cos(angle) + ys / scene.height * np.sin(angle)
    along = (along - along.min()) / (np.ptp(along) + 1e-6)
    return _mix(scene.palette[0], scene.palette[1], along)


def _texture(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    share = noise(rng, scene.width, scene.height, rng.uniform(2, 24))
    return _mix(scene.palette[0], scene.palette[1], np.clip(share * 2 - 0.5, 0, 1))


def _shelf(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("RGB", (scene.width, scene.height), rgb(scene.palette[0]))
    pen = ImageDraw.Draw(picture)
    step = scene.height / rng.uniform(1.2, 3.5)
    board = max(2, int(step * rng.uniform(0.04, 0.12)))
    bottom = step * rng.uniform(0.3, 1.0)
    while bottom < scene.height + step:
        left = -rng.uniform(0, 20)
        while left < scene.width:
            wide = step * rng.uniform(0.12, 0.4)
            tall = step * rng.uniform(0.3, 0.85)
            if rng.random() < 0.85:
                colour = rgb(scene.palette[int(rng.integers(2, 8))])
                box = (left, bottom - tall, left + wide, bottom)
                pen.rounded_rectangle(box, radius=wide * 0.2, fill=colour)
            left += wide * rng.uniform(1.0, 1.3)
        pen.rectangle((0, bottom, scene.width, bottom + board), fill=rgb(scene.palette[1]))
        bottom += step
    return _floats(picture)


def _clutter(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("RGB", (scene.width, scene.height), rgb(scene.palette[0]))
    pen = ImageDraw.Draw(picture)
    side = min(scene.width, scene.height)
    for _ in range(int(rng.integers(6, 30))):
        x, y = rng.uniform(-0.1, 1.0) * scene.width, rng.uniform(-0.1, 1.0) * scene.height
        box = (x, y, x + side * rng.uniform(0.04, 0.4), y + side * rng.uniform(0.04, 0.4))
        colour = rgb(scene.palette[int(rng.integers(1, 8))])
        if rng.random() < 0.5:
            pen.ellipse(box, fill=colour)
        else:
            pen.rectangle(box, fill=colour)
    return _floats(picture)


def _table(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    wall = _texture(scene, rng)
    grain = noise(rng, scene.width, scene.height, 2)
    ys = np.arange(scene.height, dtype=np.float32)[:, None]
    stripes = 0.5 + 0.5 * np.sin(ys * rng.uniform(0.1, 0.6) + grain * rng.uniform(4, 25))
    wood = _mix(scene.palette[2], scene.palette[3], stripes * rng.uniform(0.1, 0.5))
    edge = scene.height * rng.uniform(0.2, 0.9)
    return np.where((ys > edge)[..., None], wood, wall)


def _tiles(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    picture = Image.new("RGB", (scene.width, scene.height), rgb(scene.palette[0]))
    pen = ImageDraw.Draw(picture)
    wide = min(scene.width, scene.height) * rng.uniform(0.08, 0.35)
    tall = wide * rng.uniform(0.4, 1.0)
    gap = max(1.0, wide * 0.05)
    for row in range(int(scene.height / tall) + 2):
        shift = wide / 2 if row % 2 and tall < 0.7 * wide else 0.0
        for column in range(-1, int(scene.width / wide) + 2):
            shade = rng.uniform(0.8, 1.0)
            colour = rgb(tuple(shade * channel for channel in scene.palette[1]))
            x, y = column * wide + shift, row * tall
            pen.rectangle((x, y, x + wide - gap, y + tall - gap), fill=colour)
    return _floats(picture)


def _floats(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32) / 255


def background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The scene's background as floats of shape (height, width, 3)."""
    paint = {
        "gradient": _gradient,
        "texture": _texture,
        "shelf": _shelf,
        "clutter": _clutter,
        "table": _table,
        "tiles": _tiles,
    }[scene.background]
    pixels = np.uint8(np.clip(paint(scene, rng), 0, 1) * 255)
    radius = scene.background_blur * min(scene.width, scene.height)
    return _floats(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
