"""The mouth of a bottle and what closes it. Lengths are in mouth radii."""

from __future__ import annotations

import numpy as np

from scene import Closure, Scene
from surface import Canvas, Frame, band, cover, disc, shading, side

WHITE = np.ones(3, np.float32)


def draw_mouth(scene: Scene, canvas: Canvas, frame: Frame) -> None:
    """The finish and the open mouth; a closure is drawn over it."""
    frame = frame.crop(12)
    glass = np.float32(scene.glass)
    neck = scene.radii[1] / scene.radii[0]
    if scene.finish == "crown":
        _ring(canvas, frame, glass, scene, 1.10, 0.0, 0.40)
        _ring(canvas, frame, glass, scene, 1.10 * neck, 0.75, 1.05)
    elif scene.finish == "wine":
        if scene.remnant:
            foil = np.float32(scene.closure.second)
            _ring(canvas, frame, foil, scene, 1.08 * neck, 0.7, 0.7 + scene.closure.skirt)
        _ring(canvas, frame, glass, scene, 1.16, 0.15, 0.65)
    elif scene.finish == "thread":
        _threads(scene, canvas, frame, glass)
    else:
        _ring(canvas, frame, glass, scene, 1.15, 0.0, 0.35)
    if scene.closure.style == "flip_top":
        _wire(scene, canvas, frame)
    _hollow(scene, canvas, frame, glass)


def _ring(
    canvas: Canvas,
    frame: Frame,
    colour: np.ndarray,
    scene: Scene,
    radius: float,
    top: float,
    end: float,
) -> None:
    """A rounded ring around the neck."""
    flatness = scene.flatness
    if top > 0:
        canvas.paint(disc(frame, top, radius, flatness) * cover(frame.y - top, frame.pixel),
                     colour * 0.8, frame.window)
    mask, across, height = side(frame, radius, top, end, flatness)
    middle = (height - top) / max(end - top, 1e-3)
    light = shading(canvas, across) * (1.1 - 0.45 * np.clip(middle, 0, 1))
    spot = np.exp(-(((across - 0.4 * np.sign(canvas.light[0])) / 0.15) ** 2)) * 0.3
    canvas.paint(mask, np.clip(colour * light[..., None] + spot[..., None], 0, 1.2), frame.window)


def _threads(scene: Scene, canvas: Canvas, frame: Frame, glass: np.ndarray) -> None:
    """Slanted ridges, the support ring and perhaps the torn-off tamper band."""
    mask, across, height = side(frame, 1.0, 0.0, 1.6, scene.flatness)
    light = shading(canvas, across)
    canvas.paint(mask * max(0.45, scene.opacity), glass * light[..., None], frame.window)
    pitch = 1.15 / scene.threads
    phase = (height - 0.2 + 0.12 * across) / pitch
    turn = (phase % 1.0) * (phase > 0) * (phase < scene.threads)
    ridge = band(turn, 0.25, 0.75, max(0.12, frame.pixel / pitch))
    wide, _, _ = side(frame, 1.08, 0.0, 1.6, scene.flatness)
    canvas.paint(wide * ridge * 0.75, np.clip(glass * 1.15 + 0.1, 0, 1) * light[..., None], frame.window)
    groove = band(turn, 0.75, 1.0, max(0.1, frame.pixel / pitch))
    canvas.paint(mask * groove * 0.45, glass * 0.35, frame.window)
    if scene.remnant:
        _ring(canvas, frame, np.float32(scene.closure.colour), scene, 1.14, 1.35, 1.62)
    _ring(canvas, frame, glass, scene, 1.25, 1.66, 1.85)


def _wire(scene: Scene, canvas: Canvas, frame: Frame) -> None:
    """The bail of a flip top, on the neck whether the stopper is in or out."""
    metal = np.float32([0.7, 0.7, 0.72])
    _ring(canvas, frame, metal, scene, 1.12, 1.1, 1.25)
    lever = np.abs(np.abs(frame.x) - 1.2 + 0.08 * frame.y)
    mask = cover(0.07 - lever, frame.pixel) * band(frame.y, 0.3, 2.2, frame.pixel)
    canvas.paint(mask, metal * 0.8, frame.window)


def _hollow(scene: Scene, canvas: Canvas, frame: Frame, glass: np.ndarray) -> None:
    """The rim seen from above and the dark inside of the neck."""
    radius = {"crown": 1.10, "plain": 1.15}.get(scene.finish, 1.0)
    rim = disc(frame, 0.0, radius, scene.flatness)
    bright = np.clip(0.25 + 0.75 * glass * (canvas.ambient + 0.45), 0, 1)
    canvas.paint(rim, bright, frame.window)
    inner = radius * scene.hollow
    hole = disc(frame, 0.0, inner, scene.flatness)
    # the far wall catches light, the near side looks down into the neck
    depth = np.clip(0.5 + 0.5 * frame.y / (inner * scene.flatness), 0, 1)[..., None]
    clear = (1 - scene.opacity) * 0.3
    wall = glass * (0.38 + clear) * canvas.ambient * 1.5
    canvas.paint(hole, wall * (1 - depth) + glass * (0.06 + 0.3 * clear) * depth, frame.window)
    arc = rim * (1 - disc(frame, 0.0, radius * 0.94, scene.flatness))
    facing = np.clip(frame.x * canvas.light[0] - frame.y, 0, 1)
    canvas.paint(arc * facing * 0.7, WHITE, frame.window)


