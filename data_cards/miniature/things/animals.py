"""How the four-legged animals of the miniature are drawn, seen from the side and looking right.

Each function paints one animal on a sketch: `colour` is its coat, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, between, darker, lighter

INK = (0.15, 0.13, 0.16)
CREAM = (0.95, 0.91, 0.83)
PINK = (0.90, 0.66, 0.64)


def draw_dog(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A dog: hanging ear, long muzzle with a black nose, a lively tail, often a collar or patches.

    Seated where the sketch is narrow, else standing.
    """
    a, b, c, d, e, f, g = rng.random(7).tolist()
    x, y = sketch.half - 0.42, between(0.71, 0.76, b)
    patch = None if e > 0.4 else (CREAM if f < 0.6 else darker(colour, 0.45))
    collar = None if g > 0.5 else ((0.78, 0.27, 0.24) if f < 0.5 else (0.27, 0.46, 0.70))
    if sketch.aspect < 1.0:
        _dog_seated(sketch, colour, patch, x, c)
    else:
        _dog_standing(sketch, colour, patch, x, between(-0.07, 0.07, c), between(0.0, 0.16, d))
    sketch.line((x - 0.06, 0.5), (x, y), 0.25, colour, thin=0.2)
    if collar:
        sketch.line((x - 0.08, 0.62), (x + 0.06, 0.53), 0.06, collar)
    if g > 0.75:
        sketch.line((x + 0.22, y - 0.1), (x + 0.24, y - 0.18), 0.07, PINK)
    muzzle = lighter(colour, 0.35) if a < 0.5 else colour
    sketch.box(x, y - 0.14, x + 0.35, y + 0.03, muzzle, rounding=0.07, shade=0.15)
    sketch.ellipse(x, y + 0.02, 0.19, 0.18, colour)
    sketch.dots([(x + 0.33, y, 0.055, 0.05), (x + 0.08, y + 0.06, 0.037, 0.04)], INK)
    ear = darker(colour, 0.45) if a < 0.7 else lighter(colour, 0.4)
    sketch.ellipse(x - 0.11, y - 0.04, 0.085, 0.18, ear, angle=-0.15)


def _dog_standing(sketch: Sketch, colour: Colour, patch: Colour | None, x: float, step: float, tail: float) -> None:
    back, chest, end = -sketch.half + 0.27, x - 0.04, -sketch.half + 0.09
    sketch.lines(
        [(back + 0.08, 0.4, back + 0.08 + step, 0.06), (chest - 0.12, 0.4, chest - 0.12 - step, 0.06)],
        0.12,
        darker(colour, 0.35),
    )
    sketch.lines([(back - 0.06, 0.5, end, 0.66), (end, 0.66, end - 0.03 + tail, 0.84)], 0.08, colour)
    sketch.box(back - 0.12, 0.3, chest + 0.1, 0.6, colour, rounding=0.14, shade=0.2, grain=0.03)
    if patch:
        sketch.dots(
            [(between(back, chest, tail * 5), 0.53, 0.15, 0.13), (chest + 0.08, 0.34, 0.1, 0.12)], patch, onto=True
        )
    sketch.lines([(back - 0.03, 0.4, back - 0.03 - step, 0.06), (chest, 0.4, chest + step, 0.06)], 0.13, colour)


def _dog_seated(sketch: Sketch, colour: Colour, patch: Colour | None, x: float, chance: float) -> None:
    hip = -sketch.half + 0.3
    tip = (-sketch.half + 0.07, between(0.16, 0.34, chance))
    sketch.lines([(hip - 0.05, 0.1, -sketch.half + 0.12, 0.1), (-sketch.half + 0.12, 0.1, *tip)], 0.08, colour)
    sketch.line((x + 0.05, 0.4), (x + 0.06, 0.06), 0.11, darker(colour, 0.35))
    sketch.line((hip + 0.04, 0.22), (x - 0.05, 0.5), 0.38, colour, thin=0.28, grain=0.03)
    if patch:
        sketch.dots([(x + 0.06, 0.42, 0.12, 0.14), (hip + 0.02, 0.42, 0.1, 0.12)], patch, onto=True)
    sketch.ellipse(hip, 0.2, 0.19, 0.18, colour, shade=0.2)
    sketch.lines(
        [(x - 0.05, 0.42, x - 0.04, 0.06), (hip + 0.06, 0.055, hip + 0.16, 0.055)], 0.11, lighter(colour, 0.08)
    )


