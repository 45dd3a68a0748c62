"""Meshes as numpy arrays: turned solids, tubes, boxes. Lengths are centimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Mesh:
    """Points, quads and, perhaps, one texture coordinate a point."""

    points: np.ndarray
    quads: np.ndarray
    uv: np.ndarray | None = None
    smooth: bool = True

    def moved(self, matrix: np.ndarray) -> "Mesh":
        """The mesh after a 4x4 transformation."""
        points = self.points @ matrix[:3, :3].T + matrix[:3, 3]
        return Mesh(points, self.quads, self.uv, self.smooth)

    def scaled(self, factor: float) -> "Mesh":
        return Mesh(self.points * factor, self.quads, self.uv, self.smooth)


def shift(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def turn(axis: str, angle: float) -> np.ndarray:
    """A rotation about x, y or z."""
    c, s = math.cos(angle), math.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(4)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def lathe(
    profile,
    around: int = 56,
    radius=None,
    arc: tuple[float, float] | None = None,
    crease: float = 0.6,
) -> Mesh:
    """Turns (radius, height) points about z; corners sharper than `crease` stay sharp.

    `radius(r, z, theta)` may change the radius, for ridges and square bodies.
    With `arc` only that part is made, with texture coordinates.
    """
    profile = np.asarray(profile, float)
    runs, start = [], 0
    for i in range(1, len(profile) - 1):
        a, b = profile[i] - profile[i - 1], profile[i + 1] - profile[i]
        angle = abs(math.atan2(a[0] * b[1] - a[1] * b[0], a @ b))
        if angle > crease:
            runs.append(profile[start : i + 1])
            start = i
    runs.append(profile[start:])
    closed = arc is None
    theta = np.linspace(*(arc or (0, 2 * math.pi)), around, endpoint=not closed)
    points, quads, coords, base = [], [], [], 0
    for run in runs:
        r, z = (np.broadcast_to(run[:, k], (around, len(run))) for k in (0, 1))
        angle = theta[:, None]
        if radius is not None:
            r = radius(r, z, angle)
        points.append(np.stack([r * np.cos(angle), r * np.sin(angle), z], -1).reshape(-1, 3))
        length = np.r_[0, np.cumsum(np.hypot(*np.diff(run, axis=0).T))]
        across = np.broadcast_to(np.linspace(0, 1, around)[:, None], r.shape)
        along = np.broadcast_to(length / max(length[-1], 1e-9), r.shape)
        coords.append(np.stack([across, along], -1).reshape(-1, 2))
        m = len(run)
        i, j = np.meshgrid(np.arange(around if closed else around - 1), np.arange(m - 1), indexing="ij")
        following = (i + 1) % around
        quads.append(
            base + np.stack([i * m + j, following * m + j, following * m + j + 1, i * m + j + 1], -1).reshape(-1, 4)
        )
        base += around * m
    return Mesh(np.concatenate(points), np.concatenate(quads), np.concatenate(coords))


def tube(path, thickness: float, sides: int = 8) -> Mesh:
    """A wire along a path of points."""
    path = np.asarray(path, float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    guide = np.where(np.abs(tangent[:, 2:]) > 0.9, [[1.0, 0, 0]], [[0, 0, 1.0]])
    side = np.cross(tangent, guide)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(side, tangent)
    theta = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    ring = np.cos(theta)[None, :, None] * side[:, None] + np.sin(theta)[None, :, None] * up[:, None]
    # closed at both ends
    path, ring = (np.concatenate([a[:1], a, a[-1:]]) for a in (path, ring))
    ring[0] = ring[-1] = 0
    points = (path[:, None] + thickness * ring).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(len(path) - 1), np.arange(sides), indexing="ij")
    k = (j + 1) % sides
    quads = np.stack([i * sides + j, i * sides + k, (i + 1) * sides + k, (i + 1) * sides + j], -1)
    return Mesh(points, quads.reshape(-1, 4))


def box(x: float, y: float, z: float) -> Mesh:
    """A box on the ground, centred on the z axis, each face with its own texture."""
    faces = []
    for axis in range(3):
        for sign in (-1, 1):
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])[:: sign]
            face = np.zeros((4, 3))
            face[:, axis] = sign
            face[:, (axis + 1) % 3] = corners[:, 0]
            face[:, (axis + 2) % 3] = corners[:, 1]
            faces.append(face)
    points = np.concatenate(faces) * (x / 2, y / 2, z / 2) + (0, 0, z / 2)
    uv = np.tile([(0, 0), (1, 0), (1, 1), (0, 1)], (6, 1)).astype(float)
    return Mesh(points, np.arange(24).reshape(6, 4), uv, smooth=False)


def sheet(width: float, depth: float, tile: float) -> Mesh:
    """A level rectangle whose texture repeats every `tile` centimetres."""
    points = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)]) * (width / 2, depth / 2, 0)
    return Mesh(points, np.array([[0, 1, 2, 3]]), points[:, :2] / tile, smooth=False)


def ball(radius: float, squash: float = 1.0) -> Mesh:
    t = np.linspace(-math.pi / 2, math.pi / 2, 15)
    profile = np.stack([radius * np.cos(t), radius * squash * (np.sin(t) + 1)], 1)
    return lathe(profile, 28, crease=9)


@dataclass
class Part:
    """A mesh with its material; `tag` says what it belongs to."""

    mesh: Mesh
    material: object
    tag: str = "scene"
    extra: dict = field(default_factory=dict)
