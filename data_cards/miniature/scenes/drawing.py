"""Scenes of the miniature: a place, its stuff from far to near, things where they belong, and the light.

What is nearer stands lower, is larger, and covers what is behind it. A pixel of the mask belongs to
the last layer that covers at least half of it, or, where none does, to the first whose edge it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import read_card
from data_cards.miniature.scenes.places import HERDS, PLACES, STANDS, Band, ScenePlace
from data_cards.miniature.scenes.scene import Scene, SceneObject
from data_cards.miniature.stuff.catalogue import draw_stuff
from data_cards.miniature.stuff.indoors import drawn_aside, rug_outline
from data_cards.miniature.stuff.skies import cloud_cover
from data_cards.miniature.stuff.textures import Array, Patch, cut, grain
from data_cards.miniature.things.brushes import Sketch
from data_cards.miniature.things.catalogue import PALETTE, THINGS, Thing

TIMES = ("day", "dusk", "night")
_TINTS = {
    "day": (1.0, 1.0, 1.0),
    "dusk": (0.98, 0.80, 0.68),
    "night": (0.50, 0.56, 0.74),
}
_OWN_LIGHT = {"sky", "clouds", "sunset", "night sky", "skyline", "moon"}
_HOW_MANY = {1: 0.17, 2: 0.32, 3: 0.31, 4: 0.20}  # things in a picture
_SKIES: dict[str, dict[tuple[str, ...], float]] = {
    "day": {("sky",): 0.38, ("sky", "clouds"): 0.34, ("clouds",): 0.28},
    "dusk": {("sunset",): 0.8, ("sunset", "clouds"): 0.2},
    "night": {("night sky",): 1.0},
}
_PLACES = {place: place.weight for place in PLACES}
_MOON = 0.6  # share of the night skies
_BACK_HEIGHTS = {"mountain": (0.2, 0.42), "forest": (0.14, 0.3), "skyline": (0.22, 0.44), "brick wall": (0.13, 0.24)}
_SOFT_EDGED = {"grass", "wheat field", "sand", "snow"}
_WATER = {"sea", "lake", "pool"}
_ASLEEP = {"butterfly", "kite", "bird", "balloon"}  # not about at night
_FLYING, _PERCHED = (1.26, 1.45), (1.05, 1.24)  # aspects of birds, which are drawn accordingly
_SAME_COLOUR = 0.6  # of two things of one kind

Choice = TypeVar("Choice")
Zones = dict[str, tuple[float, float]]  # zone -> rows, far and near, where the feet of things may stand


@dataclass(frozen=True)
class Drawing:
    """A picture: image uint8 [size, size, 3]; mask uint8 [size, size], the card's class indices; its scene."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    scene: Scene


def draw_scene(rng: np.random.Generator, size: int) -> Drawing:
    """Draw one scene, `size` pixels high and wide."""
    place = _pick(rng, _PLACES)
    time = TIMES[_index(rng, place.times)]
    canvas = _Canvas(size, time)
    horizon = round(size * (place.horizon[0] + (place.horizon[1] - place.horizon[0]) * rng.random()))
    zones = (_room if place.indoors else _landscape)(canvas, rng, place, horizon)
    _things(canvas, rng, place, horizon, zones)
    return canvas.finish(place.name)


def _landscape(canvas: _Canvas, rng: np.random.Generator, place: ScenePlace, horizon: int) -> Zones:
    """The sky, what closes the view, and the bands of the ground."""
    size, time = canvas.size, canvas.time
    above, *drifting = _pick(rng, _SKIES[time])
    patch = Patch(rng, min(horizon + 2, size), size, size, time)
    canvas.lay(above, *draw_stuff(above, patch), 0, 0)
    for name in drifting:
        canvas.lay(name, draw_stuff(name, patch)[0], cloud_cover(patch), 0, 0)
    if back := _pick(rng, place.backs):
        low, high = _BACK_HEIGHTS[back]
        height = min(round(size * (low + (high - low) * rng.random())), round(horizon * 0.92)) + 2
        patch = Patch(rng, height, size, size, time, horizon=-height)
        canvas.lay(back, *draw_stuff(back, patch), horizon + 2 - height, 0)
    bands = _pick(rng, {bands: weight for weight, bands in place.grounds})
    return _bands(canvas, rng, bands, horizon) | {
        "edge": (horizon + 0.01 * size, horizon + 0.1 * (size - horizon)),
        "air": (0.0, horizon),
        "hover": (0.55 * horizon, 0.9 * size),
    }


