"""Anti-aliased shapes on small arrays: what the miniature's pictures are drawn with.

A shape is a signed distance, negative inside. A pixel is covered by 0.5 - distance in pixels, cut to
0..1, which smooths edges without drawing at a larger size, if roughly where a shape is thinner than two
pixels. Grids are small, so the number of calls is what costs: a shape is computed within its bounding
box only, and many of one colour are painted as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]
# left, low, right, high
Bounds = tuple[float, float, float, float]

# Light falls from the upper left: what a shaded part gains across its half width and half height.
LIGHT = (-0.5, 0.75)
# An ellipse no longer than this, over its width, has edges as a circle's: the difference does not show.
ROUND = 1.4


class Sketch:
    """A thing on a grid of its own: height 1, foot at y = 0, x from -half to half, y up.

    height, width: pixels of the grid. aspect: width of the thing over its height. half: aspect / 2.
    mirrored: seen the other way round, while the light stays where it is. noise: [h, w] float32
    about 0 with deviation 1, at least as large as the grid, for the grain of rough parts.

    What was painted so far: cover [h, w], 0..1, and colour [h, w, 3], 0..1, in proportion to the cover
    ("premultiplied"). So picture * (1 - cover) + colour puts the thing before a picture.

    Shapes take a colour, and some a shade: how much lighter the lit side is than the middle; a grain: how much
    of the noise shows; and onto: paint only where something was painted before, as spots on a hide. Pixels
    are taken for square: width is about height * aspect.
    """

    def __init__(self, height: int, width: int, aspect: float, noise: Array, mirrored: bool = False) -> None:
        self.aspect = aspect
        self.half = aspect / 2
        self.mirrored = mirrored
        self.noise = noise
        self._height, self._width = height, width
        self._across = width / aspect  # pixels per unit
        self._light_x = -LIGHT[0] if mirrored else LIGHT[0]
        self.y = (np.arange(height, 0, -1).astype(np.float32) - 0.5)[:, None] / height
        self.x = (np.arange(width).astype(np.float32) + 0.5) / self._across - self.half
        # Red, green, blue, and what still shows of the ground behind: so all four are painted alike.
        self._planes = np.zeros((4, height, width), np.float32)
        self._planes[3] = 1

    @property
    def planes(self) -> Array:
        """[4, h, w]: what the thing adds to red, green and blue, and how much of the ground behind still shows."""
        return self._planes[:, :, ::-1] if self.mirrored else self._planes

    @property
    def cover(self) -> Array:
        """[h, w]: how much of each pixel the thing covers, 0..1."""
        cover = 1 - self._planes[3]
        return cover[:, ::-1] if self.mirrored else cover

    @property
    def colour(self) -> Array:
        """[h, w, 3]: what the thing adds to each pixel, at most its cover."""
        planes = np.minimum(self._planes[:3], 1 - self._planes[3])
        np.maximum(planes, 0, out=planes)
        colour = planes.transpose(1, 2, 0)
        return colour[:, ::-1] if self.mirrored else colour

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
        onto: bool = False,
        above: float | None = None,
    ) -> None:
        """An ellipse about (x, y) with half axes rx, ry, turned left by `angle` radians; the part `above` a height."""
        if angle:
            cos, sin = math.cos(angle), math.sin(angle)
            bounds = _around(x, y, math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos))
        else:
            bounds = (x - rx, y - ry if above is None else above, x + rx, y + ry)
        window = self._window(bounds)
        if window is None:
            return
        dx, dy = self.x[window[1]] - x, self.y[window[0]] - y
        if angle:
            along, across = dx * (cos / rx) + dy * (sin / rx), dy * (cos / ry) - dx * (sin / ry)
            along *= along
            across *= across
        else:
            along, across = np.square(dx * (1 / rx)), np.square(dy * (1 / ry))
        across += 1e-6  # the centre has no gradient
        squares = along + across
        distance = np.sqrt(squares)
        if max(rx, ry) < ROUND * min(rx, ry):
            distance -= 1
            distance *= math.sqrt(rx * ry)
        else:
            # To first order: the excess of the radius over its gradient.
            slopes = along * (1 / rx**2) + across * (1 / ry**2)
            np.subtract(squares, distance, out=distance)
            distance /= np.sqrt(slopes, out=slopes)
        if above is not None:
            np.maximum(distance, above - self.y[window[0]], out=distance)
        self._paint(window, distance, colour, bounds, shade, grain, onto)

    def dots(
        self,
        dots: Sequence[Sequence[float]],
        colour: Colour,
        shade: float = 0.0,
        grain: float = 0.0,
        onto: bool = False,
    ) -> None:
        """Upright ellipses (x, y, rx, ry), nearly round, painted as one shape: wool, leaves, spots, petals."""
        bounds = _outline([(x - rx, y - ry, x + rx, y + ry) for x, y, rx, ry in dots])
        window = self._window(bounds)
        if window is None:
            return
        x, y, rx, ry = np.array(dots, np.float32).T
        u, v = (self.x[window[1]] - x[:, None]) / rx[:, None], (self.y[window[0], 0] - y[:, None]) / ry[:, None]
        u *= u
        v *= v
        radius = np.sqrt(u[:, None, :] + v[:, :, None])
        radius -= 1
        radius *= np.sqrt(rx * ry)[:, None, None]
        self._paint(window, radius.min(0), colour, bounds, shade, grain, onto)

    def polygon(
        self, points: Sequence[Point], colour: Colour, shade: float = 0.15, grain: float = 0.0, onto: bool = False
    ) -> None:
        """A convex polygon, corners in either order."""
        xs, ys = zip(*points, strict=True)
        bounds = (min(xs), min(ys), max(xs), max(ys))
        window = self._window(bounds)
        if window is None:
            return
        following = [*points[1:], points[0]]
        area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(points, following, strict=True))
        sign = math.copysign(1.0, area)
        sides = []
        for (ax, ay), (bx, by) in zip(points, following, strict=True):
            length = sign * math.hypot(bx - ax, by - ay)
            if length:
                nx, ny = (by - ay) / length, (ax - bx) / length
                sides.append((nx, ny, nx * ax + ny * ay))
        table = np.array(sides, np.float32)
        across, up = table[:, :1] * self.x[window[1]], table[:, 1:2] * self.y[window[0], 0] - table[:, 2:]
        distance = (across[:, None, :] + up[:, :, None]).max(0)
        self._paint(window, distance, colour, bounds, shade, grain, onto)

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
        onto: bool = False,
    ) -> None:
        """An upright rectangle with corners rounded by `rounding`."""
        bounds = (left, low, right, high)
        window = self._window(bounds)
        if window is None:
            return
        dx, dy = np.abs(self.x[window[1]] - (left + right) / 2), np.abs(self.y[window[0]] - (low + high) / 2)
        dx -= (right - left) / 2 - rounding
        dy -= (high - low) / 2 - rounding
        distance = np.maximum(dx, dy)
        if rounding:
            np.minimum(distance, 0, out=distance)
            distance += np.sqrt(np.square(np.maximum(dx, 0)) + np.square(np.maximum(dy, 0)))
            distance -= rounding
        self._paint(window, distance, colour, bounds, shade, grain, onto)

    def boxes(self, boxes: Sequence[Bounds], colour: Colour, shade: float = 0.0, onto: bool = False) -> None:
        """Upright rectangles (left, low, right, high) painted as one shape: windows, stripes."""
        bounds = _outline(boxes)
        window = self._window(bounds)
        if window is None:
            return
        left, low, right, high = np.array(boxes, np.float32).T[:, :, None]
        x, y = self.x[window[1]], self.y[window[0], 0]
        dx, dy = np.maximum(left - x, x - right), np.maximum(low - y, y - high)
        self._paint(window, np.maximum(dx[:, None, :], dy[:, :, None]).min(0), colour, bounds, shade, 0.0, onto)

    def line(
        self,
        start: Point,
        end: Point,
        thick: float,
        colour: Colour,
        thin: float | None = None,
        grain: float = 0.0,
        onto: bool = False,
    ) -> None:
        """A round-ended stroke, `thick` across at its start and `thin` (or the same) at its end."""
        self.lines([(*start, *end)], thick, colour, thin, grain, onto)

    def lines(
        self,
        lines: Sequence[Sequence[float]],
        thick: float,
        colour: Colour,
        thin: float | None = None,
        grain: float = 0.0,
        onto: bool = False,
    ) -> None:
        """Strokes (x, y, end x, end y) painted as one shape: legs, spokes, a tail of several pieces."""
        reach = max(thick, thin or 0.0) / 2
        bounds = _outline(
            [
                (min(ax, bx) - reach, min(ay, by) - reach, max(ax, bx) + reach, max(ay, by) + reach)
                for ax, ay, bx, by in lines
            ]
        )
        window = self._window(bounds)
        if window is None:
            return
        # Of each: its start, its direction, and how far along it the coordinates' origin lies.
        rows = []
        for ax, ay, bx, by in lines:
            dx, dy = bx - ax, by - ay
            scale = 1 / max(dx * dx + dy * dy, 1e-9)
            rows.append((ax, ay, dx, dy, dx * scale, dy * scale, (ax * dx + ay * dy) * scale))
        table: Any = rows[0] if len(rows) == 1 else np.array(rows, np.float32).T[:, :, None, None]
        ax, ay, dx, dy, sx, sy, origin = table
        x, y = self.x[window[1]], self.y[window[0]]
        along = x * sx + (y * sy - origin)
        np.maximum(along, 0, out=along)
        np.minimum(along, 1, out=along)
        px, py = (x - ax) - along * dx, (y - ay) - along * dy
        px *= px
        py *= py
        px += py
        distance = np.sqrt(px, out=px)
        if thin is not None:
            along *= (thick - thin) / 2
            distance += along
        if len(rows) > 1:
            distance = distance.min(0)
        distance -= thick / 2
        self._paint(window, distance, colour, bounds, 0.0, grain, onto)

    def ring(self, x: float, y: float, radius: float, thick: float, colour: Colour) -> None:
        """A circle's outline, `thick` across."""
        bounds = _around(x, y, radius + thick / 2, radius + thick / 2)
        window = self._window(bounds)
        if window is None:
            return
        distance = np.sqrt(np.square(self.x[window[1]] - x) + np.square(self.y[window[0]] - y))
        distance -= radius
        np.abs(distance, out=distance)
        distance -= thick / 2
        self._paint(window, distance, colour, bounds, 0.0, 0.0, False)

    def shape(self, distance: Array, colour: Colour, shade: float = 0.0) -> None:
        """Any shape: its signed distance [h, w] at the grid's x and y."""
        everything = (slice(0, self._height), slice(0, self._width))
        self._paint(everything, distance.copy(), colour, (-self.half, 0.0, self.half, 1.0), shade, 0.0, False)

    def _window(self, bounds: Bounds) -> tuple[slice, slice] | None:
        """Rows and columns that a shape within these bounds can reach; None where there are none."""
        left, low, right, high = bounds
        first = max(0, int((left + self.half) * self._across - 0.5))
        last = min(self._width, int((right + self.half) * self._across + 1.5))
        top = max(0, int((1 - high) * self._height - 0.5))
        bottom = min(self._height, int((1 - low) * self._height + 1.5))
        return (slice(top, bottom), slice(first, last)) if first < last and top < bottom else None

    def _paint(
        self,
        window: tuple[slice, slice],
        distance: Array,
        colour: Colour,
        bounds: Bounds,
        shade: float,
        grain: float,
        onto: bool,
    ) -> None:
        """Paint over what is there. `distance` is overwritten."""
        rows, columns = window
        cover = distance
        cover *= -self._height
        cover += 0.5
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 1, out=cover)
        planes = self._planes[:, rows, columns]
        paint: NDArray[Any] = np.array((*colour, 0.0), np.float32)[:, None, None]
        if shade:
            left, low, right, high = bounds
            along, up = shade * self._light_x * 2 / (right - left), shade * LIGHT[1] * 2 / (high - low)
            level = 1 - along * (left + right) / 2 - up * (low + high) / 2
            tone = self.x[columns] * along + (self.y[rows] * up + level)
            if grain:
                tone += grain * self.noise[rows, columns]
            paint = paint * tone
        elif grain:
            paint = paint * (1 + grain * self.noise[rows, columns])
        if onto:
            paint = paint * (1 - planes[3])
            paint[3] = planes[3]
        change = paint - planes
        change *= cover
        planes += change


