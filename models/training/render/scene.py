"""What is in a picture: every choice, made without knowing the class.

A `Scene` holds the parts of both classes apart: `parts(closed)` is the only place
where the class comes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from render import closures, environments, materials, shapes
from render.camera import Camera
from render.closures import Closure
from render.environments import Environment
from render.materials import Material, pick
from render.mesh import Mesh, Part, lathe, shift, tube, turn
from render.shapes import Bottle, Family

SPLITS = ("train", "val", "test", "evaluation")
# the share of train's scenes with a bottle between two families, and of those with a place between two
CROSSED = 0.6
SIZES = ((256, 256), (256, 256), (320, 256), (256, 320), (342, 256), (256, 342))


@dataclass(frozen=True)
class Scene:
    """A scene ready to render, except for the class."""

    family: str
    environment: str
    closure: str
    size: tuple[int, int]
    camera: Camera
    common: list[Part]
    on: list[Part]
    off: list[Part]
    light: np.ndarray
    flash: float
    neck: list[int]
    bottle: list[int]
    caps: list[list[int]]

    def parts(self, closed: bool) -> list[Part]:
        return self.common + (self.on if closed else self.off)


def generator(seed: int, split: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng((seed, SPLITS.index(split), *numbers))


def sample(seed: int, split: str, unit: int) -> Scene:
    """The scene with this number."""
    rng = generator(seed, split, 0, unit)
    bottle, place = kinds(rng, seed, split, unit)
    while True:
        scene = _try(rng, bottle, place)
        if scene is not None:
            return scene


def kinds(rng: np.random.Generator, seed: int, split: str, unit: int) -> tuple[tuple[str, Family], tuple[str, Environment]]:
    """A scene's family and environment; the families take turns, in an order that changes.

    In train many are between two: bottles that nobody has seen are not all like one of sixteen.
    """
    names, places = shapes.families(split), environments.environments(split)
    order = generator(seed, split, 1, unit // len(names)).permutation(len(names))
    name, place = names[order[unit % len(names)]], pick(rng, places)
    family, environment = shapes.FAMILIES[name], environments.ENVIRONMENTS[place]
    if split == "train":
        mixer = generator(seed, split, 5, unit)
        if mixer.random() < CROSSED:
            name, family = cross(mixer, name, shapes.FAMILIES, names, shapes.TRAITS)
        if mixer.random() < CROSSED:
            place, environment = cross(mixer, place, environments.ENVIRONMENTS, places, environments.TRAITS)
    return (name, family), (place, environment)


def cross(rng: np.random.Generator, name: str, kinds: dict, names: list[str], traits: tuple[tuple[str, ...], ...]):
    """Something between `name` and another of `names`: it has each group of traits of one of the two."""
    other = pick(rng, [n for n in names if n != name])
    taken = [trait for group in traits if rng.random() < 0.5 for trait in group]
    return f"{name} x {other}", replace(kinds[name], **{trait: getattr(kinds[other], trait) for trait in taken})


def _try(rng: np.random.Generator, kind: tuple[str, Family], where: tuple[str, Environment]) -> Scene | None:
    (family, shape), (place, environment) = kind, where
    ground, wall = pick(rng, environment.grounds), pick(rng, environment.walls)
    bottle = Bottle.sample(rng, family, shape)
    pose = pick(rng, ("standing",) * 7 + ("lying", "tilted", "tilted"))
    elevation = _elevation(rng, pose)
    style = pick(rng, closures.STYLES[bottle.finish])
    closure = Closure.sample(rng, style, elevation < 0.4)
    unit = bottle.mouth

    stuff = materials.glass(rng, bottle.stuff)
    own = _bottle(rng, bottle, stuff, pose)
    on, off = closures.on_neck(closure, bottle), closures.off_neck(closure, bottle)
    to_mouth = shift(z=bottle.height) @ np.diag([unit, unit, unit, 1.0])
    always = [Part(p.mesh.moved(to_mouth), p.material) for p in closures.always(closure, bottle)]
    on, off = ([Part(p.mesh.moved(to_mouth), p.material, p.tag) for p in parts] for parts in (on, off))
    own += always
    if pose != "lying" and rng.random() < (0.4 if pose == "tilted" else 0.06):
        own += _hand(rng, bottle)

    matrix = _pose(rng, pose, own)
    own, on, off = (_moved(parts, matrix) for parts in (own, on, off))
    mouth = matrix @ [0, 0, bottle.height, 1]
    axis = matrix[:3, 2]

    glass = own[0].mesh.points
    away = (glass - mouth[:3]) @ axis
    neck_points = np.concatenate([glass[away > -2.3 * unit]] + [p.mesh.points for p in on + off + _moved(always, matrix)])
    neck_points = neck_points[(neck_points - mouth[:3]) @ axis > -6 * unit]

    size = pick(rng, SIZES)
    camera = _camera(rng, size, mouth[:3], axis, unit, elevation, neck_points, ground != "none", pose)
    if camera is None:
        return None
    neck = camera.box(neck_points, 0.1)

    back = max(0.0, glass[:, 1].max()) + 1
    scenery = environments.ground(rng, ground)
    scenery += _moved(environments.wall(rng, wall), shift(y=back))
    if rng.random() < environment.shelf and environment.clutter:
        scenery += _moved(environments.shelf(rng, environment.clutter), shift(y=back))
    room = _Room(camera, neck, mouth[:3], glass)
    clutter: list[Part] = []
    for _ in range(int(rng.integers(0, 7)) if environment.clutter and ground != "none" else 0):
        clutter += room.place(rng, environments.thing(rng, pick(rng, environment.clutter)), (3, 40))
    if pose == "standing" and rng.random() < 0.15:
        for _ in range(int(rng.integers(1, 3))):
            tint = stuff if rng.random() < 0.7 else materials.glass(rng, bottle.stuff)
            sample = _bottle(rng, bottle, tint, pose)
            groups = (sample + always, _moved(on, np.linalg.inv(matrix)), _moved(off, np.linalg.inv(matrix)))
            found = room.spot(rng, np.concatenate([p.mesh.points for g in groups for p in g]), (1, 14))
            if found is not None:
                clutter += _moved(groups[0], found)
                on, off = on + _moved(groups[1], found), off + _moved(groups[2], found)
    caps = _loose(rng, closure, unit, room) if ground != "none" else []
    boxes = [camera.clip(camera.box(np.concatenate([p.mesh.points for p in cap]), 0.05)) for cap in caps]
    boxes = [b for b in boxes if b[2] - b[0] > 3 and b[3] - b[1] > 3]
    return Scene(
        family, place, style, size, camera, own + scenery + clutter + [p for cap in caps for p in cap], on, off,
        environments.light(rng, pick(rng, environment.lights)),
        rng.uniform(0.4, 2.0) if rng.random() < environment.flash else 0.0,
        camera.clip(neck), camera.clip(camera.box(glass)), boxes,
    )


def _moved(parts: list[Part], matrix: np.ndarray) -> list[Part]:
    return [Part(p.mesh.moved(matrix), p.material, p.tag) for p in parts]


def _elevation(rng: np.random.Generator, pose: str) -> float:
    kind = rng.random()
    if kind < 0.4:
        return math.radians(rng.uniform(-4, 18))
    if kind < 0.75:
        return math.radians(rng.uniform(18, 45))
    if kind < 0.92:
        return math.radians(rng.uniform(45, 72))
    return math.radians(rng.uniform(72, 89))


def _bottle(rng: np.random.Generator, bottle: Bottle, stuff: Material, pose: str) -> list[Part]:
    """The bottle standing at the origin, with what is in it and on it."""
    parts = [Part(bottle.glass(), stuff)]
    level = rng.uniform(0.05, 1.0) if pose == "standing" else 1.0
    content = materials.liquid(rng)
    if stuff.kind == "glass" and rng.random() < (0.75 if pose == "standing" else 0.5):
        parts.append(Part(bottle.liquid(level), content))
    if bottle.label:
        wide, middle = pick(rng, (2 * math.pi, rng.uniform(1.2, 3.0))), rng.uniform(0, 2 * math.pi)
        texture = (materials.label(rng, int(60 + 80 * wide), 200) / 255.0) ** 2.2
        paper = Material("solid", (1, 1, 1), rng.uniform(0.25, 0.8), texture=texture)
        parts.append(Part(bottle.wrapper(*bottle.label, (middle - wide / 2, middle + wide / 2)), paper))
    low = 1 - bottle.neck
    high = 1 - 2.6 * bottle.mouth / bottle.height
    if high - low > 0.06 and rng.random() < 0.3:
        a, b = sorted(rng.uniform(low, high, 2))
        texture = (materials.label(rng, 200, 80) / 255.0) ** 2.2
        paper = Material("solid", (1, 1, 1), rng.uniform(0.2, 0.7), texture=texture)
        parts.append(Part(bottle.wrapper(a, max(b, a + 0.04), (0, 2 * math.pi)), paper))
    return parts


def _hand(rng: np.random.Generator, bottle: Bottle) -> list[Part]:
    """Something like fingers around the body, below the neck."""
    tone = materials.hsv(rng, (0.03, 0.08), (0.25, 0.65), (0.3, 0.95))
    skin = Material("solid", tone, 0.5)
    thick = rng.uniform(0.75, 0.95)
    top = bottle.height * (1 - bottle.neck - 0.6 * bottle.shoulder) - 1.0
    start = rng.uniform(0, 2 * math.pi)
    parts = []
    for k in range(4):
        z = top - 1.8 * thick * k - rng.uniform(0, 0.3)
        if z < 1:
            break
        r = float(bottle.radius_at(np.array(z))) + 0.8 * thick
        t = np.linspace(0, rng.uniform(2.2, 3.0), 16)
        around = np.stack([r * np.cos(start + t), r * np.sin(start + t), z + 0 * t], 1)
        parts.append(Part(tube(around, thick, 10), skin))
        parts.append(Part(lathe([(0, thick), (thick * 0.7, thick * 0.7), (thick, 0), (thick * 0.7, -thick * 0.7), (0, -thick)], 12,
                                crease=9).moved(shift(*around[-1])), skin))
    r = bottle.body + 2.2
    c, s = math.cos(start), math.sin(start)
    palm = np.stack([np.linspace(r * c, (r + 2) * c, 12) - np.linspace(0, 25, 12) * s * 0.3,
                     np.linspace(r * s, (r + 2) * s, 12) + np.linspace(0, 25, 12) * c * 0.3,
                     np.linspace(top, top - 25, 12)], 1)
    return parts + [Part(tube(palm, 2.4, 14), skin)]


def _pose(rng: np.random.Generator, pose: str, parts: list[Part]) -> np.ndarray:
    """Where the bottle stands, lies or hangs in the air."""
    spin = turn("z", rng.uniform(0, 2 * math.pi))
    if pose == "standing":
        return spin
    flat = turn("z", pick(rng, (0.5, 1.5)) * math.pi)
    lean = rng.normal(0, 0.02) + math.pi / 2 if pose == "lying" else rng.uniform(0.15, 1.9)
    matrix = spin @ turn("x", lean) @ flat
    low = min(float(p.mesh.moved(matrix).points[:, 2].min()) for p in parts)
    return shift(z=-low + (0 if pose == "lying" else rng.uniform(0.5, 20))) @ matrix


def _camera(rng, size, mouth, axis, unit, elevation, points, ground: bool, pose: str) -> Camera | None:
    """A view in which the neck is inside the middle square and large enough."""
    width, height = size
    short = min(size)
    for attempt in range(30):
        lens = 1 / math.tan(math.radians(rng.uniform(22, 62)) / 2)
        share = math.exp(rng.uniform(math.log(0.1), math.log(0.36)))
        distance = 2.3 * unit * lens * width / 2 / (share * short)
        azimuth = rng.uniform(-1.0, 1.0)
        e = elevation if attempt < 12 else rng.uniform(0.15, 1.2)
        blur = 0.0 if rng.random() < 0.3 else math.exp(rng.uniform(math.log(0.004), math.log(0.1)))
        roll = rng.normal(0, 0.08) if rng.random() < 0.85 else rng.uniform(-0.8, 0.8)
        # more of the body is seen where the neck stands off the middle
        straight = Camera.aimed(mouth, distance, azimuth, e, roll, (0, 0), lens, width, height, blur)
        lean = straight.axes[:, :2].T @ axis
        push = rng.uniform(-0.15, 0.85) * lean + rng.normal(0, 0.15, 2)
        camera = Camera.aimed(mouth, distance, azimuth, e, roll, push, lens, width, height, blur)
        x0, y0, x1, y1 = camera.box(points)
        edge = 0.03 * short
        left, top = (width - short) / 2 + edge, (height - short) / 2 + edge
        inside = x0 > left and y0 > top and x1 < width - left and y1 < height - top
        low = ground and camera.position[2] < 1.0
        if inside and not low and axis @ camera.axes[:, 2] > -0.3:
            return camera
    return None


@dataclass
class _Room:
    """Finds places for things where they neither hide the neck nor cut the bottle."""

    camera: Camera
    neck: list[float]
    mouth: np.ndarray
    bottle: np.ndarray

    def __post_init__(self) -> None:
        low, high = self.bottle.min(0), self.bottle.max(0)
        self.taken = [((low + high)[:2] / 2, (high - low)[:2] / 2)]
        self.depth = float(self.camera.project(self.mouth[None])[0, 2])

    def spot(self, rng: np.random.Generator, points: np.ndarray, reach: tuple[float, float], strict: bool = False):
        """A place at this distance from the bottle's sides, or none."""
        low, high = points.min(0), points.max(0)
        half = (high - low)[:2] / 2
        (centre, extent) = self.taken[0]
        for _ in range(8):
            angle, gap = rng.uniform(0, 2 * math.pi), rng.uniform(*reach)
            way = np.array([math.cos(angle), math.sin(angle)])
            at = centre + way * (np.abs(extent * way).sum() + np.abs(half * way).sum() + gap)
            if any(np.all(np.abs(at - c) < e + half + 0.3) for c, e in self.taken):
                continue
            move = shift(*(at - (low + high)[:2] / 2), 0)
            there = points @ move[:3, :3].T + move[:3, 3]
            if np.linalg.norm(there.mean(0) - self.camera.position) < np.linalg.norm(high - low) + 4:
                continue
            seen = self.camera.project(there)
            if seen[:, 2].min() < 1.5:
                continue
            (x0, y0), (x1, y1) = seen[:, :2].min(0), seen[:, :2].max(0)
            a0, b0, a1, b1 = self.neck
            overlaps = x0 < a1 and x1 > a0 and y0 < b1 and y1 > b0
            if overlaps and (strict or seen[:, 2].min() < self.depth):
                continue
            self.taken.append((at, half))
            return move
        return None

    def place(self, rng: np.random.Generator, parts: list[Part], reach: tuple[float, float], strict: bool = False) -> list[Part]:
        found = self.spot(rng, np.concatenate([p.mesh.points for p in parts]), reach, strict)
        return [] if found is None else _moved(parts, found)


def _loose(rng: np.random.Generator, closure: Closure, unit: float, room: _Room) -> list[list[Part]]:
    """Caps that lie about, as often and as like the bottle's own in both classes."""
    caps = []
    if rng.random() < 0.35:
        for _ in range(1 if rng.random() < 0.8 else 2):
            other = closure
            if closure.style not in closures.LOOSE or rng.random() < 0.4:
                other = Closure.sample(rng, pick(rng, closures.LOOSE))
            way = pick(rng, (0, 0, math.pi, math.pi / 2))
            matrix = turn("z", rng.uniform(0, 6.28)) @ turn("x", way) @ np.diag([unit, unit, unit, 1.0])
            parts = _moved(closures.loose(other), matrix)
            low = min(p.mesh.points[:, 2].min() for p in parts)
            placed = room.place(rng, _moved(parts, shift(z=-low)), (0.5, 9), strict=True)
            if placed:
                caps.append([Part(p.mesh, p.material, "loose") for p in placed])
    return caps
