"""What textures are made of: noise from tiles drawn once, colour ramps, and a patch's grid.

Fresh noise for each picture would cost more than all the rest of it; so smooth noise of each grain
is drawn once per process, always the same, and a patch cuts a window out of it at a random place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = Sequence[float]

TILE = 256  # rows and columns after which noise repeats: a power of two; no patch may be larger
UNITS = 64  # a picture is this many units high, whatever its pixels


class Patch:
    """A rectangle of a picture that one stuff class fills, and the randomness to draw it with.

    height, width: its pixels. size: pixels of the whole picture's height. time: "day", "dusk" or "night".
    horizon: row of the patch where the ground begins, may be above it (negative); foot: row of the
    patch where the picture ends. With them `near` tells how near a row is.
    x [1, w]: units from the middle. y [h, 1]: units from the top.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        size: int,
        time: str = "day",
        horizon: float = 0.0,
        foot: float | None = None,
    ) -> None:
        self.rng, self.time = rng, time
        self.height, self.width = height, width
        self.unit = size / UNITS
        self.x, self.y = _grid(height, width, size)
        self._horizon, self._ground = horizon, max((height if foot is None else foot) - horizon, 1.0)

    @cached_property
    def near(self) -> Array:
        """[h, 1]: 0 at the horizon, 1 at the foot of the picture."""
        rows: Array = (self.y * self.unit - self._horizon) / self._ground
        return np.minimum(np.maximum(rows, 0.02), 1.0)

    @cached_property
    def depth(self) -> Array:
        """[h, 1]: the distance of the ground, 1 at the foot of the picture."""
        return 1.15 / (self.near + 0.15)

    def between(self, low: float, high: float) -> float:
        """A random number, low <= number < high."""
        return low + (high - low) * self.rng.random()

    def chance(self, share: float) -> bool:
        """True in this share of the cases."""
        return self.rng.random() < share

    def choice(self, colours: Sequence[Colour], spread: float = 0.07, light: float = 0.18) -> Array:
        """One of the colours, each channel varied by up to `spread`, the whole by up to `light`: [3]."""
        number, red, green, blue, level = self.rng.random(5).tolist()
        base = colours[int(number * len(colours))]
        gain = 1 + (level - 0.5) * (2 * light)
        tints = (red - 0.5, green - 0.5, blue - 0.5)
        mixed = [min(1.0, (part + tint * (2 * spread)) * gain) for part, tint in zip(base, tints, strict=True)]
        return np.array(mixed, np.float32)

    def noise(self, tall: float, wide: float | None = None) -> Array:
        """[h, w], mean 0, deviation 1, its blobs `tall` by `wide` units."""
        tile = _tile(round(tall * self.unit, 2), round((wide or tall) * self.unit, 2))
        top, left = self._place()
        return tile[top : top + self.height, left : left + self.width]

    def fractal(self, coarsest: float, stretch: float = 1.0) -> Array:
        """[h, w], mean 0, deviation 1: noise of several grains, the coarsest `coarsest` units tall."""
        tile = _fractal(round(coarsest * self.unit, 2), stretch)
        top, left = self._place()
        return tile[top : top + self.height, left : left + self.width]

    def relief(self, coarsest: float, stretch: float, step: float) -> tuple[Array, Array]:
        """As `fractal`, and how much each place stands out over the one `step` units above it."""
        tile = _fractal(round(coarsest * self.unit, 2), stretch)
        top, left = self._place()
        above = (top - max(1, round(step * self.unit))) % TILE
        field = tile[top : top + self.height, left : left + self.width]
        return field, field - tile[above : above + self.height, left : left + self.width]

    def profile(self, wide: float) -> Array:
        """[w], mean 0, deviation 1: noise along a line."""
        tile = _tile(round(wide * self.unit, 2), round(wide * self.unit, 2))
        top, left = self._place()
        return tile[top, left : left + self.width]

    def ground_noise(self, tall: float, wide: float) -> Array:
        """[h, w], mean 0, deviation 1: noise lying on the ground, finer and narrower in the distance."""
        tile = _tile(round(tall * self.unit, 2), round(wide * self.unit, 2))
        top, left = self._place()
        rows = (self.depth * (-24 * self.unit)).astype(np.int32) + top
        columns = (self.x * self.depth * self.unit).astype(np.int32)
        return tile[rows & (TILE - 1), columns + left & (TILE - 1)]

    def stars(self) -> Array:
        """[h, w] 0..1: bright dots, far apart."""
        tile = _stars(max(1, round(self.unit)))
        top, left = self._place()
        return tile[top : top + self.height, left : left + self.width]

    def _place(self) -> tuple[int, int]:
        return divmod(int(self.rng.random() * (TILE * TILE)), TILE)


