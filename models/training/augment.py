"""Random views of pictures, drawn per picture and applied to a batch at once.

A picture's view depends only on the numbers of its own generator, so that a run can
stop and go on, and so that both pictures of a scene can be given the same view.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from data import middles, to_pixels

# from a neck to a homography from the view to the square
Framing = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# How often each change is made.
PERSPECTIVE, MIRROR, UPSIDE_DOWN = 0.4, 0.5, 0.05
GREY, SWAP, HUE, GAMMA, SHADE = 0.08, 0.1, 0.4, 0.2, 0.2
COARSE, KERNEL, NOISE, JPEG, ERASE = 0.1, 0.3, 0.25, 0.25, 0.25

KERNEL_SIDE = 7
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
CORNERS = np.array([[0, 1], [0, 3], [2, 1], [2, 3]])
ANGLES = np.arange(32) * np.pi / 16
OVAL = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
# the neck may come this close to the edge
MARGIN = 0.97


def views(
    squares: np.ndarray,
    necks: np.ndarray,
    size: int,
    rngs: list[np.random.Generator],
    framing: Framing,
) -> tuple[Tensor, np.ndarray]:
    """Random views of uint8 squares, [batch, 3, size, size], 0 to 1, and the boxes of their necks."""
    warps = np.stack([framing(neck, rng) for neck, rng in zip(necks, rngs)])
    pixels = warp(torch.from_numpy(squares), torch.from_numpy(warps), size)
    pixels = recolour(pixels, rngs)
    seen = np.stack([moved_box(neck, matrix) for neck, matrix in zip(necks, warps)])
    for index, rng in enumerate(rngs):
        pixels[index] = degrade(pixels[index], rng)
        erase(pixels[index], seen[index], rng)
    outlines = np.stack([moved_oval(neck, matrix) for neck, matrix in zip(necks, warps)])
    return pixels, outlines.astype(np.float32)


def random_warp(neck: np.ndarray, rng: np.random.Generator, close: float = 0.4) -> np.ndarray:
    """A homography from the view to the square that keeps the neck in view.

    A share `close` of the necks that are known is seen from close by. Where the neck is unknown
    the crop is mild, for one that loses it loses the answer.
    """
    known = bool(np.isfinite(neck).all()) and bool((np.abs(neck) < 1).all())
    for attempt in range(12):
        ease = 1 - attempt / 12
        centre = (neck[:2] + neck[2:]) / 2 if known and rng.random() < close else None
        near, far = (0.75, 1.15) if centre is None else (0.35, 0.75)
        matrix = focused_warp(centre, (near, far), rng, ease)
        if not known or (np.abs(moved_box(neck, matrix)) < MARGIN).all():
            return matrix
    return np.eye(3, dtype=np.float32)


def focused_warp(
    focus: np.ndarray | None,
    scales: tuple[float, float],
    rng: np.random.Generator,
    ease: float = 1.0,
    drift: float | None = None,
) -> np.ndarray:
    """A homography to a part of so many times the square's side, with a focus no farther than `drift` from there.

    Without a `drift` the focus may be anywhere in the view.
    """
    scale = np.exp(rng.uniform(*np.log(scales)))
    angle = np.radians(rng.normal(0, 12)) * ease
    aspect = np.exp(rng.uniform(-0.2, 0.2) * ease)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = scale * np.diag([aspect, 1 / aspect])
    if rng.random() < MIRROR:
        stretch[:, 0] *= -1
    if rng.random() < UPSIDE_DOWN:
        stretch[:, 1] *= -1
    centre = rng.uniform(-1, 1, 2) * max(1 - scale, 0.12)
    if focus is not None:
        centre = focus + rng.uniform(-1, 1, 2) * (scale if drift is None else drift)
        centre = np.clip(centre, scale - 1, 1 - scale)
    matrix = np.eye(3)
    matrix[:2, :2] = turn @ stretch
    matrix[:2, 2] = centre
    if rng.random() < PERSPECTIVE:
        tilt = np.eye(3)
        tilt[2, :2] = rng.uniform(-0.18, 0.18, 2) * ease
        matrix = matrix @ tilt
    return matrix.astype(np.float32)


def moved_box(box: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The box around a box of the square as it appears in the view; NaN stays NaN."""
    return _box_around(box[CORNERS], matrix)


