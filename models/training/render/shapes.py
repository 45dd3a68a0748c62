"""Bottles: families of shapes, each with wide ranges, built as hollow solids."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from render.mesh import Mesh, lathe

Range = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """Ranges of a kind of bottle. Lengths in cm, `neck` and `shoulder` per height."""

    split: str
    height: Range
    body: Range
    mouth: Range
    neck: Range
    shoulder: Range
    swell: Range = (1.0, 1.3)
    curve: Range = (0.8, 1.3)
    sections: tuple[str, ...] = ("round",)
    finishes: tuple[str, ...] = ("crown",)
    stuffs: tuple[str, ...] = ("glass",)
    waist: Range = (0.0, 0.0)
    taper: Range = (0.0, 0.03)


FAMILIES: dict[str, Family] = {
    "longneck": Family("train", (20, 25), (2.9, 3.3), (1.25, 1.4), (0.26, 0.36), (0.14, 0.22), (1.05, 1.35)),
    "stubby": Family("train", (14, 19), (3.1, 3.8), (1.25, 1.5), (0.10, 0.20), (0.14, 0.24), (1.1, 1.4),
                     finishes=("crown", "crown", "thread")),
    "bordeaux": Family("train", (28, 33), (3.5, 4.1), (1.35, 1.5), (0.24, 0.30), (0.07, 0.12), (1.0, 1.12),
                       (0.9, 1.2), finishes=("cork", "cork", "cork", "thread")),
    "burgundy": Family("train", (28, 32), (3.8, 4.4), (1.35, 1.5), (0.14, 0.22), (0.26, 0.36), (1.0, 1.15),
                       (0.7, 1.0), finishes=("cork",)),
    "spirits": Family("train", (24, 32), (3.4, 4.8), (1.3, 1.7), (0.18, 0.30), (0.06, 0.14), (1.0, 1.15),
                      (0.8, 1.3), ("round", "round", "square"), ("thread", "plain", "cork", "cork")),
    "square": Family("train", (14, 24), (3.0, 4.8), (1.3, 2.0), (0.10, 0.2), (0.08, 0.16), (1.0, 1.1),
                     sections=("square",), finishes=("thread", "plain", "plain"), stuffs=("glass", "glass", "plastic")),
    "water": Family("train", (18, 33), (2.9, 4.5), (1.3, 1.45), (0.07, 0.10), (0.16, 0.28), (1.0, 1.1),
                    (0.7, 1.1), ("round", "round", "square"), ("thread",), ("plastic",), (0.0, 0.08)),
    "soda": Family("train", (20, 34), (3.0, 5.2), (1.3, 1.5), (0.07, 0.12), (0.22, 0.36), (1.0, 1.1),
                   (0.6, 0.9), finishes=("thread",), stuffs=("plastic",), waist=(0.04, 0.14)),
    "sauce": Family("train", (14, 23), (2.4, 3.4), (1.2, 1.7), (0.14, 0.26), (0.12, 0.24), (1.1, 1.5),
                    finishes=("thread", "crown", "crown"), stuffs=("glass", "glass", "plastic")),
    "swing": Family("train", (20, 32), (3.2, 4.4), (1.3, 1.6), (0.16, 0.28), (0.12, 0.26), (1.0, 1.35),
                    sections=("round", "round", "square"), finishes=("swing",)),
    "milk": Family("train", (15, 24), (3.4, 4.6), (1.8, 2.5), (0.12, 0.2), (0.16, 0.28), (1.0, 1.15),
                   sections=("round", "square"), finishes=("thread", "plain", "plain"),
                   stuffs=("glass", "plastic", "hdpe")),
    "flask": Family("train", (15, 22), (3.8, 4.8), (1.2, 1.5), (0.10, 0.18), (0.12, 0.22), (1.0, 1.1),
                    sections=("oval",), finishes=("thread", "plain", "plain"),
                    stuffs=("glass", "glass", "plastic", "metal")),
    "medicine": Family("train", (8, 16), (2.2, 3.4), (1.1, 1.8), (0.13, 0.2), (0.08, 0.16), (1.0, 1.1),
                       finishes=("thread", "dropper"), stuffs=("glass", "glass", "hdpe")),
    "oil": Family("train", (22, 32), (2.6, 3.4), (1.2, 1.5), (0.16, 0.26), (0.06, 0.14), (1.0, 1.15),
                  sections=("square", "round"), finishes=("thread", "cork", "plain", "plain")),
    "juice": Family("train", (15, 26), (3.0, 4.2), (1.6, 2.2), (0.08, 0.14), (0.14, 0.30), (1.0, 1.15),
                    finishes=("thread",), stuffs=("glass", "plastic"), waist=(0.0, 0.1)),
    "crock": Family("train", (16, 28), (3.4, 4.8), (1.3, 1.9), (0.12, 0.22), (0.12, 0.26), (1.0, 1.3),
                    finishes=("plain", "swing"), stuffs=("ceramic",)),
    # only in val
    "contour": Family("val", (18, 26), (2.7, 3.6), (1.25, 1.4), (0.16, 0.24), (0.26, 0.36), (1.0, 1.25),
                      (0.6, 0.85), finishes=("crown", "thread"), stuffs=("glass", "plastic"), waist=(0.12, 0.2)),
    "vinegar": Family("val", (18, 28), (2.6, 3.4), (1.2, 1.5), (0.26, 0.38), (0.04, 0.08), (1.0, 1.05),
                      (1.0, 1.4), ("round", "oval"), ("thread", "cork")),
    "reagent": Family("val", (12, 22), (3.4, 4.6), (1.7, 2.3), (0.12, 0.18), (0.10, 0.18), (1.0, 1.05),
                      (0.5, 0.8), finishes=("thread", "plain"), stuffs=("glass", "plastic")),
    # only in test and evaluation
    "sparkling": Family("test", (28, 33), (4.1, 4.7), (1.4, 1.55), (0.14, 0.2), (0.34, 0.44), (1.05, 1.2),
                        (0.75, 1.0), finishes=("cork", "crown")),
    "belly": Family("test", (17, 23), (3.5, 4.3), (1.3, 1.5), (0.22, 0.3), (0.26, 0.34), (1.0, 1.2),
                    (0.5, 0.7), finishes=("crown", "swing")),
    "decanter": Family("test", (17, 25), (4.0, 5.2), (1.5, 2.0), (0.14, 0.22), (0.03, 0.08), (0.95, 1.05),
                       (0.9, 1.4), ("square", "oval"), ("plain",), ("glass", "glass", "ceramic")),
    "tonic": Family("test", (12, 20), (2.4, 3.2), (1.2, 1.5), (0.2, 0.3), (0.05, 0.12), (1.0, 1.4),
                    (0.5, 0.8), ("round", "oval"), ("thread", "cork", "dropper")),
    "carafe": Family("test", (22, 30), (3.8, 5.0), (1.5, 2.2), (0.2, 0.32), (0.36, 0.5), (0.85, 1.0),
                     (0.6, 0.9), finishes=("thread", "plain", "swing"), stuffs=("glass", "plastic")),
    "sachet": Family("test", (16, 28), (3.0, 4.2), (1.3, 1.7), (0.08, 0.13), (0.05, 0.1), (1.0, 1.1),
                     (0.9, 1.3), ("oval", "square"), ("thread",), ("hdpe", "plastic"), (0.0, 0.1)),
}


def families(split: str) -> list[str]:
    """The families of a split; evaluation shares those of test."""
    return [n for n, f in FAMILIES.items() if f.split == ("test" if split == "evaluation" else split)]


# what a bottle between two families has of one or the other; its size is the first one's
TRAITS = (("mouth",), ("neck",), ("shoulder", "swell", "curve"), ("sections",), ("finishes",), ("stuffs",), ("waist", "taper"))


@dataclass(frozen=True)
class Bottle:
    """One bottle's measures."""

    family: str
    height: float
    body: float
    mouth: float
    bore: float
    neck: float
    shoulder: float
    swell: float
    curve: float
    section: str
    power: float
    aspect: float
    finish: str
    stuff: str
    waist: float
    taper: float
    ribs: float
    rib_count: int
    punt: float
    heel: float
    wall: float
    threads: float
    label: tuple[float, float] | None

    @staticmethod
    def sample(rng: np.random.Generator, name: str, family: Family) -> "Bottle":
        def pick(options):
            return options[int(rng.integers(len(options)))]

        stuff = pick(family.stuffs)
        section = pick(family.sections)
        height, body, mouth = (rng.uniform(*r) for r in (family.height, family.body, family.mouth))
        neck, shoulder = rng.uniform(*family.neck), rng.uniform(*family.shoulder)
        mouth = min(mouth, body * 0.72)
        # room for the finish and a little neck below it
        neck = max(neck, 2.4 * mouth / height)
        top = 1 - neck - shoulder
        low = top * rng.uniform(0.08, 0.4)
        return Bottle(
            family=name, height=height, body=body, mouth=mouth,
            bore=mouth * (rng.uniform(0.6, 0.74) if stuff in ("glass", "ceramic") else rng.uniform(0.74, 0.82)),
            neck=neck, shoulder=shoulder, swell=rng.uniform(*family.swell), curve=rng.uniform(*family.curve),
            section=section,
            power={"round": 2.0, "oval": rng.uniform(2.0, 3.2), "square": rng.uniform(4, 9)}[section],
            aspect=rng.uniform(0.5, 0.72) if section == "oval" else 1.0,
            finish=pick(family.finishes), stuff=stuff, waist=rng.uniform(*family.waist),
            taper=rng.uniform(*family.taper),
            ribs=rng.uniform(0.006, 0.03) if stuff == "plastic" and rng.random() < 0.6 else 0.0,
            rib_count=int(rng.integers(4, 13)), punt=rng.uniform(0.0, 0.5) * body, heel=rng.uniform(0.08, 0.3) * body,
            wall=rng.uniform(0.2, 0.4) if stuff in ("glass", "ceramic") else rng.uniform(0.06, 0.12),
            threads=rng.uniform(1.2, 2.6),
            label=(low, rng.uniform(low + 0.2 * top, top * 0.97)) if rng.random() < 0.7 else None,
        )

    def outside(self) -> np.ndarray:
        """The outer profile from the middle of the base to the rim, in cm."""
        h, rb, rm = self.height, self.body, self.mouth
        z_body, z_neck = h * (1 - self.neck - self.shoulder), h * (1 - self.neck)
        finish = np.array(FINISHES[self.finish]) * rm + (0, h)
        z_finish = finish[0, 1]
        t = np.linspace(0, 1, 5)
        base = [(0, self.punt), (rb * 0.4, self.punt * 0.7), (rb * 0.75, 0.04 * rb)]
        heel = [(rb - self.heel * (1 - math.sin(a)), self.heel * (1 - math.cos(a))) for a in t * math.pi / 2]
        s = np.linspace(0.04, 1, 40)
        r = rb * (1 + self.taper * (s - 1))
        r = r * (1 - self.waist * np.sin(math.pi * np.clip(s * 1.1 - 0.05, 0, 1)) ** 4)
        r = r * (1 - self.ribs * (0.5 - 0.5 * np.cos(2 * math.pi * self.rib_count * s)) * (s < 0.93))
        body = np.stack([r, self.heel + s * (z_body - self.heel)], 1)
        t = np.linspace(0, 1, 22)[1:]
        top = max(min(rm * 0.93 * self.swell, rb * 0.97), rm * 0.8)
        fall = 0.5 + 0.5 * np.cos(math.pi * t**self.curve)
        shoulder = np.stack([top + (rb - top) * fall, z_body + t * (z_neck - z_body)], 1)
        z_neck = min(z_neck, z_finish - 0.2)
        shoulder = shoulder[shoulder[:, 1] < z_finish - 0.1]
        t = np.linspace(0, 1, 10)[1:-1]
        start = shoulder[-1]
        neck = np.stack([start[0] + (finish[0, 0] - start[0]) * (3 * t**2 - 2 * t**3),
                         start[1] + (z_finish - start[1]) * t], 1)
        return np.concatenate([base, heel, body, shoulder, neck, finish])

    def radius_at(self, z: np.ndarray) -> np.ndarray:
        """The outer radius at heights above the shoulder."""
        profile = self.outside()[3:]
        order = np.argsort(profile[:, 1], kind="stable")
        return np.interp(z, profile[order, 1], profile[order, 0])

    def inside(self, z_top: float | None = None) -> np.ndarray:
        """The inner profile from the middle of the base up to the mouth or `z_top`."""
        outer = self.outside()
        below = outer[(outer[:, 1] < self.height + FINISHES[self.finish][0][1] * self.mouth)][3:]
        wall = np.stack([np.maximum(below[:, 0] - self.wall, self.bore * 0.9), below[:, 1]], 1)
        wall = wall[wall[:, 1] > self.wall * 2 + 0.2]
        floor = [(0, self.punt * 0.8 + self.wall * 2), (wall[0, 0] * 0.6, self.punt * 0.4 + self.wall * 1.8)]
        floor.append((wall[0, 0] * 0.93, self.wall * 1.6))
        rim = [(self.bore, self.height - 0.4 * self.mouth), (self.bore, self.height - 0.05 * self.mouth)]
        profile = np.concatenate([floor, wall, rim])
        if z_top is None:
            return profile
        r = np.interp(z_top, profile[2:, 1], profile[2:, 0])
        return np.concatenate([profile[profile[:, 1] < z_top - 0.02], [(r, z_top)]])

    def section_radius(self, r, z, theta):
        """Bends a turned body into its square or oval section, round at the neck."""
        if self.section == "round":
            return r
        z0, z1 = self.height * (1 - self.neck - self.shoulder), self.height * (1 - self.neck)
        share = np.clip((z1 - z) / max(z1 - z0, 1e-6), 0, 1)
        share = share * share * (3 - 2 * share)
        c, s = np.abs(np.cos(theta)), np.abs(np.sin(theta)) / self.aspect
        shaped = (c**self.power + s**self.power) ** (-1 / self.power)
        return r * (1 + share * (shaped - 1))

    def glass(self) -> Mesh:
        """The bottle itself: both walls in one surface."""
        profile = np.concatenate([self.outside(), self.inside()[::-1]])
        return lathe(profile, 56, self._wall_radius, crease=0.9)

    def _wall_radius(self, r, z, theta):
        r = self.section_radius(r, z, theta)
        if self.finish not in ("thread", "dropper"):
            return r
        # a ridge that winds down around the outside of the finish
        depth = (self.height - z) / self.mouth
        wound = (depth - 0.25) / 1.1 * self.threads
        turn = wound - theta / (2 * math.pi)
        ridge = np.clip(0.5 + 0.8 * np.cos(2 * math.pi * turn), 0, 1)
        on = (depth > 0.15) & (depth < 1.4) & (r > 0.86 * self.mouth)
        on = on * np.clip((depth - 0.15) * 6, 0, 1) * np.clip((1.4 - depth) * 6, 0, 1)
        return r + on * 0.1 * self.mouth * ridge

    def liquid(self, level: float) -> Mesh:
        """What is in it, up to a share of the height; sits slightly within the wall."""
        z = self.wall * 2 + level * (self.height * 0.97 - self.wall * 2)
        profile = self.inside(z)
        profile = profile + np.array([0.3 * self.wall, 0]) * (profile[:, :1] > 0)
        profile = np.concatenate([profile, [(0, z)]])
        return lathe(profile, 48, self.section_radius, crease=0.9)

    def wrapper(self, low: float, high: float, arc: tuple[float, float]) -> Mesh:
        """A label around the body between two shares of the height."""
        outer = self.outside()[8:]
        z = np.linspace(low, high, 18) * self.height
        order = np.argsort(outer[:, 1], kind="stable")
        r = np.interp(z, outer[order, 1], outer[order, 0]) + 0.025
        return lathe(np.stack([r, z], 1), 40, self.section_radius, arc, crease=9)


