"""What closes a bottle, and what is left on its neck when it is open.

Everything is built in mouth radii, with the mouth at height 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from render.materials import Material, bright, cork_texture, pick
from render.mesh import Mesh, Part, ball, lathe, shift, tube, turn
from render.shapes import Bottle

STYLES: dict[str, tuple[str, ...]] = {
    "crown": ("crown_cap",),
    "thread": ("screw_cap", "screw_cap", "screw_cap", "tall_cap", "sport_cap"),
    "cork": ("cork", "cork", "capsule", "capsule", "t_stopper", "wax"),
    "plain": ("cork", "t_stopper", "glass_stopper", "ball_stopper", "wax"),
    "swing": ("swing",),
    "dropper": ("dropper",),
}
LOOSE = ("crown_cap", "screw_cap", "screw_cap", "tall_cap", "sport_cap", "cork", "t_stopper")


@dataclass(frozen=True)
class Closure:
    """A closure's measures; nothing here says whether it is on the bottle."""

    style: str
    main: Material
    second: Material
    width: float
    rise: float
    drop: float
    ridges: int
    remnant: bool
    wave: float
    hang: float
    seed: int

    @staticmethod
    def sample(rng: np.random.Generator, style: str, low_view: bool = False) -> "Closure":
        metal = {"crown_cap": 0.6, "screw_cap": 0.3, "capsule": 0.5, "t_stopper": 0.2, "tall_cap": 0.3}
        rough = rng.uniform(0.12, 0.6)
        if rng.random() < metal.get(style, 0.0):
            tint = (0.9, 0.9, 0.92) if rng.random() < 0.5 else bright(rng)
            main = Material("metal", tint, roughness=rng.uniform(0.15, 0.45))
        else:
            main = Material("solid", bright(rng), roughness=rough)
        if style == "cork":
            main = Material("solid", (0.6, 0.4, 0.22), roughness=0.8, texture=cork_texture(rng))
        if style in ("glass_stopper", "ball_stopper") and rng.random() < 0.75:
            main = Material("glass", (0.95, 0.97, 0.96))
        if style == "swing":
            white = rng.uniform(0.65, 0.9)
            main = Material("solid", (white, white * 0.97, white * 0.9) if rng.random() < 0.7 else bright(rng), roughness=0.2)
        if style == "dropper":
            main = Material("solid", tuple(c * rng.uniform(0.05, 0.9) for c in (1, 1, 1)), roughness=0.6)
        rise = {
            "crown_cap": (0.08, 0.14), "screw_cap": (0.12, 0.5), "tall_cap": (0.8, 1.8), "sport_cap": (0.15, 0.4),
            "cork": (0.18, 1.0), "capsule": (0.05, 0.14), "t_stopper": (0.5, 1.2), "wax": (0.1, 0.25),
            "glass_stopper": (0.9, 1.8), "ball_stopper": (0.8, 1.2), "swing": (0.6, 0.9), "dropper": (0.2, 0.6),
        }[style]
        rise = rng.uniform(*rise)
        if style == "cork" and low_view:
            rise = max(rise, 0.35)
        return Closure(
            style=style, main=main, second=Material("solid", bright(rng), roughness=rng.uniform(0.2, 0.6)),
            width=rng.uniform(1.08, 1.28), rise=rise, drop=rng.uniform(2.0, 5.0) if style == "capsule" else rng.uniform(0.8, 2.2),
            ridges=pick(rng, (0, 30, 48, 60, 90)), remnant=bool(rng.random() < 0.5), wave=rng.uniform(0.1, 0.5),
            hang=rng.uniform(1.75, 2.5) * pick(rng, (-1, 1)), seed=int(rng.integers(2**31)),
        )


WIRE = Material("metal", (0.75, 0.75, 0.76), roughness=0.25)
CORK = (0.62, 0.43, 0.25)


def on_neck(closure: Closure, bottle: Bottle) -> list[Part]:
    """The closure in its place."""
    parts = _body(closure, bottle.bore / bottle.mouth)
    style = closure.style
    if style in ("capsule", "wax"):
        parts = [Part(_skin(closure, bottle, 0.0), closure.main)]
    if style == "swing":
        parts = _swing_head(closure)
    if style in ("screw_cap", "tall_cap", "sport_cap"):
        parts += _tamper(closure)
    return _tagged(parts, "closure")


def off_neck(closure: Closure, bottle: Bottle) -> list[Part]:
    """What an open bottle shows of its closure: a hanging stopper, a torn ring, cut foil."""
    parts: list[Part] = []
    if closure.style == "swing":
        pivot = shift(z=-1.0) @ turn("y", closure.hang) @ shift(z=1.0)
        parts = [Part(p.mesh.moved(pivot), p.material) for p in _swing_head(closure)]
    elif closure.remnant and closure.style in ("screw_cap", "tall_cap", "sport_cap"):
        parts = _tamper(closure)
    elif closure.remnant and closure.style == "capsule":
        parts = [Part(_skin(closure, bottle, 0.85), closure.main)]
    return _tagged(parts, "closure")