def moved_oval(box: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The same around the oval in the box, which a turn does not make larger as it does a box around its corners."""
    return _box_around((box[:2] + box[2:]) / 2 + (box[2:] - box[:2]) / 2 * OVAL, matrix)


def _box_around(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    seen = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.linalg.inv(matrix).T
    if not (seen[:, 2] > 1e-6).all():
        return np.full(4, np.nan)
    seen = seen[:, :2] / seen[:, 2:]
    return np.concatenate([seen.min(0), seen.max(0)])


def warp(squares: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Samples every square through its homography, mirrored beyond the edges."""
    line = middles(size)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3)
    there = points @ matrices.transpose(1, 2)
    there = (there[..., :2] / there[..., 2:]).view(-1, size, size, 2)
    return functional.grid_sample(to_pixels(squares), there, "bilinear", "reflection", align_corners=False)


def recolour(pixels: Tensor, rngs: list[np.random.Generator]) -> Tensor:
    """Brightness, contrast, saturation, hue, channel order, grey; then gamma and shade."""
    batch, _, size, _ = pixels.shape
    mixes, offsets = zip(*(random_colours(rng) for rng in rngs))
    mixes, offsets = (torch.from_numpy(np.stack(each)) for each in (mixes, offsets))
    flat = torch.baddbmm(offsets[:, :, None], mixes, pixels.view(batch, 3, -1))
    pixels = flat.view(batch, 3, size, size).clamp_(0, 1)
    for index, rng in enumerate(rngs):
        if rng.random() < GAMMA:
            pixels[index].clamp_(1e-4).pow_(float(np.exp(rng.uniform(-0.5, 0.4))))
        if rng.random() < SHADE:
            knots = torch.from_numpy(np.exp(rng.normal(0, 0.25, (1, 1, 4, 4))).astype(np.float32))
            shade = functional.interpolate(knots, (size, size), mode="bicubic", align_corners=True)
            pixels[index].mul_(shade[0]).clamp_(0, 1)
    return pixels