def draw_cat(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A cat: pointed ears, round head, slender tail; seated where the sketch is narrow, else walking."""
    a, b, c, d = rng.random(4).tolist()
    stripes = darker(colour, 0.5) if a < 0.6 else None
    bib = b < 0.45
    eyes = (0.72, 0.78, 0.30) if c < 0.6 else (0.45, 0.70, 0.78)
    if sketch.aspect < 0.95:
        x = between(-0.04, 0.04, d)
        _cat_seated(sketch, colour, stripes, bib, x)
        _cat_head(sketch, colour, stripes, bib, eyes, x, 0.7)
    else:
        x = sketch.half - 0.28
        _cat_walking(sketch, colour, stripes, bib, x, d)
        _cat_head(sketch, colour, stripes, bib, eyes, x, 0.66)


def _cat_seated(sketch: Sketch, colour: Colour, stripes: Colour | None, bib: bool, x: float) -> None:
    half = sketch.half
    tip = darker(colour, 0.2) if stripes is None else stripes
    sketch.lines(
        [(0.1, 0.09, half - 0.1, 0.09), (half - 0.1, 0.09, half - 0.07, 0.28), (half - 0.07, 0.28, half - 0.13, 0.38)],
        0.09,
        tip,
    )
    sketch.ellipse(x, 0.2, 0.27, 0.2, colour, shade=0.2)
    sketch.ellipse(x, 0.34, 0.19, 0.3, colour, shade=0.2)
    if stripes:
        sketch.lines(
            [
                (x - 0.28, 0.34, x - 0.12, 0.3),
                (x - 0.3, 0.22, x - 0.14, 0.19),
                (x + 0.28, 0.34, x + 0.12, 0.3),
                (x + 0.3, 0.22, x + 0.14, 0.19),
            ],
            0.045,
            stripes,
            onto=True,
        )
    if bib:
        sketch.ellipse(x, 0.36, 0.1, 0.17, CREAM, shade=0.1)
    sketch.lines([(x - 0.08, 0.3, x - 0.08, 0.06), (x + 0.08, 0.3, x + 0.08, 0.06)], 0.11, lighter(colour, 0.12))


def _cat_walking(sketch: Sketch, colour: Colour, stripes: Colour | None, bib: bool, x: float, chance: float) -> None:
    back, step = -sketch.half + 0.3, between(-0.08, 0.08, chance)
    sketch.lines(
        [(back + 0.08, 0.3, back + 0.1 + step, 0.05), (x - 0.16, 0.3, x - 0.14 - step, 0.05)],
        0.09,
        darker(colour, 0.35),
    )
    sketch.lines(
        [(back, 0.44, back - 0.17, 0.52), (back - 0.17, 0.52, back - 0.2, 0.75), (back - 0.2, 0.75, back - 0.1, 0.9)],
        0.075,
        colour,
    )
    sketch.box(back - 0.1, 0.27, x + 0.05, 0.54, colour, rounding=0.13, shade=0.2)
    if stripes:
        sketch.lines(
            [(s, 0.56, s - 0.02, 0.38) for s in (back, back + 0.12, back + 0.24, back + 0.36)],
            0.045,
            stripes,
            onto=True,
        )
    if bib:
        sketch.ellipse(x - 0.02, 0.36, 0.09, 0.14, CREAM, shade=0.1, onto=True)
    sketch.lines(
        [(back - 0.03, 0.35, back - 0.05 - step, 0.05), (x - 0.04, 0.35, x - 0.02 + step, 0.05)], 0.095, colour
    )


def _cat_head(
    sketch: Sketch, colour: Colour, stripes: Colour | None, bib: bool, eyes: Colour, x: float, y: float
) -> None:
    sketch.polygon([(x - 0.21, y + 0.02), (x - 0.19, y + 0.27), (x - 0.02, y + 0.14)], colour, shade=0.1)
    sketch.polygon([(x + 0.21, y + 0.02), (x + 0.19, y + 0.27), (x + 0.02, y + 0.14)], colour, shade=0.1)
    sketch.dots([(x - 0.15, y + 0.14, 0.035, 0.06), (x + 0.15, y + 0.14, 0.035, 0.06)], PINK)
    sketch.ellipse(x, y, 0.23, 0.19, colour, shade=0.2)
    if stripes:
        sketch.lines(
            [(x - 0.06, y + 0.2, x - 0.05, y + 0.1), (x + 0.06, y + 0.2, x + 0.05, y + 0.1)], 0.04, stripes, onto=True
        )
    if bib:
        sketch.ellipse(x, y - 0.09, 0.12, 0.08, CREAM, shade=0.0)
    sketch.dots([(x - 0.09, y + 0.02, 0.05, 0.05), (x + 0.09, y + 0.02, 0.05, 0.05)], eyes)
    sketch.dots([(x - 0.085, y + 0.02, 0.022, 0.045), (x + 0.085, y + 0.02, 0.022, 0.045)], INK)
    sketch.ellipse(x, y - 0.06, 0.035, 0.025, PINK, shade=0.0)


def draw_horse(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A horse: high neck with a mane, long face, long legs and tail; at times a saddle or white stockings."""
    a, b, c, d, e = rng.random(5).tolist()
    half, far = sketch.half, darker(colour, 0.35)
    mane = darker(colour, 0.6) if a < 0.65 and sum(colour) > 0.9 else lighter(colour, 0.5)
    back, chest = -half + 0.27, half - 0.42
    step = between(-0.08, 0.1, b)
    sketch.lines(
        [(back + 0.08, 0.45, back + 0.1 + step, 0.05), (chest - 0.05, 0.45, chest - 0.03 - step, 0.05)], 0.085, far
    )
    sway = between(0.0, 0.08, c)
    sketch.lines([(back - 0.1, 0.6, -half + 0.08, 0.5), (-half + 0.08, 0.5, -half + 0.065 + sway, 0.24)], 0.09, mane)
    sketch.ellipse((back + chest) / 2, 0.53, (chest - back) / 2 + 0.15, 0.17, colour, shade=0.22)
    sketch.ellipse(back + 0.02, 0.54, 0.18, 0.175, colour, shade=0.15)
    front = chest + max(step, -0.03) * 1.3
    sketch.lines([(back - 0.05, 0.48, back - 0.05 - step, 0.06), (chest + 0.04, 0.48, front + 0.04, 0.06)], 0.1, colour)
    sock = CREAM if d < 0.35 else INK
    sketch.lines(
        [
            (back - 0.05 - step, 0.04, back - 0.05 - step, 0.05 if d >= 0.35 else 0.12),
            (front + 0.04, 0.04, front + 0.04, 0.05 if d >= 0.35 else 0.12),
        ],
        0.085,
        sock,
    )
    x, y = half - 0.24, between(0.78, 0.82, c)
    sketch.line((chest, 0.55), (x - 0.02, y), 0.29, colour, thin=0.17)
    sketch.lines([(chest - 0.1, 0.68, x - 0.1, y + 0.02), (x - 0.1, y + 0.02, x - 0.02, y + 0.1)], 0.09, mane)
    sketch.polygon([(x - 0.04, y + 0.06), (x - 0.02, y + 0.165), (x + 0.04, y + 0.07)], colour, shade=0.0)
    sketch.line((x, y + 0.01), (half - 0.09, y - 0.16), 0.19, colour, thin=0.13)
    sketch.ellipse(half - 0.08, y - 0.17, 0.06, 0.055, darker(colour, 0.35) if d < 0.7 else CREAM, shade=0.0)
    sketch.ellipse(x + 0.04, y + 0.01, 0.026, 0.03, INK, shade=0.0)
    if e < 0.3:
        cloth = ((0.72, 0.28, 0.26), (0.30, 0.42, 0.62), (0.86, 0.72, 0.45))[int(e * 10)]
        mid = (back + chest) / 2
        sketch.box(mid - 0.1, 0.5, mid + 0.12, 0.72, cloth, rounding=0.04)
        sketch.line((mid - 0.09, 0.7), (mid + 0.1, 0.7), 0.06, (0.36, 0.22, 0.14))


def draw_cow(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A cow: a deep body with patches, horns, a broad pink muzzle, an udder; legs short for its bulk."""
    a, b, c, d, e, f = rng.random(6).tolist()
    half = sketch.half
    patch = CREAM if sum(colour) < 1.9 else ((0.20, 0.18, 0.20) if a < 0.6 else (0.50, 0.30, 0.19))
    far = darker(colour, 0.35)
    back, chest = -half + 0.22, half - 0.42
    step = between(-0.05, 0.05, b)
    sketch.lines(
        [(back + 0.06, 0.4, back + 0.07 + step, 0.06), (chest - 0.1, 0.4, chest - 0.1 - step, 0.06)], 0.11, far
    )
    sketch.lines([(back - 0.12, 0.72, -half + 0.06, 0.62), (-half + 0.06, 0.62, -half + 0.06, 0.4)], 0.05, colour)
    sketch.ellipse(-half + 0.065, 0.34, 0.05, 0.08, darker(patch if a < 0.5 else colour, 0.3), shade=0.0)
    sketch.ellipse(back + 0.2, 0.3, 0.11, 0.09, PINK, shade=0.1)
    sketch.box(back - 0.13, 0.32, chest + 0.12, 0.8, colour, rounding=0.14, shade=0.2)
    if c < 0.85:
        middle = between(back + 0.12, chest - 0.2, d)
        sketch.dots(
            [
                (back - 0.06, 0.66, 0.14, 0.17),
                (middle, 0.74, 0.16, 0.13),
                (middle + 0.24, 0.46, 0.12, 0.11),
                (chest + 0.1, 0.74, 0.1, 0.15),
                (middle - 0.14, 0.38, 0.1, 0.08),
            ],
            patch,
            onto=True,
        )
    sketch.lines(
        [(back - 0.05, 0.4, back - 0.05 - step, 0.07), (chest + 0.03, 0.4, chest + 0.03 + step, 0.07)], 0.125, colour
    )
    sketch.lines(
        [
            (back - 0.05 - step, 0.045, back - 0.04 - step, 0.045),
            (chest + 0.03 + step, 0.045, chest + 0.04 + step, 0.045),
        ],
        0.09,
        INK,
    )
    x, y = half - 0.27, between(0.68, 0.76, e)
    sketch.line((chest + 0.02, 0.62), (x, y), 0.34, colour, thin=0.24)
    sketch.lines(
        [(x - 0.09, y + 0.13, x - 0.12, y + 0.21), (x + 0.06, y + 0.14, x + 0.1, y + 0.21)],
        0.06,
        (0.90, 0.84, 0.68),
        thin=0.035,
    )
    sketch.ellipse(x - 0.15, y + 0.07, 0.1, 0.05, darker(colour, 0.25), angle=-0.3)
    sketch.box(x - 0.13, y - 0.16, x + 0.13, y + 0.14, patch if f < 0.5 else colour, rounding=0.1, shade=0.15)
    if f < 0.5:
        sketch.box(x - 0.02, y - 0.1, x + 0.06, y + 0.14, colour, rounding=0.03, shade=0.0)
    sketch.ellipse(x + 0.08, y - 0.13, 0.17, 0.1, PINK, shade=0.12)
    nostrils, eyes = (x + 0.05, x + 0.16), (x - 0.05, x + 0.09)
    sketch.dots([*((at, y - 0.12, 0.02, 0.025) for at in nostrils), *((at, y + 0.04, 0.03, 0.035) for at in eyes)], INK)


def draw_sheep(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A sheep: a cloud of curly wool on thin legs, a smooth face and flat ears; some curl their horns."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    face = (0.22, 0.20, 0.22) if a < 0.6 else (0.80, 0.70, 0.60)
    legs = darker(face, 0.2)
    left, right = -half + 0.25, half - 0.42
    step = between(-0.04, 0.04, b)
    sketch.lines(
        [
            (left + 0.06, 0.3, left + 0.06 + step, 0.05),
            (left + 0.2, 0.3, left + 0.2 - step, 0.05),
            (right - 0.06, 0.3, right - 0.06 + step, 0.05),
            (right + 0.08, 0.3, right + 0.08 - step, 0.05),
        ],
        0.075,
        legs,
    )
    middle, wide = (left + right) / 2, (right - left) / 2 + 0.16
    curls = 0.1 * rng.random(11) - 0.05
    angles = np.linspace(0, 2 * np.pi, 11, endpoint=False) + curls
    ring = np.stack([middle + (wide - 0.06) * np.cos(angles), 0.52 + 0.19 * np.sin(angles)], 1).tolist()
    sketch.dots([(x, y, 0.13, 0.13) for x, y in ring], darker(colour, 0.12), shade=0.15, grain=0.05)
    sketch.ellipse(middle, 0.52, wide, 0.24, colour, shade=0.2, grain=0.06)
    sketch.dots(
        [(x * 0.6 + middle * 0.4, y * 0.6 + 0.52 * 0.4 + 0.02, 0.08, 0.07) for x, y in ring[::2]],
        lighter(colour, 0.22 if sum(colour) < 2.2 else 0.5),
        grain=0.05,
        shade=0.1,
    )
    x, y = half - 0.24, between(0.56, 0.72, c)
    sketch.ellipse(x - 0.15, y + 0.04, 0.12, 0.055, legs, angle=0.25)
    sketch.ellipse(x + 0.05, y - 0.04, 0.12, 0.18, face, angle=0.35, shade=0.2)
    sketch.dots([(x - 0.09, y + 0.12, 0.1, 0.09), (x + 0.03, y + 0.15, 0.09, 0.08)], colour, shade=0.1)
    if d < 0.3:
        sketch.ring(x - 0.1, y + 0.04, 0.075, 0.055, (0.78, 0.66, 0.46))
    sketch.ellipse(x + 0.08, y + 0.02, 0.028, 0.028, INK if a >= 0.6 else CREAM, shade=0.0)