def _bands(canvas: _Canvas, rng: np.random.Generator, bands: tuple[Band, ...], horizon: int) -> Zones:
    """Stuff that lies on the ground, from far to near."""
    size, zones = canvas.size, Zones()
    ground = size - horizon
    starts = [start and start + 0.14 * (rng.random() - 0.5) for _, start in bands]
    tops = [horizon + round(start * ground) for start in starts]
    for (name, start), top, end in zip(bands, tops, [*tops[1:], size], strict=True):
        soft = name in _SOFT_EDGED
        rise = round((0.035 if start else 0.012) * size) if soft else 0  # how far its edge swings
        first, last = max(0, top - rise), min(size, end + (rise or round(0.04 * size)) + 1)
        patch = Patch(rng, last - first, size, size, canvas.time, horizon - first, size - first)
        cover = None
        if soft:
            swing = (patch.profile(16) * 0.4 + patch.x * (patch.between(-0.8, 0.8) / 32)) * rise
            cover = cut(patch.y * patch.unit - (rise + np.minimum(np.maximum(swing, -rise), rise)) + 0.5)
        canvas.lay(name, *_with_cover(draw_stuff(name, patch), cover), first, 0)
        zones[name] = (max(top + 0.3 * (end - top), horizon + 0.1 * ground), 0.985 * end)
    return zones


