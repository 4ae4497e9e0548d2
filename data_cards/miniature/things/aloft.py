"""How what is seen in the sky of the miniature is drawn: an airplane, a balloon, a kite, the moon.

Each function paints one thing on a sketch: `colour` is what its colour word says, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, apart, between, blend, darker, lighter

WHITE = (0.94, 0.93, 0.90)
CREAM = (0.95, 0.91, 0.83)


def draw_airplane(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """An airplane: a long tube with a tail fin, swept wings and a row of windows; `colour` is fin's and wings'."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    hull = WHITE if a < 0.6 else lighter(colour, 0.5)
    y = 0.47
    fat = between(0.14, 0.17, b)
    sketch.polygon(
        [(-0.02, y), (0.28, y), (between(-0.16, 0.0, c), 0.88), (between(-0.28, -0.12, c), 0.88)],
        darker(colour, 0.35),
        shade=0.1,
    )
    sketch.polygon(
        [(-half + 0.04, 0.94), (-half + 0.2, 0.94), (-half + 0.5, y + 0.08), (-half + 0.14, y + 0.08)],
        colour,
        shade=0.25,
    )
    sketch.line((-half + 0.16, y + 0.05), (half - 0.26, y), 0.17, hull, thin=fat * 2)
    sketch.ellipse(half - 0.3, y - 0.005, 0.27, fat, hull, shade=0.0)
    sketch.ellipse(0.0, y - fat * 0.9, half, fat * 0.75, darker(hull, 0.22), shade=0.0, onto=True)
    if d < 0.6:
        sketch.line((-half + 0.15, y + 0.0), (half - 0.06, y - 0.04), 0.035, colour, onto=True)
    count = 6 + int(c * 3)
    step = (half * 1.3 - 0.2) / count
    sketch.dots([(-half * 0.6 + step * i, y + 0.06, 0.03, 0.035) for i in range(count)], (0.30, 0.42, 0.54))
    sketch.polygon(
        [(half - 0.27, y + 0.12), (half - 0.15, y + 0.1), (half - 0.1, y + 0.04), (half - 0.27, y + 0.04)],
        (0.28, 0.40, 0.52),
        shade=0.0,
    )
    sketch.polygon(
        [(-half + 0.1, y + 0.11), (-half + 0.36, y + 0.09), (-half + 0.14, y - 0.06), (-half + 0.03, y - 0.05)],
        darker(colour, 0.1),
        shade=0.1,
    )
    tip = between(-0.46, -0.3, c)
    sketch.box(tip + 0.22, 0.2, tip + 0.46, 0.32, darker(hull, 0.35), rounding=0.05, shade=0.2)
    sketch.polygon([(-0.06, y - 0.03), (0.32, y - 0.05), (tip + 0.14, 0.05), (tip, 0.06)], colour, shade=0.3)


