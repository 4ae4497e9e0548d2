"""How the winged animals of the miniature are drawn: birds and a duck looking right, a butterfly from above.

Each function paints one animal on a sketch: `colour` is its plumage or wings, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, between, blend, darker, lighter

INK = (0.15, 0.13, 0.16)
CREAM = (0.95, 0.91, 0.83)
BEAK = (0.93, 0.62, 0.22)


def draw_bird(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A songbird: on thin legs where the sketch is narrow, else in flight with its wings spread."""
    a, b, c, d = rng.random(4).tolist()
    belly = ((0.90, 0.52, 0.30), CREAM, lighter(colour, 0.5))[int(a * 3)]
    wing = darker(colour, 0.35)
    beak = BEAK if b < 0.6 else INK
    if sketch.aspect < 1.25:
        _bird_perched(sketch, colour, belly, wing, beak, c)
    else:
        _bird_flying(sketch, colour, belly, wing, beak, c, d)


def _bird_perched(sketch: Sketch, colour: Colour, belly: Colour, wing: Colour, beak: Colour, chance: float) -> None:
    half = sketch.half
    x, y = half - 0.38, between(0.7, 0.74, chance)
    sketch.lines(
        [(-0.04, 0.25, -0.06, 0.03), (0.08, 0.25, 0.06, 0.03), (-0.06, 0.03, 0.0, 0.03), (0.06, 0.03, 0.12, 0.03)],
        0.045,
        darker(BEAK, 0.4),
    )
    sketch.line((-0.12, 0.4), (-half + 0.07, between(0.24, 0.5, chance)), 0.2, wing, thin=0.1)
    sketch.ellipse(-0.02, 0.44, 0.34, 0.25, colour, angle=0.5)
    sketch.ellipse(0.09, 0.42, 0.2, 0.2, belly, angle=0.7, shade=0.15)
    sketch.polygon([(x + 0.14, y + 0.07), (x + 0.13, y - 0.06), (half - 0.04, y - 0.02)], beak, shade=0.1)
    sketch.ellipse(x, y, 0.2, 0.19, colour)
    sketch.ellipse(x + 0.08, y + 0.04, 0.04, 0.045, INK, shade=0.0)
    sketch.ellipse(-0.13, 0.43, 0.27, 0.13, wing, angle=0.55, shade=0.2)
    sketch.line((-0.28, 0.33), (-0.1, 0.44), 0.03, lighter(wing, 0.4))


def _bird_flying(
    sketch: Sketch, colour: Colour, belly: Colour, wing: Colour, beak: Colour, chance: float, other: float
) -> None:
    half, y = sketch.half, 0.26
    beat, sweep = between(0.25, 0.3, chance), between(0.3, 0.75, other)
    sketch.ellipse(0.2 - 0.1 * sweep, 0.59, beat + 0.04, 0.1, darker(wing, 0.3), angle=1.45 + 0.5 * sweep, shade=0.1)
    sketch.polygon([(-0.3, y + 0.05), (-half + 0.04, y + 0.16), (-half + 0.08, y - 0.06)], wing, shade=0.1)
    sketch.ellipse(-0.02, y, 0.42, 0.17, colour, angle=0.12)
    sketch.ellipse(0.06, y - 0.07, 0.28, 0.09, belly, angle=0.15, shade=0.1)
    x = half - 0.26
    sketch.polygon([(x + 0.1, y + 0.13), (x + 0.1, y + 0.01), (half - 0.03, y + 0.06)], beak, shade=0.1)
    sketch.ellipse(x, y + 0.08, 0.16, 0.15, colour)
    sketch.ellipse(x + 0.06, y + 0.11, 0.035, 0.04, INK, shade=0.0)
    tilt = 1.7 + 0.6 * sweep
    sketch.ellipse(-0.02 - 0.2 * sweep, 0.59, beat + 0.07, 0.14, wing, angle=tilt, shade=0.2)
    sketch.ellipse(0.0 - 0.13 * sweep, 0.5, beat - 0.03, 0.085, lighter(wing, 0.25), angle=tilt, shade=0.1)


def draw_duck(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A duck afloat: flat bill, round head on an upright neck, upturned tail; drakes wear a ring about the neck."""
    a, b, c = rng.random(3).tolist()
    half = sketch.half
    drake = a < 0.45
    head = (0.18, 0.42, 0.32) if drake else colour
    x, y = half - 0.4, between(0.74, 0.79, b)
    sketch.polygon(
        [(-half + 0.22, 0.12), (-half + 0.04, between(0.5, 0.58, c)), (-half + 0.44, 0.4)],
        darker(colour, 0.2),
        shade=0.15,
    )
    sketch.line((x - 0.04, 0.34), (x, y), 0.26, head, thin=0.2)
    if drake:
        sketch.line((x - 0.13, 0.5), (x + 0.1, 0.48), 0.06, CREAM)
    sketch.ellipse(
        0.0,
        0.24,
        half - 0.08,
        0.25,
        blend(colour, (0.50, 0.33, 0.22), 0.5) if drake else colour,
        above=0.02,
        grain=0.03,
    )
    sketch.ellipse(-0.06, 0.29, 0.3, 0.14, darker(colour, 0.22) if c < 0.6 else lighter(colour, 0.35), angle=-0.18)
    sketch.line((-0.24, 0.3), (0.02, 0.23), 0.035, darker(colour, 0.5))
    sketch.box(x + 0.1, y - 0.08, half - 0.03, y + 0.0, BEAK, rounding=0.04, shade=0.2)
    sketch.ellipse(x, y, 0.19, 0.18, head)
    sketch.ellipse(x + 0.07, y + 0.05, 0.035, 0.04, INK, shade=0.0)


def draw_butterfly(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A butterfly from above: two pairs of bordered, spotted wings on a dark body with feelers."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    edge = darker(colour, 0.75) if a < 0.65 else lighter(colour, 0.6)
    spot = CREAM if b < 0.5 else ((0.94, 0.76, 0.36) if b < 0.75 else (0.36, 0.52, 0.72))
    wide, tall = half * between(0.46, 0.5, c), between(0.24, 0.28, d)
    for side in (-1, 1):
        x, lower = side * (half - wide - 0.02), side * half * 0.45
        tilt = side * 0.5
        sketch.ellipse(lower, 0.28, wide * 0.72, 0.23, edge, angle=-tilt, shade=0.0)
        sketch.ellipse(x, 0.64, wide, tall, edge, angle=tilt, shade=0.0)
        sketch.ellipse(lower * 0.93, 0.3, wide * 0.55, 0.16, darker(colour, 0.12), angle=-tilt)
        sketch.ellipse(x * 0.93, 0.63, wide * 0.78, tall * 0.72, colour, angle=tilt)
    far = half - wide * 0.85
    sketch.dots(
        [
            (-far, 0.72, 0.06, 0.06),
            (far, 0.72, 0.06, 0.06),
            (-half * 0.48, 0.26, 0.065, 0.065),
            (half * 0.48, 0.26, 0.065, 0.065),
        ],
        spot,
    )
    sketch.lines([(0.0, 0.74, -0.14, 0.95), (0.0, 0.74, 0.14, 0.95)], 0.035, INK)
    sketch.lines([(0.0, 0.22, 0.0, 0.74)], 0.08, INK)