def always(closure: Closure, bottle: Bottle) -> list[Part]:
    """What is on the neck in both classes."""
    parts: list[Part] = []
    if closure.style == "swing":
        ring = np.linspace(0, 2 * math.pi, 40)
        parts.append(Part(tube(np.stack([1.02 * np.cos(ring), 1.02 * np.sin(ring), 0 * ring - 1.0], 1), 0.06), WIRE))
    if closure.style == "cork" and closure.remnant and bottle.finish == "cork":
        parts.append(Part(_skin(closure, bottle, 0.85), closure.second))
    return _tagged(parts, "scene")


def loose(closure: Closure) -> list[Part]:
    """The closure as it lies about, standing on its rim at height 0."""
    parts = _body(closure, 0.7)
    low = min(p.mesh.points[:, 2].min() for p in parts)
    return [Part(p.mesh.moved(shift(z=-low)), p.material, "loose") for p in parts]


def _tagged(parts: list[Part], tag: str) -> list[Part]:
    return [Part(p.mesh, p.material, tag) for p in parts]


def _shell(width: float, top: float, bottom: float, bevel: float = 0.1) -> list[tuple[float, float]]:
    """A cup turned over: outside up, then the inside down."""
    inner = width - 0.09
    return [(inner, bottom), (width, bottom), (width, top - bevel), (width - 0.3 * bevel, top - 0.3 * bevel),
            (width - bevel, top), (0, top), (0, top - 0.12), (inner, top - 0.14), (inner, bottom)]


def _ridged(count: int, depth: float, low: float, high: float):
    def radius(r, z, theta):
        on = (z > low) & (z < high) & (r > 0.8)
        return r + on * depth * np.clip(1.6 * np.cos(count * theta), -1, 1)

    return radius if count else None


def _body(closure: Closure, bore: float) -> list[Part]:
    style, w, h = closure.style, closure.width, closure.rise
    if style == "crown_cap":
        profile = [(1.2, -0.46), (1.24, -0.46), (1.2, -0.36), (1.13, -0.2), (1.1, -0.02), (1.06, h * 0.6),
                   (0.96, h), (0.0, h + 0.02), (0, h - 0.04), (1.0, h - 0.08), (1.2, -0.46)]
        flute = lambda r, z, t: r * (1 + 0.035 * np.cos(21 * t) * np.clip((-z - 0.05) / 0.35, 0, 1))
        parts = [Part(lathe(profile, 126, flute), closure.main)]
        if closure.ridges > 40:
            spot = lathe([(closure.wave + 0.25, h + 0.025), (0, h + 0.03)], 32)
            parts.append(Part(spot, closure.second))
        return parts
    if style in ("screw_cap", "tall_cap", "sport_cap"):
        bottom = -1.36 if style != "tall_cap" or closure.drop < 1.5 else -1.5
        sides = 4 * closure.ridges if closure.ridges else 56
        mesh = lathe(_shell(w, h, bottom), min(sides, 240), _ridged(closure.ridges, 0.022, bottom + 0.05, h - 0.12))
        parts = [Part(mesh, closure.main)]
        if style == "sport_cap":
            up = 0.3 + closure.wave
            dome = [(w - 0.1, h), (0.7, h + 0.25), (0.55, h + 0.3), (0.5, h + 0.3 + up)]
            parts.append(Part(lathe(dome, 40), closure.main))
            nozzle = [(0.56, h + 0.3 + up * 0.6), (0.56, h + 0.35 + up), (0.48, h + 0.5 + up), (0, h + 0.5 + up)]
            parts.append(Part(lathe(nozzle, 32), closure.second))
        elif style == "tall_cap" and closure.ridges > 40:
            z = h * 0.3
            band = lathe([(w + 0.015, z - 0.1), (w + 0.025, z), (w + 0.015, z + 0.15)], 56)
            parts.append(Part(band, closure.second))
        return parts
    if style == "cork":
        profile = [(0, -1.6), (bore * 0.98, -1.6), (bore * 0.99, -0.1), (bore * (1 + 0.12 * closure.wave), h * 0.5 + 0.02),
                   (bore * (1 + 0.1 * closure.wave), h - 0.06), (bore * 0.95, h), (0, h)]
        return [Part(lathe(profile, 40, arc=(0, 2 * math.pi)), closure.main)]
    if style == "t_stopper":
        head = closure.width * (0.95 if closure.wave < 0.25 else 1.1)
        shank = lathe([(0, -1.4), (bore * 0.96, -1.4), (bore * 0.99, 0.05)], 36)
        top = lathe([(0.4, 0.03), (head - 0.05, 0.03), (head, 0.09), (head, h - 0.1), (head - 0.08, h), (0, h + 0.03)], 72,
                    _ridged(closure.ridges if closure.ridges < 50 else 0, 0.02, 0.1, h - 0.12))
        return [Part(shank, Material("solid", CORK, roughness=0.8)), Part(top, closure.main)]
    if style == "glass_stopper":
        flat = closure.width
        faces = lambda r, z, t: r * (1 - 0.05 * (z > 0.1) * np.abs(np.cos(4 * t)))
        profile = [(0, -1.1), (bore * 0.9, -1.1), (bore * 0.98, 0.0), (bore * 0.7, 0.08), (bore * 0.7, 0.22),
                   (flat * 0.9, 0.22 + h * 0.25), (flat, 0.22 + h * 0.5), (flat * 0.75, 0.2 + h * 0.9), (0, 0.2 + h)]
        return [Part(lathe(profile, 48, faces), closure.main)]
    if style == "ball_stopper":
        r = closure.width * 0.95
        stem = lathe([(0, -1.1), (bore * 0.9, -1.1), (bore * 0.98, 0.0), (bore * 0.6, 0.08), (bore * 0.6, 0.3)], 36)
        return [Part(stem, closure.main), Part(ball(r, h).moved(shift(z=0.16)), closure.main)]
    if style == "dropper":
        collar = lathe(_shell(1.15, 0.1 + h * 0.5, -1.36), 4 * (closure.ridges or 14), _ridged(closure.ridges, 0.025, -1.3, h * 0.4))
        top = 0.1 + h * 0.5
        bulb = [(0.75, top), (0.7, top + 0.2), (0.62, top + 0.4), (0.66, top + 0.9 + h), (0.5, top + 1.3 + h), (0.2, top + 1.45 + h),
                (0, top + 1.48 + h)]
        return [Part(collar, closure.second), Part(lathe(bulb, 36, crease=1.2), closure.main)]
    if style == "swing":
        return _swing_head(closure)
    return [Part(lathe(_shell(w, 0.1, -0.6), 48), closure.main)]