def draw_balloon(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A hot air balloon: gores or rings in two colours, ropes, a wicker basket."""
    a, b, c = rng.random(3).tolist()
    half = sketch.half
    second = apart(colour, ((0.95, 0.83, 0.50), WHITE, (0.36, 0.54, 0.70), (0.86, 0.46, 0.36)), a)
    size = half - 0.025
    middle = 0.975 - size
    bottom = 0.24
    sketch.lines([(-size * 0.28, bottom, -0.08, 0.12), (size * 0.28, bottom, 0.08, 0.12)], 0.025, (0.45, 0.36, 0.28))
    angle = 0.6
    left, low = size * np.cos(angle), middle - size * np.sin(angle)
    sketch.polygon([(-left, low), (left, low), (size * 0.28, bottom), (-size * 0.28, bottom)], colour, shade=0.2)
    sketch.ellipse(0.0, middle, size, size, colour, shade=0.3)
    if b < 0.6:
        sketch.ellipse(0.0, middle, size * 0.68, size, second, shade=0.25)
        sketch.polygon(
            [(-left * 0.62, low), (left * 0.62, low), (size * 0.17, bottom), (-size * 0.17, bottom)], second, shade=0.1
        )
        sketch.ellipse(0.0, middle, size * 0.3, size, colour, shade=0.25)
        sketch.polygon(
            [(-left * 0.28, low), (left * 0.28, low), (size * 0.08, bottom), (-size * 0.08, bottom)], colour, shade=0.1
        )
    elif b < 0.85:
        sketch.boxes(
            [
                (-half, middle - 0.06, half, middle + 0.08),
                (-half, middle + 0.2, half, middle + 0.26),
                (-half, middle - 0.24, half, middle - 0.17),
            ],
            second,
            shade=0.2,
            onto=True,
        )
    else:
        dip = middle - between(0.1, 0.16, c)
        sketch.lines([(-half, middle + 0.1, 0.0, dip), (0.0, dip, half, middle + 0.1)], 0.13, second, onto=True)
    sketch.box(-0.1, 0.01, 0.1, 0.14, (0.62, 0.43, 0.26), rounding=0.03, shade=0.3)
    sketch.line((-0.1, 0.135), (0.1, 0.135), 0.035, (0.44, 0.29, 0.18))


def draw_kite(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A kite: a diamond in two or four colours on crossed spars, with a tail of bows."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    second = apart(colour, ((0.95, 0.80, 0.40), (0.36, 0.55, 0.74), CREAM, (0.84, 0.40, 0.36)), a)
    x, arms = between(-0.06, 0.06, b), between(0.66, 0.74, c)
    wide, low = half - 0.03, 0.3
    points = [(x + 0.1, low - 0.1), (x - 0.08, low - 0.17), (x + 0.06, 0.05)]
    sketch.lines([(x, low, *points[0]), (*points[0], *points[1]), (*points[1], *points[2])], 0.035, darker(colour, 0.3))
    sketch.polygon([(x, 0.97), (wide, arms), (x, low), (-wide, arms)], colour, shade=0.2)
    sketch.polygon([(x, 0.97), (wide, arms), (x, arms)], second, shade=0.1)
    if d < 0.6:
        sketch.polygon([(x, low), (-wide, arms), (x, arms)], second, shade=0.1)
    else:
        sketch.polygon([(x, low), (wide, arms), (x, arms)], darker(second, 0.2), shade=0.1)
    sketch.lines([(x, 0.95, x, low + 0.02), (-wide + 0.03, arms, wide - 0.03, arms)], 0.028, darker(colour, 0.6))
    sketch.dots([(*points[0], 0.065, 0.045), (*points[1], 0.065, 0.045), (*points[2], 0.06, 0.042)], second)
    sketch.dots([(*points[0], 0.02, 0.03), (*points[1], 0.02, 0.03)], darker(colour, 0.4))


def draw_moon(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """The moon: a full disc with seas, or a crescent."""
    a, b, c = rng.random(3).tolist()
    size = min(sketch.half, 0.5) - 0.03
    if a < 0.55:
        sketch.ellipse(0.0, 0.5, size, size, colour, shade=0.12)
        sea = blend(colour, (0.56, 0.55, 0.60), 0.4)
        x, y = between(-0.05, 0.05, b), between(-0.05, 0.05, c)
        sketch.dots(
            [
                (x - 0.16, 0.62 + y, 0.12, 0.1),
                (x + 0.12, 0.66 + y, 0.08, 0.07),
                (x + 0.17, 0.42 + y, 0.11, 0.12),
                (x - 0.08, 0.34 + y, 0.08, 0.06),
                (x - 0.24, 0.44 + y, 0.05, 0.05),
            ],
            sea,
            onto=True,
        )
        return
    away = between(0.22, 0.32, b)
    lift = between(0.04, 0.14, c)
    disc = np.sqrt(np.square(sketch.x) + np.square(sketch.y - 0.5)) - size
    shadow = size * 0.9 - np.sqrt(np.square(sketch.x - away) + np.square(sketch.y - 0.5 - lift))
    sketch.shape(np.maximum(disc, shadow), colour, shade=0.1)