def random_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A 3x3 mix of the channels and an offset."""
    grey = np.tile(GREY_WEIGHTS, (3, 1))
    saturation = 0.0 if rng.random() < GREY else rng.uniform(0.4, 1.6)
    mix = saturation * np.eye(3) + (1 - saturation) * grey
    if rng.random() < HUE:
        mix = mix @ _hue(rng.uniform(-np.pi, np.pi))
    if rng.random() < SWAP:
        mix = mix[rng.permutation(3)]
    mix = np.diag(np.exp(rng.normal(0, 0.08, 3))) @ mix
    contrast, brightness = rng.uniform(0.65, 1.2), np.exp(rng.uniform(-0.4, 0.35))
    mix, offset = mix * contrast * brightness, np.full(3, 0.5 * (1 - contrast))
    return mix.astype(np.float32), offset.astype(np.float32)


def _hue(angle: float) -> np.ndarray:
    """A rotation of the colours around grey."""
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * axis + np.sin(angle) * cross


def degrade(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """What cameras and files do: few pixels, blur, sharpening, noise, JPEG."""
    if rng.random() < COARSE:
        pixels = coarsen(pixels, rng.uniform(0.5, 0.9))
    if rng.random() < KERNEL:
        kernel = torch.from_numpy(random_kernel(rng)).expand(3, 1, KERNEL_SIDE, KERNEL_SIDE)
        edge = KERNEL_SIDE // 2
        padded = functional.pad(pixels[None], (edge,) * 4, mode="reflect")
        pixels = functional.conv2d(padded, kernel, groups=3)[0].clamp_(0, 1)
    if rng.random() < NOISE:
        strength = np.float32(rng.uniform(0.005, 0.04))
        coarse = rng.random() < 0.3
        side = pixels.shape[1] // 2 if coarse else pixels.shape[1]
        noise = torch.from_numpy(rng.standard_normal((1, 3, side, side), np.float32) * strength)
        if coarse:
            noise = functional.interpolate(noise, pixels.shape[1:], mode="bilinear")
        pixels = (pixels + noise[0]).clamp_(0, 1)
    if rng.random() < JPEG:
        pixels = through_jpeg(pixels, int(rng.integers(30, 95)))
    return pixels


def coarsen(pixels: Tensor, share: float) -> Tensor:
    """Makes a picture smaller and large again."""
    size = pixels.shape[1]
    small = max(8, round(size * share))
    few = functional.interpolate(pixels[None], (small, small), mode="bilinear", antialias=True)
    return functional.interpolate(few, (size, size), mode="bilinear")[0]


def random_kernel(rng: np.random.Generator) -> np.ndarray:
    """A blur out of focus, a blur by motion, or a sharpening; sums to 1."""
    line = np.arange(KERNEL_SIDE) - KERNEL_SIDE // 2
    y, x = np.meshgrid(line, line, indexing="ij")
    kind = rng.integers(3)
    sigma = rng.uniform(0.4, 1.1)
    if kind == 1:
        angle = rng.uniform(0, np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        kernel = np.exp(-((along / (1.6 * sigma)) ** 2 + (across / 0.5) ** 2) / 2)
    else:
        kernel = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    if kind == 2:
        amount = rng.uniform(0.3, 1.2)
        kernel = (1 + amount) * ((x == 0) & (y == 0)) - amount * kernel
    return kernel.astype(np.float32)


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """A picture as JPEG brings it back."""
    array = pixels.mul(255).round_().byte().permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    with Image.open(file) as back:
        array = np.array(back)
    return torch.from_numpy(array).permute(2, 0, 1).float().div_(255)


def erase(pixels: Tensor, neck: np.ndarray, rng: np.random.Generator) -> None:
    """Covers up to three rectangles, not on the neck; small ones where it is unknown."""
    if rng.random() >= ERASE:
        return
    size = pixels.shape[1]
    known = np.isfinite(neck).all()
    box = (neck + 1) / 2 * size if known else None
    for _ in range(rng.integers(1, 4)):
        tall, wide = (size * rng.uniform(0.05, 0.35 if known else 0.15, 2)).astype(int)
        y, x = rng.integers(size - tall), rng.integers(size - wide)
        if known and x < box[2] and x + wide > box[0] and y < box[3] and y + tall > box[1]:
            continue
        area = pixels[:, y : y + tall, x : x + wide]
        if rng.random() < 0.5:
            area.copy_(torch.from_numpy(rng.random((3, 1, 1), np.float32)))
        else:
            area.copy_(torch.from_numpy(rng.random((3, tall, wide), np.float32)))


def mix(
    pixels: Tensor, targets: Tensor, mixup: float, cutmix: float, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Blends each picture of a batch with another (mixup), or pastes a part of it (cutmix)."""
    rng = np.random.default_rng(seed)
    draw = rng.random()
    if draw >= mixup + cutmix:
        return pixels, targets
    other = torch.from_numpy(rng.permutation(len(pixels)))
    if draw < mixup:
        share = float(rng.beta(0.3, 0.3))
        pixels = share * pixels + (1 - share) * pixels[other]
    else:
        size = pixels.shape[2]
        tall, wide = (size * rng.uniform(0.1, 0.5, 2)).astype(int)
        y, x = rng.integers(size - tall), rng.integers(size - wide)
        pixels = pixels.clone()
        area = (..., slice(y, y + tall), slice(x, x + wide))
        pixels[area] = pixels[other][area]
        share = 1 - tall * wide / size**2
    return pixels, share * targets + (1 - share) * targets[other]