def _around(x: float, y: float, rx: float, ry: float) -> Bounds:
    return (x - rx, y - ry, x + rx, y + ry)


def _outline(shapes: Sequence[Bounds]) -> Bounds:
    lefts, lows, rights, highs = zip(*shapes, strict=True)
    return (min(lefts), min(lows), max(rights), max(highs))


def between(low: float, high: float, share: Any) -> Any:
    """From low (share 0) to high (share 1): what a chance number becomes."""
    return low + (high - low) * share


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """The colour with a `share` of another in it."""
    (r, g, b), (r2, g2, b2) = colour, other
    return (r + (r2 - r) * share, g + (g2 - g) * share, b + (b2 - b) * share)


def apart(colour: Colour, choices: Sequence[Colour], share: float) -> Colour:
    """One of the choices, at a `share` of the way through them, or the next that does not look like the colour."""
    first = int(share * len(choices))
    for choice in (*choices[first:], *choices[:first]):
        if sum(abs(part - other) for part, other in zip(colour, choice, strict=True)) > 0.45:
            break
    return choice


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """The colour in shadow: towards a deep blue, which keeps it from turning to mud."""
    return blend(colour, (0.12, 0.10, 0.20), share)


def lighter(colour: Colour, share: float = 0.25) -> Colour:
    """The colour in the light: towards a warm white."""
    return blend(colour, (1.0, 0.98, 0.92), share)
