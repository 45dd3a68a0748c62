"""A pinhole's geometry: where it stands and what it projects where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """`axes` holds right, up and backwards as columns; `lens` is focal length per half width."""

    position: np.ndarray
    axes: np.ndarray
    lens: float
    width: int
    height: int
    aperture: float
    focus: float

    @staticmethod
    def aimed(target, distance, azimuth, elevation, roll, shift, lens, width, height, blur) -> "Camera":
        """Looks at `target`, which lands at `shift` (in half short sides) from the middle."""
        back = np.array([math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)])
        right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        up = np.cross(back, right)
        c, s = math.cos(roll), math.sin(roll)
        right, up = c * right + s * up, c * up - s * right
        half = min(width, height) / width / lens * distance
        position = np.asarray(target) + distance * back - half * (shift[0] * right + shift[1] * up)
        # the blur of something far away, as a share of the picture's width
        aperture = blur * distance / lens
        return Camera(position, np.stack([right, up, back], 1), lens, width, height, aperture, distance)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (x, y) and depth of each point."""
        local = (points - self.position) @ self.axes
        depth = np.maximum(-local[:, 2], 1e-3)
        x = self.width / 2 * (1 + local[:, 0] / depth * self.lens)
        y = self.height / 2 - self.width / 2 * local[:, 1] / depth * self.lens
        return np.stack([x, y, depth], 1)

    def box(self, points: np.ndarray, margin: float = 0.0) -> list[float]:
        """The smallest rectangle around the points, in pixels, not clipped."""
        seen = self.project(points)
        (x0, y0), (x1, y1) = seen[:, :2].min(0), seen[:, :2].max(0)
        mx, my = margin * (x1 - x0), margin * (y1 - y0)
        return [x0 - mx, y0 - my, x1 + mx, y1 + my]

    def clip(self, box: list[float]) -> list[int]:
        x0, y0, x1, y1 = box
        return [int(max(0, math.floor(x0))), int(max(0, math.floor(y0))),
                int(min(self.width, math.ceil(x1))), int(min(self.height, math.ceil(y1)))]