def draw_closure(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    """A closure around the frame's origin, which is the centre of the mouth."""
    frame = frame.crop(9)
    paint = {
        "crown_cap": _crown_cap,
        "screw_cap": _screw_cap,
        "sport_cap": _sport_cap,
        "cork": _cork,
        "stopper": _stopper,
        "foil": _foil,
        "flip_top": _flip_top,
    }[closure.style]
    paint(closure, canvas, frame, flatness)


def _cylinder(
    closure: Closure,
    canvas: Canvas,
    frame: Frame,
    flatness: float,
    radius: np.ndarray | float,
    top: float,
    end: np.ndarray | float,
    colour,
    ridges: int = 0,
    top_radius: float | None = None,
) -> None:
    """A shaded solid with its top face."""
    colour = np.float32(colour)
    mask, across, _ = side(frame, radius, top, end, flatness)
    light = shading(canvas, across)
    if ridges:
        light = light * (0.88 + 0.16 * np.cos(np.arcsin(across) * ridges))
    spot = np.exp(-(((across - 0.45 * np.sign(canvas.light[0])) / 0.12) ** 2))
    solid = colour * light[..., None] + 0.5 * closure.gloss * spot[..., None]
    canvas.paint(mask, np.clip(solid, 0, 1.2), frame.window)
    flat = top_radius if top_radius is not None else float(np.max(radius))
    face = disc(frame, top, flat, flatness)
    above = canvas.ambient + 0.5
    canvas.paint(face, np.clip(colour * above + 0.04, 0, 1.2), frame.window)
    edge = face * (1 - disc(frame, top, flat * 0.93, flatness))
    canvas.paint(edge * 0.35 * closure.gloss, WHITE, frame.window)


def _crown_cap(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    top, end = -closure.height, closure.skirt
    share = np.clip((frame.y - top) / (end - top), 0, 1)
    radius = 1.12 + (closure.flare + 0.06 - 1.12) * share
    flutes = np.cos(np.arcsin(np.clip(frame.x / radius, -1, 1)) * 21)
    _cylinder(closure, canvas, frame, flatness, radius, top, end + 0.06 * flutes,
              closure.colour, ridges=21, top_radius=1.12)
    if closure.ridges:
        print_on = disc(frame, top, 0.7, flatness)
        canvas.paint(print_on * 0.9, np.float32(closure.second) * (canvas.ambient + 0.45), frame.window)


def _screw_cap(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    radius = closure.flare + 0.04
    _cylinder(closure, canvas, frame, flatness, radius, -closure.height, closure.skirt,
              closure.colour, ridges=closure.ridges)
    mask, across, height = side(frame, radius, -closure.height, closure.skirt, flatness)
    seam = band(height, closure.skirt - 0.32, closure.skirt - 0.24, frame.pixel)
    canvas.paint(mask * seam * 0.5, np.float32(closure.colour) * 0.3, frame.window)


def _sport_cap(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    _screw_cap(closure, canvas, frame, flatness)
    base = -closure.height
    _cylinder(closure, canvas, frame, flatness, 0.62, base - 0.45, base, closure.colour)
    _cylinder(closure, canvas, frame, flatness, 0.42, base - 1.1, base - 0.45, closure.second)


def _cork(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    grain = 0.86 + 0.14 * np.sin(frame.x * 37 + 9 * np.sin(frame.y * 23)) * np.sin(frame.y * 31)
    solid = np.float32(closure.colour) * grain[..., None].astype(np.float32)
    share = np.clip((frame.y + closure.height) / (closure.height + 0.1), 0, 1)
    radius = 0.92 - 0.1 * share
    mask, across, _ = side(frame, radius, -closure.height, 0.0, flatness)
    canvas.paint(mask, solid * shading(canvas, across)[..., None], frame.window)
    face = disc(frame, -closure.height, 0.92, flatness)
    canvas.paint(face, solid * (canvas.ambient + 0.5), frame.window)


def _stopper(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    _cylinder(closure, canvas, frame, flatness, 0.85, -0.25, 0.0, (0.75, 0.6, 0.42))
    radius = closure.flare + 0.1
    _cylinder(closure, canvas, frame, flatness, radius, -0.2 - closure.height, -closure.skirt,
              closure.colour, ridges=closure.ridges)


def _foil(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    radius = 1.2 - 0.06 * cover(frame.y - 0.8, 0.3)
    top = -closure.height
    _cylinder(closure, canvas, frame, flatness, radius, top, closure.skirt, closure.colour,
              top_radius=1.2)
    mask, across, height = side(frame, radius, top, closure.skirt, flatness)
    crease = np.sin(np.arcsin(across) * 17 + 3 * np.sin(height * 2.3)) * 0.5 + 0.5
    canvas.paint(mask * crease**4 * 0.3 * closure.gloss, WHITE, frame.window)
    line = band(height, 0.78, 0.86, frame.pixel) + band(height, closure.skirt - 0.4,
                                                        closure.skirt - 0.2, frame.pixel)
    canvas.paint(mask * np.clip(line, 0, 1) * 0.7, np.float32(closure.second), frame.window)


def _flip_top(closure: Closure, canvas: Canvas, frame: Frame, flatness: float) -> None:
    rubber = (0.75, 0.2, 0.12) if closure.ridges else (0.85, 0.75, 0.3)
    _cylinder(closure, canvas, frame, flatness, 1.02, -0.18, 0.06, rubber)
    china = np.float32((0.93, 0.92, 0.88))
    top = -0.18 - closure.height
    share = np.clip((frame.y - top) / closure.height, 0, 1)
    radius = 0.25 + 0.75 * np.sqrt(1 - (1 - share) ** 2)
    _cylinder(closure, canvas, frame, flatness, radius, top, -0.18, china, top_radius=0.25)
    metal = np.float32([0.7, 0.7, 0.72])
    bow = np.abs(np.hypot(frame.x / 1.2, (frame.y - 0.3) / (closure.height + 0.35)) - 1.0)
    canvas.paint(cover(0.06 - bow, frame.pixel) * cover(0.3 - frame.y, frame.pixel), metal, frame.window)
