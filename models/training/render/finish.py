"""From light to a photograph's pixels: exposure, tone, lens and sensor faults, JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter


def develop(light: np.ndarray, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Linear light to 8 bits of width x height. Every choice comes from `rng`, none from the picture."""
    light = _resize(light, size)
    height, width, _ = light.shape
    key, gain = rng.uniform(0.2, 0.36), np.exp(rng.normal(0, 0.06, 3))
    tone, gamma, contrast = rng.random(), rng.uniform(0.9, 1.12), rng.uniform(-0.15, 0.35)
    level = np.exp(np.mean(np.log(np.clip(light.mean(-1), 1e-3, 20))))
    level = max(level, 0.35 * float(light.mean()))
    picture = light * (key / max(level, 1e-4)) * (gain / gain.mean())
    if rng.random() < 0.5:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        picture *= (1 - rng.uniform(0.05, 0.4) * (x * x + y * y) / 2)[..., None]
    if rng.random() < 0.25:  # veiling glare
        picture = picture + rng.uniform(0.005, 0.05) * picture.mean()
    picture = _blur(picture, rng)
    strength = rng.choice([0.0, 0.0, 0.004, 0.01, 0.02, 0.035]) * rng.uniform(0.5, 1.3)
    noise = rng.standard_normal(picture.shape)
    if rng.random() < 0.6:  # a camera's own smoothing leaves blotches
        noise = _soften(noise, rng.uniform(0.5, 1.2)) * 1.8
    picture = picture + strength * noise * np.sqrt(np.clip(picture, 0, 4) + 0.03)
    picture = np.clip(picture, 0, None)
    if tone < 0.45:
        a, b, c, d, e = 2.51, 0.03, 2.43, 0.59, 0.14
        picture = picture * 0.9
        picture = picture * (a * picture + b) / (picture * (c * picture + d) + e)
    elif tone < 0.75:
        picture = picture * (1 + picture / 9) / (1 + picture) * 1.35
    picture = np.clip(picture, 0, 1) ** (gamma / 2.2)
    picture = picture + contrast * (picture - 0.5) * picture * (1 - picture) * 2
    grey = picture.mean(-1, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.7, 1.3)
    pixels = Image.fromarray((np.clip(picture, 0, 1) * 255 + rng.random(picture.shape)).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.45:
        pixels = pixels.filter(ImageFilter.UnsharpMask(rng.uniform(0.6, 2), int(rng.uniform(30, 160)), 1))
    if rng.random() < 0.3:  # was smaller once
        small = rng.uniform(0.55, 0.9)
        method = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)[int(rng.integers(3))]
        pixels = pixels.resize((round(width * small), round(height * small)), method).resize((width, height), method)
    if rng.random() < 0.5:  # was stored before
        pixels = Image.open(io.BytesIO(encode(pixels, int(rng.integers(30, 92))))).convert("RGB")
    if rng.random() < 0.04:
        pixels = pixels.convert("L").convert("RGB")
    return np.asarray(pixels)


def encode(pixels: Image.Image | np.ndarray, quality: int) -> bytes:
    if not isinstance(pixels, Image.Image):
        pixels = Image.fromarray(pixels)
    out = io.BytesIO()
    pixels.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _resize(light: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic; on the logarithm, lest bright spots ring."""
    planes = [Image.fromarray(np.log(np.clip(light[..., k], 1e-4, 50))).resize(size, Image.Resampling.BICUBIC) for k in range(3)]
    return np.exp(np.stack([np.asarray(p) for p in planes], -1))


def _soften(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A small Gaussian blur along both axes."""
    reach = max(1, int(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(picture, padding, "edge")
        picture = sum(k * np.take(padded, np.arange(i, i + picture.shape[axis]), axis) for i, k in enumerate(kernel))
    return picture


def _blur(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind, amount = rng.random(), rng.random()
    angle = rng.uniform(0, np.pi)
    short = min(picture.shape[:2])
    if kind < 0.35:
        return picture
    if kind < 0.85:
        return _soften(picture, 0.3 + amount**2 * 0.006 * short)
    steps = int(2 + amount * 0.02 * short)  # a shaken camera
    moves = [(round(np.sin(angle) * s), round(np.cos(angle) * s)) for s in np.linspace(-steps / 2, steps / 2, steps + 1)]
    pad = steps + 1
    padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), "edge")
    h, w = picture.shape[:2]
    return sum(padded[pad + y : pad + y + h, pad + x : pad + x + w] for y, x in moves) / len(moves)
