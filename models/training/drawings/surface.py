"""Painting surfaces of revolution with soft edges onto a float picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Canvas:
    """A picture between 0 and 1 and the light that falls on what is painted."""

    pixels: np.ndarray
    light: tuple[float, float]
    ambient: float

    def paint(
        self, mask: np.ndarray, colour: np.ndarray, window: tuple[slice, slice] | None = None
    ) -> None:
        """Blends a colour in where the mask, between 0 and 1, says so."""
        area = self.pixels[window] if window else self.pixels
        area += mask[..., None].astype(np.float32) * (colour - area)


@dataclass
class Frame:
    """Coordinates along (y) and across (x) an object's axis, in its own unit.

    Only a window of the picture around the object is held, for speed.
    """

    x: np.ndarray
    y: np.ndarray
    picture_y: np.ndarray
    pixel: float
    window: tuple[slice, slice]
    origin: tuple[float, float]
    tilt: float

    @staticmethod
    def place(canvas: Canvas, origin: tuple[float, float], tilt: float, unit: float) -> "Frame":
        """A frame at `origin` whose unit is `unit` pixels and whose y axis points down the tilt."""
        height, width = canvas.pixels.shape[:2]
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        dx, dy = (xs - origin[0]) / unit, (ys - origin[1]) / unit
        sine, cosine = math.sin(tilt), math.cos(tilt)
        return Frame(
            x=dx * cosine - dy * sine,
            y=dx * sine + dy * cosine,
            picture_y=ys,
            pixel=1 / unit,
            window=(slice(0, height), slice(0, width)),
            origin=origin,
            tilt=tilt,
        )

    def crop(self, reach: float) -> "Frame":
        """The part of the frame within `reach` units of its origin."""
        height, width = self.x.shape
        half = reach / self.pixel
        rows = slice(
            int(np.clip(self.origin[1] - half, 0, height)),
            int(np.clip(self.origin[1] + half, 0, height)),
        )
        columns = slice(
            int(np.clip(self.origin[0] - half, 0, width)),
            int(np.clip(self.origin[0] + half, 0, width)),
        )
        cut = (rows, columns)
        return Frame(
            self.x[cut], self.y[cut], self.picture_y[cut], self.pixel, cut, self.origin, self.tilt
        )

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the frame lies in the picture."""
        sine, cosine = math.sin(self.tilt), math.cos(self.tilt)
        unit = 1 / self.pixel
        return (
            self.origin[0] + unit * (x * cosine + y * sine),
            self.origin[1] + unit * (-x * sine + y * cosine),
        )


def cover(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 inside (positive distance), 0 outside, with an edge `softness` wide."""
    return np.clip(distance / softness + 0.5, 0, 1)


def band(value: np.ndarray, low: float, high: float, softness: float) -> np.ndarray:
    """1 where low < value < high, with soft edges."""
    return cover(value - low, softness) * cover(high - value, softness)


def disc(frame: Frame, height: float, radius: float, flatness: float) -> np.ndarray:
    """A circle around the axis, seen as an ellipse."""
    squash = max(flatness, 1e-3)
    distance = np.hypot(frame.x, (frame.y - height) / squash)
    # in the ellipse's own units an edge pixel is wider where the ellipse is squashed
    slope = np.hypot(frame.x, (frame.y - height) / squash**2) / np.maximum(distance, 1e-6)
    return cover((radius - distance) / np.maximum(slope, 1.0), frame.pixel)


def across_and_height(
    frame: Frame, radius: np.ndarray | float, flatness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Position across the visible front, from -1 to 1, and height along the axis."""
    across = np.clip(frame.x / radius, -1, 1)
    return across, frame.y - flatness * radius * np.sqrt(1 - across * across)


def side(
    frame: Frame, radius: np.ndarray | float, top: float, end: np.ndarray | float, flatness: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The front of a cylinder from `top` to `end`: mask, position across, height."""
    across, height = across_and_height(frame, radius, flatness)
    mask = cover(radius - np.abs(frame.x), frame.pixel)
    mask = mask * cover(frame.y - top, frame.pixel) * cover(end - height, frame.pixel)
    return mask, across, height


def shading(canvas: Canvas, across: np.ndarray, flat: bool = False) -> np.ndarray:
    """Brightness of a cylinder (or of a flat box) at each position across it."""
    if flat:
        across = np.clip((np.abs(across) - 0.75) / 0.25, 0, 1) * np.sign(across)
    sideways, front = canvas.light
    lit = np.clip(across * sideways + np.sqrt(1 - across * across) * front, 0, 1)
    return canvas.ambient + (1.1 - canvas.ambient) * lit