# (radius, height) in mouth radii, the mouth at height 0, upwards
FINISHES: dict[str, list[tuple[float, float]]] = {
    "crown": [(0.98, -1.6), (1.0, -1.42), (1.1, -1.32), (1.1, -1.05), (0.97, -0.92), (0.95, -0.5), (1.0, -0.42),
              (1.05, -0.3), (1.03, -0.12), (0.97, -0.03), (0.88, 0.0), (0.8, -0.02)],
    "thread": [(0.9, -2.0), (0.92, -1.82), (1.16, -1.76), (1.16, -1.62), (0.92, -1.56), (0.9, -1.42),
               *((0.9, -1.4 + 0.04 * k) for k in range(33)),
               (0.88, -0.02), (0.85, 0.0), (0.82, -0.02)],
    "cork": [(0.9, -1.2), (0.92, -0.78), (1.05, -0.7), (1.08, -0.5), (1.07, -0.32), (0.97, -0.22), (0.96, -0.08),
             (0.9, 0.0), (0.8, -0.02)],
    "plain": [(0.88, -1.0), (0.9, -0.62), (1.04, -0.46), (1.12, -0.26), (1.06, -0.06), (0.95, 0.0), (0.8, -0.02)],
}
FINISHES["swing"] = FINISHES["plain"]
FINISHES["dropper"] = FINISHES["thread"]
