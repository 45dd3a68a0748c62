"""What is in a picture: every random choice, sampled without knowing the class.

A `Scene` says which bottle stands where, in which light, and which closure fits
it. Whether that closure is on the bottle is not part of the scene: `drawing.draw`
takes it as a separate argument, so open and closed pictures cannot differ in
anything else.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# radii and heights are fractions of the bottle's height, measured from the mouth:
# mouth radius, neck radius, neck end, body radius, shoulder end, finishes it may have
SHAPES: dict[str, tuple[float, float, float, float, float, tuple[str, ...]]] = {
    "longneck": (0.052, 0.072, 0.28, 0.125, 0.45, ("crown", "crown", "thread")),
    "stubby": (0.062, 0.085, 0.18, 0.165, 0.35, ("crown", "plain")),
    "bordeaux": (0.046, 0.050, 0.28, 0.125, 0.40, ("wine",)),
    "burgundy": (0.047, 0.055, 0.20, 0.140, 0.52, ("wine", "crown")),
    "sparkling": (0.050, 0.062, 0.22, 0.150, 0.55, ("wine",)),
    "pet": (0.058, 0.062, 0.07, 0.150, 0.30, ("thread",)),
    "square": (0.060, 0.063, 0.11, 0.165, 0.20, ("thread", "plain")),
    "sauce": (0.070, 0.078, 0.14, 0.150, 0.36, ("thread", "crown")),
    "jug": (0.090, 0.095, 0.10, 0.190, 0.40, ("thread", "plain")),
    "spirits": (0.058, 0.060, 0.24, 0.170, 0.32, ("plain", "wine", "thread")),
    "medicine": (0.110, 0.115, 0.13, 0.220, 0.27, ("thread",)),
}
SQUARE_SHAPES = {"square", "spirits"}

CLOSURES: dict[str, tuple[str, ...]] = {
    "crown": ("crown_cap", "crown_cap", "crown_cap", "flip_top"),
    "thread": ("screw_cap", "screw_cap", "screw_cap", "sport_cap"),
    "wine": ("cork", "foil", "foil", "stopper", "screw_cap"),
    "plain": ("cork", "stopper", "flip_top"),
}
ALL_CLOSURES = ("crown_cap", "screw_cap", "sport_cap", "cork", "stopper")

BACKGROUNDS = ("gradient", "texture", "shelf", "clutter", "table", "tiles")


@dataclass(frozen=True)
class Closure:
    """A cap, cork or foil; lengths are in mouth radii."""

    style: str
    colour: Colour
    second: Colour
    height: float
    skirt: float
    ridges: int
    flare: float
    gloss: float


@dataclass(frozen=True)
class LooseCap:
    """A closure that lies about and belongs to no class."""

    closure: Closure
    distance: float
    angle: float
    tilt: float
    scale: float
    flatness: float


@dataclass(frozen=True)
class Scene:
    """Everything about a picture except whether the bottle is closed."""

    width: int
    height: int
    shape: str
    finish: str
    radii: tuple[float, float, float, float, float]
    ribs: float
    glass: Colour
    opacity: float
    liquid: Colour
    fill: float
    label: tuple[float, float] | None
    label_colours: tuple[Colour, Colour, Colour]
    neck_label: bool
    closure: Closure
    remnant: bool
    threads: int
    hollow: float
    loose: LooseCap | None
    length: float
    mouth: tuple[float, float]
    tilt: float
    flatness: float
    light: tuple[float, float]
    ambient: float
    shadow: tuple[float, float, float]
    background: str
    palette: tuple[Colour, ...]
    background_blur: float
    gain: tuple[float, float, float]
    gradient: tuple[float, float]
    blur: float
    noise: float
    first_quality: int
    quality: int
    texture_seed: int

    @staticmethod
    def sample(rng: np.random.Generator, size: tuple[int, int] | None = None) -> "Scene":
        """Draws a scene; `size` fixes the picture's width and height."""
        width, height = size or _choice(rng, ((288, 288), (320, 256), (256, 320), (340, 256)))
        shape = _choice(rng, tuple(SHAPES))
        *radii, finishes = SHAPES[shape]
        finish = _choice(rng, finishes)
        radii = [value * rng.uniform(0.9, 1.1) for value in radii]
        radii[1] = max(radii[1], radii[0])
        radii[3] = max(radii[3], radii[1] * 1.15)
        radii[4] = max(radii[4], radii[2] + 0.07)
        glass, opacity = _glass(rng)
        label = None
        if rng.random() < 0.7:
            top = min(radii[4] + rng.uniform(0.0, 0.12), 0.75)
            label = (top, min(top + rng.uniform(0.12, 0.4), 0.94))
        tilt, length, mouth = _framing(rng, width, height, radii[0])
        return Scene(
            width=width,
            height=height,
            shape=shape,
            finish=finish,
            radii=tuple(radii),
            ribs=rng.uniform(0.01, 0.04) if shape == "pet" and rng.random() < 0.7 else 0.0,
            glass=glass,
            opacity=opacity,
            liquid=_colour(rng, (0.0, 1.0), (0.1, 0.9), (0.15, 0.9)),
            fill=rng.uniform(0.1, 1.0),
            label=label,
            label_colours=tuple(_colour(rng, (0, 1), (0, 0.9), (0.1, 1.0)) for _ in range(3)),
            neck_label=bool(rng.random() < 0.25),
            closure=_closure(rng, _choice(rng, CLOSURES[finish])),
            remnant=bool(rng.random() < 0.5),
            threads=int(rng.integers(2, 5)),
            hollow=rng.uniform(0.70, 0.86),
            loose=_loose_cap(rng) if rng.random() < 0.25 else None,
            length=length,
            mouth=mouth,
            tilt=tilt,
            flatness=rng.uniform(0.10, 0.55),
            light=(rng.uniform(-0.85, 0.85), rng.uniform(0.4, 1.0)),
            ambient=rng.uniform(0.35, 0.65),
            shadow=(rng.uniform(-0.08, 0.08), rng.uniform(0.0, 0.06), rng.uniform(0.0, 0.5)),
            background=_choice(rng, BACKGROUNDS),
            palette=tuple(_colour(rng, (0, 1), (0, 0.7), (0.1, 1.0)) for _ in range(8)),
            background_blur=rng.uniform(0.0, 0.025),
            gain=_gain(rng),
            gradient=(rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.35)),
            blur=max(0.0, rng.uniform(-0.8, 1.2)),
            noise=max(0.0, rng.uniform(-0.01, 0.045)),
            first_quality=int(rng.integers(35, 96)),
            quality=int(rng.integers(80, 94)),
            texture_seed=int(rng.integers(2**31)),
        )