def _tamper(closure: Closure) -> list[Part]:
    r = min(closure.width, 1.2)
    ring = [(r - 0.1, -1.58), (r, -1.58), (r, -1.4), (r - 0.1, -1.4), (r - 0.1, -1.58)]
    return [Part(lathe(ring, 48), closure.main)]


def _skin(closure: Closure, bottle: Bottle, below: float) -> Mesh:
    """Foil or wax over the finish, in mouth radii, from the top or from `below` downwards."""
    wax = closure.style == "wax"
    length = min(closure.drop, 0.8 * bottle.neck * bottle.height / bottle.mouth)
    length = max(length, below + 0.5)
    z = -np.linspace(length, max(below, 0.02), 24)
    r = bottle.radius_at(bottle.height + z * bottle.mouth) / bottle.mouth
    if not wax:  # foil bridges the hollows
        r = np.maximum(r, np.interp(z, [-length, -1.0, -0.7, 0], [0, 1.0, 1.05, 1.02]))
    r = r + (0.08 if wax else 0.03)
    profile = [*zip(r, z)]
    if not below:
        profile += [(r[-1] * 0.97, closure.rise * 0.8), (r[-1] * 0.85, closure.rise), (0, closure.rise)]
    mesh = lathe(profile, 64, crease=0.9 if wax else 0.5)
    if wax:
        theta = np.arctan2(mesh.points[:, 1], mesh.points[:, 0])
        rng = np.random.default_rng(closure.seed)
        drips = sum(rng.uniform(0, 1) / k * np.sin(k * theta + rng.uniform(0, 7)) for k in range(2, 9))
        low = mesh.points[:, 2] < -0.3
        mesh.points[:, 2] += low * closure.wave * 0.5 * drips * np.clip((-mesh.points[:, 2] - 0.3) / length, 0, 1)
    return mesh


def _swing_head(closure: Closure) -> list[Part]:
    h = closure.rise
    rubber = Material("solid", (0.7, 0.12, 0.06) if closure.ridges > 40 else (0.75, 0.6, 0.2), roughness=0.6)
    seal = lathe([(0, -0.12), (0.7, -0.12), (0.98, 0.02), (1.0, 0.14), (0.9, 0.18), (0, 0.18)], 40, crease=1.2)
    head = lathe([(0.4, 0.16), (0.92, 0.16), (0.98, 0.28), (0.85, 0.18 + h * 0.6), (0.45, 0.18 + h * 0.92), (0, 0.18 + h)], 40,
                 crease=1.2)
    s = np.linspace(-1, 1, 31)
    # up from one pivot, over the head, down to the other
    arch = np.stack([0 * s, 1.14 * np.sign(s) * np.abs(s) ** 0.5, -1.0 + (1.1 + 0.75 * h) * (1 - np.abs(s) ** 3)], 1)
    hook = np.stack([0.5 + 0 * s[:12], np.linspace(-1.1, 1.1, 12), -0.9 + 0 * s[:12]], 1)
    return [Part(seal, rubber), Part(head, closure.main), Part(tube(arch, 0.07), WIRE), Part(tube(hook, 0.05), WIRE)]
