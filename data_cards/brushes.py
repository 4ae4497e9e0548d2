"""Anti-aliased shapes on small arrays: what the miniature's pictures are drawn with.

A shape is a signed distance, negative inside. A pixel is covered by 0.5 - distance / pixel size, cut
to 0..1, which smooths edges without drawing at a larger size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float] | Array

# Light falls from the upper left.
LIGHT = np.array([-0.5, 0.75], np.float32)


class Sketch:
    """A thing on a grid of its own: height 1, foot at y = 0, x from -aspect/2 to aspect/2, y up.

    height, width: pixels of the grid. aspect: width of the thing over its height. mirrored: drawn
    the other way round. noise: [h, w] about 0, at least as large as the grid, for shaded parts.
    colour [h, w, 3] 0..1 and cover [h, w] 0..1 hold what was painted so far.
    """

    def __init__(self, height: int, width: int, aspect: float, noise: Array, mirrored: bool = False) -> None:
        self.pixel = 1.0 / height
        y = 1.0 - (np.arange(height, dtype=np.float32) + 0.5) * np.float32(self.pixel)
        x = ((np.arange(width, dtype=np.float32) + 0.5) / np.float32(width) - np.float32(0.5)) * np.float32(aspect)
        if mirrored:
            x = -x
        self.aspect = aspect
        self.x, self.y = x[None, :], y[:, None]
        self.noise = noise[:height, :width]
        self.colour = np.zeros((height, width, 3), np.float32)
        self.cover = np.zeros((height, width), np.float32)

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: Colour,
        angle: float = 0.0,
        shade: float = 0.25,
        grain: float = 0.0,
    ) -> None:
        """An ellipse about (x, y) with half axes rx, ry, turned left by `angle` radians."""
        dx, dy = self.x - x, self.y - y
        if angle:
            cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        u, v = dx / rx, dy / ry
        radius = np.sqrt(u * u + v * v)
        distance = (radius - 1) * min(rx, ry)
        self._paint(distance, colour, (u * LIGHT[0] + v * LIGHT[1]) if shade else None, shade, grain)

    def polygon(
        self, points: Sequence[tuple[float, float]], colour: Colour, shade: float = 0.15, grain: float = 0.0
    ) -> None:
        """A convex polygon, corners in either order."""
        corners = np.asarray(points, np.float32)
        edges = np.roll(corners, -1, axis=0) - corners
        area = np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - np.roll(corners[:, 0], -1) * corners[:, 1])
        normals = np.stack([edges[:, 1], -edges[:, 0]], 1) * np.sign(area)
        normals /= np.maximum(np.hypot(normals[:, 0], normals[:, 1])[:, None], 1e-9)
        offsets = (normals * corners).sum(1)
        distance = normals[0, 0] * self.x + (normals[0, 1] * self.y - offsets[0])
        for (nx, ny), offset in zip(normals[1:], offsets[1:], strict=True):
            np.maximum(distance, nx * self.x + (ny * self.y - offset), out=distance)
        light = None
        if shade:
            (left, low), (right, high) = corners.min(0), corners.max(0)
            u = (self.x - (left + right) / 2) * (2 / max(right - left, 1e-6))
            v = (self.y - (low + high) / 2) * (2 / max(high - low, 1e-6))
            light = u * LIGHT[0] + v * LIGHT[1]
        self._paint(distance, colour, light, shade, grain)

    def box(
        self,
        left: float,
        low: float,
        right: float,
        high: float,
        colour: Colour,
        rounding: float = 0.0,
        shade: float = 0.15,
        grain: float = 0.0,
    ) -> None:
        """An upright rectangle with corners rounded by `rounding`."""
        cx, cy, hw, hh = (left + right) / 2, (low + high) / 2, (right - left) / 2, (high - low) / 2
        dx, dy = np.abs(self.x - cx) - (hw - rounding), np.abs(self.y - cy) - (hh - rounding)
        if rounding:
            outside = np.sqrt(np.square(np.maximum(dx, 0)) + np.square(np.maximum(dy, 0)))
            distance = outside + np.minimum(np.maximum(dx, dy), 0) - rounding
        else:
            distance = np.maximum(dx, dy)
        light = (
            (self.x - cx) * (LIGHT[0] / max(hw, 1e-6)) + (self.y - cy) * (LIGHT[1] / max(hh, 1e-6)) if shade else None
        )
        self._paint(distance, colour, light, shade, grain)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        thick: float,
        colour: Colour,
        thin: float | None = None,
        shade: float = 0.0,
        grain: float = 0.0,
    ) -> None:
        """A round-ended stroke, `thick` across at its start and `thin` (or the same) at its end."""
        ax, ay = start
        dx, dy = end[0] - ax, end[1] - ay
        along = np.clip(((self.x - ax) * dx + (self.y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        px, py = self.x - ax - along * dx, self.y - ay - along * dy
        radius = thick / 2 if thin is None else thick / 2 + along * ((thin - thick) / 2)
        distance = np.sqrt(px * px + py * py) - radius
        light = (px * LIGHT[0] + py * LIGHT[1]) / max(thick, 1e-6) if shade else None
        self._paint(distance, colour, light, shade, grain)

    def ring(self, x: float, y: float, radius: float, thick: float, colour: Colour) -> None:
        """A circle's outline, `thick` across."""
        dx, dy = self.x - x, self.y - y
        distance = np.abs(np.sqrt(dx * dx + dy * dy) - radius) - thick / 2
        self._paint(distance, colour, None, 0.0, 0.0)

    def shape(
        self, distance: Array, colour: Colour, light: Array | None = None, shade: float = 0.0, grain: float = 0.0
    ) -> None:
        """Any shape: its signed distance [h, w] in the units of x and y."""
        self._paint(distance, colour, light, shade, grain)

    def _paint(self, distance: Array, colour: Colour, light: Array | None, shade: float, grain: float) -> None:
        cover = np.clip(0.5 - distance / np.float32(self.pixel), 0, 1)
        paint = np.asarray(colour, np.float32)
        if light is not None or grain:
            tone: Array = np.full_like(cover, 1.0) if light is None else 1.0 + np.float32(shade) * light
            if grain:
                tone = tone + np.float32(grain) * self.noise
            paint = np.clip(paint * tone[:, :, None], 0, 1)
        self.colour += cover[:, :, None] * (paint - self.colour)
        np.maximum(self.cover, cover, out=self.cover)