def grain(rng: np.random.Generator, height: int, width: int, size: int) -> Array:
    """[h, w], mean 0, deviation 1: the fine noise of a surface, in a picture of this size."""
    tile = _tile(round(0.8 * size / UNITS, 2), round(0.8 * size / UNITS, 2))
    top, left = divmod(int(rng.random() * (TILE * TILE)), TILE)
    return tile[top : top + height, left : left + width]


def cut(values: Array) -> Array:
    """The values, those below 0 and above 1 set to these."""
    positive = np.maximum(values, np.float32(0))
    return np.minimum(positive, np.float32(1), out=positive)


def mix(low: Colour | Array, high: Colour | Array, share: Array) -> Array:
    """Colours [3, h, w] from `low` (share 0) to `high` (share 1); each a colour [3] or an image [3, h, w]."""
    first, last = _planes(low), _planes(high)
    return first + (last - first) * share


def ramp(colours: Sequence[Colour] | Array, share: Array) -> Array:
    """Colours [3, h, w] along evenly spaced stops; share [h, w], 0 is the first colour, 1 the last."""
    stops = np.asarray(colours, np.float32).reshape(-1, 3)
    places = np.linspace(0, 1, len(stops))
    table = np.stack([np.interp(np.linspace(0, 1, 256), places, stops[:, c]) for c in range(3)]).astype(np.float32)
    return np.take(table, (cut(share) * 255).astype(np.uint8), axis=1)


def tinted(colour: Colour | Array, tone: Array) -> Array:
    """A colour [3] or an image [3, h, w], made lighter or darker by tone [h, w] (0: as it is)."""
    return _planes(colour) * (1.0 + tone)


def _planes(colour: Colour | Array) -> Array:
    array = np.asarray(colour, np.float32)
    return array[:, None, None] if array.ndim == 1 else array


def _smooth(seed: int, tall: float, wide: float) -> Array:
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    along = np.square(np.fft.fftfreq(TILE) * np.pi)
    keep = np.exp(-0.5 * (along[:, None] * tall * tall + along[None, : TILE // 2 + 1] * wide * wide))
    smooth = np.fft.irfft2(np.fft.rfft2(white) * keep, s=(TILE, TILE))
    smooth -= smooth.mean()
    return (smooth / smooth.std()).astype(np.float32)


def _doubled(tile: Array) -> Array:
    """The tile beside itself, so that a window may begin anywhere in the first copy."""
    return np.tile(tile, (2, 2))


@lru_cache(maxsize=1024)
def _grid(height: int, width: int, size: int) -> tuple[Array, Array]:
    unit = size / UNITS
    x = (np.arange(width) + (0.5 - width / 2)) / unit
    y = (np.arange(height) + 0.5) / unit
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


@lru_cache(maxsize=256)
def _tile(tall: float, wide: float) -> Array:
    return _doubled(_smooth(1, tall, wide))


@lru_cache(maxsize=64)
def _fractal(coarsest: float, stretch: float) -> Array:
    octaves = [_smooth(2 + o, coarsest / 2**o, stretch * coarsest / 2**o) / np.float32(2.1**o) for o in range(4)]
    total = np.sum(octaves, axis=0)
    return _doubled((total / total.std()).astype(np.float32))


@lru_cache(maxsize=16)
def _stars(dot: int) -> Array:
    rng = np.random.default_rng(7)
    tile = np.zeros((TILE, TILE), np.float32)
    count = 420 // (dot * dot)
    for row, column, light in zip(
        rng.integers(TILE, size=count), rng.integers(TILE, size=count), rng.random(count), strict=True
    ):
        tile[row : row + dot, column : column + dot] = 0.35 + 0.65 * light
        if light > 0.8:  # the brightest have a halo
            tile[row : row + dot, (column + dot) % TILE] = 0.5
    return _doubled(tile)