def _room(canvas: _Canvas, rng: np.random.Generator, place: ScenePlace, horizon: int) -> Zones:
    """A wall, what hangs beside it, the floor and what lies on it."""
    size = canvas.size
    wall = _pick(rng, place.backs)
    patch = Patch(rng, horizon, size, size)
    colour, _ = draw_stuff(wall, patch)
    colour[:, -max(1, size // 32) :] *= np.float32(0.72)  # the skirting
    canvas.lay(wall, colour, None, 0, 0)
    ((floor, _),) = _pick(rng, {bands: weight for weight, bands in place.grounds})
    canvas.lay(floor, draw_stuff(floor, Patch(rng, size - horizon, size, size))[0], None, horizon, 0)
    if rng.random() < place.extras.get("carpet", 0) and floor != "carpet":
        top = horizon + round((size - horizon) * (0.15 + 0.25 * rng.random()))
        patch = Patch(rng, size - top, size, size, "day", horizon - top, size - top)
        colour, _ = draw_stuff("carpet", patch)
        canvas.lay("carpet", *rug_outline(patch, colour), top, 0)
    if rng.random() < place.extras.get("curtain", 0):
        width = round(size * (0.2 + 0.16 * rng.random()))
        patch = Patch(rng, min(size, horizon + round(size * 0.05)), width, size)
        colour, cover = draw_stuff("curtain", patch)[0], drawn_aside(patch)
        if sides := int(rng.random() * 3):  # 0: left, 1: right, 2: both
            canvas.lay("curtain", colour[:, :, ::-1], cover[:, ::-1], 0, size - width)
        if sides != 1:
            canvas.lay("curtain", colour, cover, 0, 0)
    return {
        floor: (horizon + 0.12 * (size - horizon), 0.985 * size),
        "wall": (0.08 * horizon, 0.9 * horizon),
        "rear": (horizon + 0.02 * (size - horizon), horizon + 0.14 * (size - horizon)),
    }


@dataclass
class _Placed:
    """A thing that is to be drawn: where its foot stands, how large it is in pixels."""

    name: str
    zone: str
    word: str
    foot: float
    middle: float
    height: int
    width: int
    aspect: float


def _things(canvas: _Canvas, rng: np.random.Generator, place: ScenePlace, horizon: int, zones: Zones) -> None:
    count = _pick(rng, _HOW_MANY)
    likely = _who_may_come(place, frozenset(zones), canvas.time)
    chosen: list[tuple[str, str]] = []
    if canvas.time == "night" and rng.random() < _MOON:
        chosen.append(("moon", _colour_word(rng, THINGS["moon"])))
        count += 1
    while len(chosen) < count and likely:
        last, word = chosen[-1] if chosen else ("", "")
        if rng.random() < HERDS.get(last, 0.0):
            name = last
            word = word if rng.random() < _SAME_COLOUR else _colour_word(rng, THINGS[name])
        else:
            name = _pick(rng, likely)
            if any(name == other for other, _ in chosen):
                if len(likely) > len(chosen):
                    continue
                break
            word = _colour_word(rng, THINGS[name])
        chosen.append((name, word))
    slots = rng.permutation(len(chosen))
    placed = [
        _place(canvas, rng, name, word, (slot + rng.random()) / len(chosen), horizon, zones)
        for (name, word), slot in zip(chosen, slots, strict=True)
    ]
    placed.sort(key=lambda one: (one.zone not in ("air", "wall"), one.foot))
    for one in placed:
        _draw(canvas, rng, one)


@lru_cache(maxsize=512)
def _who_may_come(place: ScenePlace, zones: frozenset[str], time: str) -> Mapping[str, float]:
    return {
        name: weight
        for name, weight in place.things.items()
        if zones.intersection(STANDS[name]) and not (time == "night" and name in _ASLEEP)
    }


def _colour_word(rng: np.random.Generator, thing: Thing) -> str:
    """One of its words, the first ones more often: they are the commoner."""
    return thing.colours[int(rng.random() ** 1.5 * len(thing.colours))]


def _place(
    canvas: _Canvas, rng: np.random.Generator, name: str, word: str, across: float, horizon: int, zones: Zones
) -> _Placed:
    """Where a thing stands, and how large it is there. across: share of the picture's width, 0..1."""
    size, thing = canvas.size, THINGS[name]
    open_to = [zone for zone in STANDS[name] if zone in zones]
    zone = open_to[int(rng.random() * len(open_to))]
    low, high = zones[zone]
    r = rng.random(3).tolist()
    height = size * (thing.size[0] + (thing.size[1] - thing.size[0]) * r[0])
    narrow, wide = (_FLYING if zone == "air" else _PERCHED) if name == "bird" else thing.aspect
    aspect = narrow + (wide - narrow) * r[1]
    if zone in ("air", "wall", "hover"):
        height *= 0.75 + 0.25 * r[0]
        height = min(height, 0.9 * (high - low), 0.8 * size / aspect)
        foot = low + height + (high - low - height) * r[2]
    else:
        foot = low + (high - low) * r[2]
        near = (foot - horizon) / (size - horizon)
        height *= (0.75 + 0.25 * near) if "wall" in zones else (0.4 + 0.6 * near)
        height = min(height, 0.95 * foot, 0.85 * size / aspect)
    height = max(height, 4.0)
    width = height * aspect
    middle = across * size
    outside = 0.2 * width  # this much of it may be out of sight
    middle = min(max(middle, width / 2 - outside), size - width / 2 + outside)
    return _Placed(name, zone, word, foot, middle, round(height), max(3, round(width)), aspect)


def _draw(canvas: _Canvas, rng: np.random.Generator, one: _Placed) -> None:
    thing = THINGS[one.name]
    noise = grain(rng, one.height, one.width, canvas.size)
    sketch = Sketch(one.height, one.width, one.aspect, noise, mirrored=rng.random() < 0.5)
    thing.draw(sketch, PALETTE[one.word], rng)
    top, left = round(one.foot) - one.height, round(one.middle - one.width / 2)
    if one.zone not in ("air", "wall", "hover"):
        canvas.shadow(one.foot, one.middle, one.width / 2, 0.22 if one.zone in _WATER else 0.42)
    canvas.stand(one.name, one.word, sketch, top, left)


@dataclass
class _Layer:
    """What was put on the canvas. drawn: its pixels there and then; pixels, box: what shows of it in the end."""

    name: str
    word: str | None = None
    drawn: int = 0
    pixels: int = 0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


class _Canvas:
    """The picture in work: picture [3, size, size], owner [size, size]: which layer each pixel shows."""

    def __init__(self, size: int, time: str) -> None:
        self.size, self.time = size, time
        self.picture = np.zeros((3, size, size), np.float32)
        self.owner = np.zeros((size, size), np.uint8)
        self.layers: list[_Layer] = []
        # Edges that swing beyond what lies behind: the layer, its part of owner and picture, which pixels, its colour.
        self._bare: list[tuple[int, NDArray[np.uint8], Array, NDArray[np.bool_], Array]] = []
        self._tint = None if time == "day" else np.array(_TINTS[time], np.float32)[:, None, None]

    def lay(self, name: str, colour: Array, cover: Array | None, top: int, left: int) -> None:
        """Put stuff, colour [3, h, w] with cover [h, w] or None where all is covered, over what is there."""
        height, width = colour.shape[1:]
        if self._tint is not None and name not in _OWN_LIGHT:
            colour = colour * self._tint
        place = np.s_[top : top + height, left : left + width]
        self.layers.append(_Layer(name))
        if cover is None:
            self.picture[:, *place] = colour
            self.owner[place] = len(self.layers)
            return
        under = self.picture[:, *place]
        under += (colour - under) * cover
        owner = self.owner[place]
        bare = (owner == 0) & (cover < 0.5)
        owner[cover >= 0.5] = len(self.layers)
        if bare.any():
            owner[bare] = len(self.layers)
            self._bare.append((len(self.layers), owner, under, bare, colour))

    def stand(self, name: str, word: str, sketch: Sketch, top: int, left: int) -> None:
        """Put a thing before what is there, its upper left at (top, left); what hangs out of the picture is cut."""
        up, side = max(0, -top), max(0, -left)
        planes = sketch.planes[:, up : self.size - top, side : self.size - left]
        height, width = planes.shape[1:]
        if not height or not width:
            return
        colour, behind = planes[:3], planes[3]
        if self._tint is not None and name not in _OWN_LIGHT:
            colour = colour * self._tint
        place = np.s_[top + up : top + up + height, left + side : left + side + width]
        under = self.picture[:, *place]
        under *= behind
        under += colour
        mine = behind <= 0.5
        self.layers.append(_Layer(name, word, int(np.count_nonzero(mine))))
        self.owner[place][mine] = len(self.layers)

    def shadow(self, foot: float, middle: float, reach: float, depth: float) -> None:
        """Darken the ground under a thing: an ellipse about its foot."""
        high = max(1.0, 0.16 * reach)
        top, down = max(0, int(foot - 2 * high)), min(self.size, int(foot + 2 * high) + 1)
        left, right = max(0, int(middle - 1.3 * reach)), min(self.size, int(middle + 1.3 * reach) + 1)
        y = (np.arange(top, down) + (0.5 - foot)) * (1.1 / high)
        x = (np.arange(left, right) + (0.5 - middle)) * (1.1 / reach)
        dark = np.exp(y * -y).astype(np.float32)[:, None] * np.exp(x * -x).astype(np.float32)
        dark *= -depth
        dark += 1
        self.picture[:, top:down, left:right] *= dark

    def finish(self, place: str) -> Drawing:
        """The picture with its mask and the list of what it shows."""
        for number, owner, part, bare, colour in self._bare:  # only now: around things that hide it nothing changes
            left = bare & (owner == number)
            part[:, left] = colour[:, left]
        pixels = np.bincount(self.owner.ravel(), minlength=len(self.layers) + 1).tolist()
        # A bit for each layer: which of them show in a column, and in a row.
        bits = np.left_shift(np.uint32(1), self.owner)
        lines = np.stack((np.bitwise_or.reduce(bits, 0), np.bitwise_or.reduce(bits, 1)))
        shown = (lines[:, :, None] >> np.arange(len(pixels), dtype=np.uint32) & np.uint32(1)).astype(bool)
        firsts, lasts = shown.argmax(1).tolist(), (self.size - shown[:, ::-1].argmax(1)).tolist()
        seen: dict[str, list[_Layer]] = {}
        for number, layer in enumerate(self.layers, 1):
            if pixels[number]:
                layer.pixels = pixels[number]
                layer.box = (firsts[0][number], firsts[1][number], lasts[0][number], lasts[1][number])
                seen.setdefault(layer.name, []).append(layer)
        objects = [self._object(layers) for layers in seen.values()]
        objects.sort(key=lambda one: (-one.area, one.name))
        index = np.array([0, *(_CLASSES[layer.name][0] for layer in self.layers)], np.uint8)
        picture = cut(self.picture)
        picture *= 255
        picture += 0.5
        image = np.empty((self.size, self.size, 3), np.uint8)
        for channel, plane in enumerate(picture.astype(np.uint8)):  # quicker than turning the axes
            image[:, :, channel] = plane
        return Drawing(
            image=image,
            mask=index.take(self.owner),
            scene=Scene(place, self.time, tuple(objects)),
        )

    def _object(self, layers: list[_Layer]) -> SceneObject:
        one = layers[0]
        count, pixels, box, word = 1, one.pixels, one.box, one.word
        if len(layers) > 1:
            pixels = sum(layer.pixels for layer in layers)
            left, top, right, bottom = zip(*(layer.box for layer in layers), strict=True)
            box = (min(left), min(top), max(right), max(bottom))
            if word is not None:  # a thing
                # An instance of which hardly anything shows is not one that people count.
                count = max(1, sum(layer.pixels >= max(3, 0.15 * layer.drawn) for layer in layers))
                word = word if all(layer.word == word for layer in layers) else None
        return SceneObject(one.name, _CLASSES[one.name][1], count, pixels / self.owner.size, box, word)


def _with_cover(drawn: tuple[Array, Array | None], cover: Array | None) -> tuple[Array, Array | None]:
    return drawn[0], cover if drawn[1] is None else drawn[1]


def _index(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    at, total = rng.random() * sum(shares), 0.0
    for number, share in enumerate(shares):
        total += share
        if at < total:
            return number
    return len(shares) - 1


def _pick(rng: np.random.Generator, weights: Mapping[Choice, float]) -> Choice:
    return list(weights)[_index(rng, tuple(weights.values()))]


_CLASSES = {one.name: (number, one.kind) for number, one in enumerate(read_card("miniature").classes)}
