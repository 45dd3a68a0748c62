"""Draws a scene: background, bottle, the mouth or its closure, then the camera."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from backgrounds import background, noise
from closures import draw_closure, draw_mouth
from scene import SQUARE_SHAPES, Scene
from surface import Canvas, Frame, band, cover, shading


@dataclass
class _Bottle:
    """The bottle's outline in its own frame, in bottle heights."""

    frame: Frame
    radius: np.ndarray
    across: np.ndarray
    height: np.ndarray
    mask: np.ndarray


def draw(scene: Scene, closed: bool) -> bytes:
    """The scene as a JPEG, with its closure on the bottle or without it."""
    rng = np.random.default_rng(scene.texture_seed)
    canvas = Canvas(background(scene, rng), scene.light, scene.ambient)
    frame = Frame.place(canvas, scene.mouth, scene.tilt, scene.length)
    bottle = _outline(scene, frame)
    _cast_shadow(scene, canvas, bottle)
    if scene.loose is not None:
        _draw_loose_cap(scene, canvas)
    _draw_body(scene, canvas, bottle)
    _draw_labels(scene, canvas, bottle, rng)
    mouth = Frame.place(canvas, scene.mouth, scene.tilt, scene.length * scene.radii[0])
    draw_mouth(scene, canvas, mouth)
    if closed:
        draw_closure(scene.closure, canvas, mouth, scene.flatness)
    return _photograph(scene, canvas.pixels, rng)


def _profile(scene: Scene, height: np.ndarray) -> np.ndarray:
    """The bottle's radius at each height below the mouth."""
    mouth, neck, neck_end, body, shoulder = scene.radii
    along_neck = np.clip(height / neck_end, 0, 1)
    radius = mouth + (neck - mouth) * along_neck
    rise = np.clip((height - neck_end) / (shoulder - neck_end), 0, 1)
    radius = radius + (body - neck) * rise * rise * (3 - 2 * rise)
    if scene.ribs:
        wave = np.sin(height * 2 * math.pi * 14)
        radius = radius * (1 + scene.ribs * wave * (height > shoulder) * (height < 0.95))
    base = np.clip((height - 0.96) / 0.04, 0, 1)
    return radius * (1 - 0.12 * base * base)


def _outline(scene: Scene, frame: Frame) -> _Bottle:
    radius = _profile(scene, np.clip(frame.y, 0, 1))
    across = np.clip(frame.x / radius, -1, 1)
    front = np.sqrt(1 - across * across)
    height = frame.y - scene.flatness * 0.6 * radius * front
    mask = cover(radius - np.abs(frame.x), frame.pixel)
    mask = mask * cover(frame.y, frame.pixel) * cover(1 - height, frame.pixel)
    return _Bottle(frame, radius, across, height, mask)


def _cast_shadow(scene: Scene, canvas: Canvas, bottle: _Bottle) -> None:
    dx, dy, depth = scene.shadow
    side = min(scene.width, scene.height)
    mask = Image.fromarray(np.uint8(bottle.mask * 255))
    mask = mask.filter(ImageFilter.GaussianBlur(side * 0.03))
    shifted = np.roll(np.asarray(mask, np.float32) / 255, (int(dy * side), int(dx * side)), (0, 1))
    canvas.pixels *= 1 - depth * shifted[..., None]


def _draw_body(scene: Scene, canvas: Canvas, bottle: _Bottle) -> None:
    glass = np.float32(scene.glass)
    light = shading(canvas, bottle.across, flat=scene.shape in SQUARE_SHAPES)
    behind = canvas.pixels * (1 - scene.opacity + scene.opacity * glass)
    wall = glass * light[..., None]
    # glass looks denser where the line of sight runs along the wall
    rim = np.clip(np.abs(bottle.across) - 0.7, 0, 1) / 0.3
    density = np.clip(scene.opacity + 0.45 * rim * rim, 0, 1)[..., None]
    canvas.paint(bottle.mask, behind * (1 - density) + wall * density)

    if scene.opacity < 0.95:
        _, level = bottle.frame.to_picture(0.0, 1.0 - scene.fill * 0.92)
        below = cover(bottle.frame.picture_y - level, 1.0) * cover(bottle.height - 0.01, 0.01)
        inside = below * cover(0.93 - np.abs(bottle.across), 0.03)
        liquid = np.float32(scene.liquid) * (0.5 + 0.5 * glass) * light[..., None]
        strength = 0.8 * (1 - 0.6 * scene.opacity)
        canvas.paint(bottle.mask * inside * strength, liquid)

    spot = -0.6 * math.copysign(1.0, -scene.light[0])
    gloss = np.exp(-(((bottle.across - spot) / 0.09) ** 2))
    gloss = gloss + 0.4 * np.exp(-(((bottle.across + spot * 1.2) / 0.05) ** 2))
    gloss = gloss * cover(bottle.height - 0.03, 0.03) * cover(0.95 - bottle.height, 0.03)
    canvas.paint(bottle.mask * gloss * (0.2 + 0.5 * scene.closure.gloss), np.ones(3, np.float32))