def _choice(rng: np.random.Generator, options: tuple):
    return options[int(rng.integers(len(options)))]


def _colour(rng: np.random.Generator, hue, saturation, value) -> Colour:
    return colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )


def _glass(rng: np.random.Generator) -> tuple[Colour, float]:
    """Colour and opacity of the bottle's wall."""
    kind = _choice(rng, ("clear", "clear", "green", "brown", "tinted", "opaque"))
    if kind == "clear":
        return _colour(rng, (0.4, 0.6), (0.0, 0.1), (0.8, 1.0)), rng.uniform(0.12, 0.3)
    if kind == "green":
        return _colour(rng, (0.2, 0.42), (0.5, 0.9), (0.15, 0.6)), rng.uniform(0.45, 0.85)
    if kind == "brown":
        return _colour(rng, (0.03, 0.1), (0.6, 0.95), (0.15, 0.55)), rng.uniform(0.5, 0.85)
    if kind == "tinted":
        return _colour(rng, (0, 1), (0.2, 0.8), (0.4, 0.95)), rng.uniform(0.3, 0.6)
    return _colour(rng, (0, 1), (0.0, 0.9), (0.2, 1.0)), 1.0


def _closure(rng: np.random.Generator, style: str) -> Closure:
    colour = _colour(rng, (0, 1), (0.0, 0.95), (0.15, 1.0))
    if style == "cork":
        colour = _colour(rng, (0.06, 0.11), (0.3, 0.6), (0.55, 0.9))
    heights = {
        "crown_cap": (0.25, 0.40),
        "screw_cap": (0.15, 0.50),
        "sport_cap": (0.20, 0.40),
        "cork": (0.30, 1.00),
        "stopper": (0.60, 1.20),
        "foil": (0.08, 0.20),
        "flip_top": (0.50, 0.80),
    }
    skirts = {
        "crown_cap": (0.45, 0.65),
        "screw_cap": (1.00, 2.00),
        "sport_cap": (0.90, 1.50),
        "cork": (0.10, 0.10),
        "stopper": (0.05, 0.20),
        "foil": (2.00, 5.00),
        "flip_top": (0.10, 0.25),
    }
    return Closure(
        style=style,
        colour=colour,
        second=_colour(rng, (0, 1), (0.0, 0.9), (0.1, 1.0)),
        height=rng.uniform(*heights[style]),
        skirt=rng.uniform(*skirts[style]),
        ridges=int(_choice(rng, (0, 24, 36, 48))),
        flare=rng.uniform(1.08, 1.25),
        gloss=rng.uniform(0.1, 0.7),
    )


def _loose_cap(rng: np.random.Generator) -> LooseCap:
    return LooseCap(
        closure=_closure(rng, _choice(rng, ALL_CLOSURES)),
        distance=rng.uniform(3.5, 9.0),
        angle=rng.uniform(0, 2 * math.pi),
        tilt=rng.uniform(0, 2 * math.pi),
        scale=rng.uniform(0.8, 1.2),
        flatness=rng.uniform(0.2, 0.8),
    )


def _gain(rng: np.random.Generator) -> tuple[float, float, float]:
    """Exposure and white balance, as one factor per channel."""
    exposure, warmth = rng.uniform(0.6, 1.25), rng.uniform(-0.12, 0.12)
    return exposure * (1 + warmth), exposure, exposure * (1 - warmth)


def _framing(
    rng: np.random.Generator, width: int, height: int, mouth_radius: float
) -> tuple[float, float, tuple[float, float]]:
    """Tilt, bottle length in pixels and the mouth's position.

    The mouth always lies inside the centre square, for that is all a classifier
    that crops the centre gets to see.
    """
    side = min(width, height)
    pose = rng.random()
    if pose < 0.7:
        tilt = rng.normal(0.0, 0.18)
    elif pose < 0.9:
        tilt = _choice(rng, (-1, 1)) * rng.normal(math.pi / 2, 0.2)
    else:
        tilt = rng.uniform(-math.pi, math.pi)
    length = side * math.exp(rng.uniform(math.log(0.8), math.log(3.2)))
    # a wide mouth needs no close-up to be seen, and must still fit the picture
    length = min(length, 0.22 * side / mouth_radius)
    back = min(length / 2, side * rng.uniform(0.15, 0.4))
    margin = min(0.08 * side + 1.2 * mouth_radius * length, 0.42 * side)
    position = []
    for centre, direction in ((width / 2, math.sin(tilt)), (height / 2, math.cos(tilt))):
        at = centre - direction * back + rng.normal(0, 0.07) * side
        half = side / 2 - margin
        position.append(float(np.clip(at, centre - half, centre + half)))
    return tilt, length, (position[0], position[1])