def _draw_labels(
    scene: Scene, canvas: Canvas, bottle: _Bottle, rng: np.random.Generator
) -> None:
    areas = [scene.label] if scene.label else []
    if scene.neck_label:
        neck_end, shoulder = scene.radii[2], scene.radii[4]
        areas.append((neck_end + 0.01, neck_end + 0.5 * (shoulder - neck_end)))
    light = shading(canvas, bottle.across)[..., None]
    angle = np.arcsin(bottle.across)
    paper, ink, accent = (np.float32(colour) for colour in scene.label_colours)
    for top, end in areas:
        area = bottle.mask * band(bottle.height, top, end, bottle.frame.pixel)
        canvas.paint(area, paper * light)
        tall = end - top
        stripe = top + tall * rng.uniform(0.05, 0.9)
        width = tall * rng.uniform(0.03, 0.2)
        mark = band(bottle.height, stripe, stripe + width, bottle.frame.pixel)
        canvas.paint(area * mark, accent * light)
        middle = top + tall * rng.uniform(0.3, 0.6)
        size = tall * rng.uniform(0.08, 0.28)
        reach = bottle.radius * angle
        emblem = cover(size - np.hypot(reach, bottle.height - middle), bottle.frame.pixel)
        canvas.paint(area * emblem, accent * light)
        for _ in range(int(rng.integers(1, 6))):
            line = top + tall * rng.uniform(0.1, 0.9)
            left, right = sorted(rng.uniform(-0.9, 0.9, 2))
            thick = tall * rng.uniform(0.015, 0.06)
            letters = (np.sin(angle * rng.uniform(25, 60)) > -0.4) * (angle > left) * (angle < right)
            text = band(bottle.height, line, line + thick, bottle.frame.pixel)
            canvas.paint(area * text * letters, ink * light)


def _draw_loose_cap(scene: Scene, canvas: Canvas) -> None:
    loose = scene.loose
    size = scene.length * scene.radii[0]
    at = (
        scene.mouth[0] + loose.distance * size * math.cos(loose.angle),
        scene.mouth[1] + loose.distance * size * math.sin(loose.angle),
    )
    frame = Frame.place(canvas, at, loose.tilt, size * loose.scale)
    draw_closure(loose.closure, canvas, frame, loose.flatness)


def _photograph(scene: Scene, pixels: np.ndarray, rng: np.random.Generator) -> bytes:
    """Exposure, uneven light, blur, sensor noise and JPEG compression."""
    height, width = pixels.shape[:2]
    angle, depth = scene.gradient
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = 1 - depth * (0.5 + 0.35 * (xs * math.cos(angle) + ys * math.sin(angle)))
    pixels = pixels * np.float32(scene.gain) * slope[..., None]
    pixels = pixels * (0.94 + 0.12 * noise(rng, width, height, 6))[..., None]
    picture = Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255))
    scale = min(width, height) / 256
    picture = picture.filter(ImageFilter.GaussianBlur(scene.blur * scale))
    grain = rng.normal(0, scene.noise * 255 + 0.5, (height, width, 3))
    picture = Image.fromarray(np.uint8(np.clip(np.asarray(picture) + grain, 0, 255)))
    first = io.BytesIO()
    picture.save(first, "JPEG", quality=scene.first_quality)
    second = io.BytesIO()
    Image.open(first).save(second, "JPEG", quality=scene.quality)
    return second.getvalue()
