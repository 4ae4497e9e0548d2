"""How what stands or hangs in a room of the miniature is drawn: furniture, a lamp, a television, a clock.

Each function paints one thing on a sketch: `colour` is what its colour word says, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, apart, between, blend, darker, lighter

INK = (0.15, 0.13, 0.16)
CREAM = (0.96, 0.93, 0.86)
WOOD = (0.56, 0.38, 0.25)
BRASS = (0.80, 0.64, 0.34)
STEEL = (0.62, 0.63, 0.66)


def draw_chair(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A chair in three-quarter view: upright back of slats, rungs or a pad, a seat, four legs."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    frame = colour if a < 0.6 else WOOD
    left, right = -half + 0.08, half - 0.08
    seat = between(0.42, 0.47, b)
    back = left + 0.05
    wide = right - left
    sketch.lines(
        [(back + 0.1, seat, back + 0.1, 0.1), (right - 0.16, seat, right - 0.15, 0.1)], 0.07, darker(frame, 0.45)
    )
    sketch.lines(
        [(left + 0.02, seat, left + 0.02, 0.93), (left + wide * 0.68, seat, left + wide * 0.68, 0.93)], 0.075, frame
    )
    inner, outer = left + 0.02, left + wide * 0.68
    if c < 0.35 or a >= 0.6:
        sketch.box(inner, 0.56, outer, 0.95, colour, rounding=0.06, shade=0.2)
    elif c < 0.7:
        sketch.boxes(
            [(inner, 0.84, outer, 0.96), (inner, 0.68, outer, 0.77), (inner, 0.54, outer, 0.61)], frame, shade=0.1
        )
    else:
        bars = [inner + (outer - inner) * t for t in (0.25, 0.5, 0.75)]
        sketch.boxes([(x - 0.025, seat, x + 0.025, 0.9) for x in bars], darker(frame, 0.1))
        sketch.box(inner - 0.03, 0.84, outer + 0.03, 0.97, frame, rounding=0.05, shade=0.2)
    sketch.lines(
        [(left + 0.02, seat - 0.04, left + 0.0, 0.04), (right - 0.04, seat - 0.06, right - 0.02, 0.04)], 0.08, frame
    )
    sketch.polygon(
        [
            (left - 0.03, seat - 0.07),
            (right + 0.03, seat - 0.07),
            (left + wide * 0.74, seat + 0.08),
            (left, seat + 0.08),
        ],
        colour if d < 0.6 else lighter(colour, 0.3),
        shade=0.3,
    )
    sketch.box(left - 0.03, seat - 0.13, right + 0.03, seat - 0.06, darker(frame, 0.25), rounding=0.02, shade=0.0)


def draw_table(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A table: a wide top seen a little from above, legs or a pedestal, often with a vase, a bowl or cups."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    set_out = a < 0.7
    top = between(0.55, 0.61, b) if set_out else between(0.8, 0.85, b)
    back, far = half - between(0.16, 0.26, c), top + 0.13
    dark = darker(colour, 0.4)
    if d < 0.72:
        sketch.lines([(-back + 0.12, top, -back + 0.12, 0.12), (back - 0.12, top, back - 0.12, 0.12)], 0.07, dark)
        sketch.lines(
            [(-half + 0.11, top - 0.04, -half + 0.11, 0.04), (half - 0.11, top - 0.04, half - 0.11, 0.04)],
            0.1,
            darker(colour, 0.12),
        )
    else:
        sketch.box(-0.07, 0.08, 0.07, top, darker(colour, 0.2), shade=0.3)
        sketch.ellipse(0.0, 0.02, half * 0.5, 0.11, darker(colour, 0.2), above=0.01)
    sketch.box(-half + 0.06, top - 0.14, half - 0.06, top, darker(colour, 0.3), shade=0.1)
    sketch.polygon(
        [(-half + 0.02, top), (half - 0.02, top), (back, far), (-back, far)],
        lighter(colour, 0.12),
        shade=0.2,
    )
    sketch.box(-half + 0.02, top - 0.05, half - 0.02, top + 0.01, colour, rounding=0.02, shade=0.15)
    if set_out:
        _table_setting(sketch, a / 0.7, b, top + 0.06)


def _table_setting(sketch: Sketch, which: float, chance: float, low: float) -> None:
    x = between(-0.3, 0.3, chance) * sketch.half
    if which < 0.4:
        sketch.lines(
            [
                (x, low + 0.1, x - 0.09, low + 0.24),
                (x, low + 0.1, x + 0.02, low + 0.27),
                (x, low + 0.1, x + 0.1, low + 0.23),
            ],
            0.03,
            (0.40, 0.56, 0.34),
        )
        petals = ((0.85, 0.42, 0.42), (0.95, 0.78, 0.40), (0.72, 0.55, 0.74))[int(chance * 3)]
        sketch.dots(
            [
                (x - 0.1, low + 0.24, 0.06, 0.055),
                (x + 0.02, low + 0.27, 0.06, 0.05),
                (x + 0.11, low + 0.23, 0.06, 0.055),
            ],
            petals,
        )
        sketch.ellipse(x, low + 0.06, 0.07, 0.085, (0.52, 0.64, 0.72))
    elif which < 0.7:
        sketch.dots(
            [
                (x - 0.09, low + 0.12, 0.07, 0.07),
                (x + 0.02, low + 0.15, 0.07, 0.07),
                (x + 0.11, low + 0.12, 0.07, 0.07),
            ],
            (0.88, 0.50, 0.26) if chance < 0.5 else (0.78, 0.30, 0.26),
            shade=0.2,
        )
        sketch.polygon(
            [(x - 0.2, low + 0.12), (x + 0.2, low + 0.12), (x + 0.1, low), (x - 0.1, low)], CREAM, shade=0.25
        )
    else:
        sketch.boxes([(x - 0.22, low, x - 0.1, low + 0.13), (x + 0.12, low, x + 0.24, low + 0.13)], CREAM, shade=0.2)
        sketch.ellipse(x, low + 0.09, 0.09, 0.1, (0.46, 0.58, 0.66))


def draw_lamp(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A floor lamp: a glowing shade with a dark rim on a thin stem with a round foot; or one that bends over."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    stem = BRASS if a < 0.5 else (INK if a < 0.75 else STEEL)
    glow = blend(colour, (1.0, 0.93, 0.68), 0.6)
    wide = half - 0.03
    if b < 0.7:
        low, neck = between(0.58, 0.66, c), wide * between(0.45, 0.75, d)
        sketch.line((0.0, 0.05), (0.0, low + 0.05), 0.065, stem)
        sketch.ellipse(0.0, 0.01, min(0.2, wide), 0.06, darker(stem, 0.2), above=0.0)
        sketch.polygon([(-wide, low), (wide, low), (neck, 0.97), (-neck, 0.97)], colour, shade=0.2)
        sketch.ellipse(0.0, low, wide * 0.62, 0.28, glow, shade=0.0, onto=True, above=low)
        sketch.boxes([(-wide, low, wide, low + 0.03)], darker(colour, 0.35))
        sketch.box(-neck, 0.945, neck, 0.97, darker(colour, 0.3), shade=0.0)
    else:
        x, foot = half - 0.19, -half + 0.15
        sketch.lines(
            [(foot, 0.05, foot, 0.72), (foot, 0.72, foot + 0.06, 0.9), (foot + 0.06, 0.9, x, 0.95)], 0.065, stem
        )
        sketch.ellipse(foot, 0.01, 0.13, 0.07, darker(stem, 0.2), above=0.0)
        sketch.ellipse(x, 0.72, 0.16, 0.22, colour, above=0.72, shade=0.25)
        sketch.ellipse(x, 0.72, 0.12, 0.06, (1.0, 0.93, 0.66), shade=0.0)


def draw_sofa(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A sofa: a broad back, rounded arms, seat cushions, scatter cushions, short feet."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    arm = between(0.19, 0.25, a)
    seats = 2 if sketch.aspect < 1.95 else 3
    shade = darker(colour, 0.22)
    sketch.boxes([(-half + 0.1, 0.0, -half + 0.2, 0.14), (half - 0.2, 0.0, half - 0.1, 0.14)], darker(WOOD, 0.3))
    sketch.box(-half + 0.08, 0.2, half - 0.08, between(0.9, 0.96, b), colour, rounding=0.13, shade=0.2)
    sketch.box(-half + 0.1, 0.1, half - 0.1, 0.34, darker(colour, 0.32), rounding=0.02, shade=0.1)
    left, right = -half + arm + 0.02, half - arm - 0.02
    pitch = (right - left) / seats
    for seat in range(seats):
        sketch.box(
            left + pitch * seat + 0.01,
            0.3,
            left + pitch * (seat + 1) - 0.01,
            0.5,
            lighter(colour, 0.14),
            rounding=0.07,
            shade=0.25,
        )
    if seats > 1:
        sketch.lines([(left + pitch * i, 0.52, left + pitch * i, 0.86) for i in range(1, seats)], 0.025, shade)
    pillow = apart(colour, ((0.92, 0.78, 0.45), (0.40, 0.56, 0.68), CREAM, (0.80, 0.42, 0.38)), c)
    if d < 0.7:
        sketch.box(left + 0.02, 0.47, left + 0.29, 0.73, pillow, rounding=0.06, shade=0.25)
    if d > 0.35:
        sketch.box(right - 0.29, 0.47, right - 0.02, 0.73, darker(pillow, 0.12), rounding=0.06, shade=0.25)
    sketch.box(-half + 0.02, 0.09, -half + arm, 0.64, colour, rounding=0.1, shade=0.3)
    sketch.box(half - arm, 0.09, half - 0.02, 0.64, darker(colour, 0.08), rounding=0.1, shade=0.3)


def draw_television(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A television: a flat screen on a foot, or an old set with knobs and aerials; some show a picture."""
    b, c, d = rng.random(3).tolist()
    half = sketch.half
    if sketch.aspect < 1.3:
        top = 0.74
        sketch.lines([(0.0, top, -0.24, 0.95), (0.0, top, 0.24, 0.95)], 0.035, STEEL)
        sketch.lines(
            [(-half * 0.6, 0.12, -half * 0.7, 0.03), (half * 0.6, 0.12, half * 0.7, 0.03)], 0.06, darker(colour, 0.4)
        )
        sketch.box(-half + 0.03, 0.08, half - 0.03, top + 0.02, colour, rounding=0.08, shade=0.25)
        left, low, right, high = -half + 0.1, 0.16, half - 0.29, top - 0.06
        sketch.dots([(half - 0.16, 0.58, 0.055, 0.055), (half - 0.16, 0.42, 0.055, 0.055)], lighter(colour, 0.55))
        sketch.boxes([(half - 0.22, y, half - 0.1, y + 0.025) for y in (0.18, 0.23, 0.28)], darker(colour, 0.5))
    else:
        sketch.box(-0.06, 0.04, 0.06, 0.2, darker(colour, 0.3), shade=0.0)
        sketch.box(-half * 0.4, 0.0, half * 0.4, 0.07, darker(colour, 0.2), rounding=0.02, shade=0.2)
        sketch.box(-half + 0.02, 0.14, half - 0.02, 0.98, colour, rounding=0.03, shade=0.25)
        left, low, right, high = -half + 0.08, 0.21, half - 0.08, 0.92
    screen = (0.13, 0.16, 0.22) if b < 0.55 else (0.50, 0.68, 0.80)
    sketch.box(left, low, right, high, screen, rounding=0.03, shade=0.3)
    tall = high - low
    if b >= 0.55:
        land = ((0.44, 0.60, 0.38), (0.86, 0.76, 0.54), (0.36, 0.48, 0.62))[int(c * 3)]
        sketch.box(left, low, right, low + tall * between(0.25, 0.45, d), land, shade=0.0)
        sketch.ellipse(
            between(left + 0.12, right - 0.12, d), low + tall * 0.72, 0.09, 0.09, (0.98, 0.86, 0.56), shade=0.0
        )
    else:
        x = left + (right - left) * 0.2
        glare = lighter(screen, 0.3)
        sketch.polygon(
            [(x, high - 0.03), (x + 0.2, high - 0.03), (x + 0.04, low + tall * 0.4), (x - 0.1, low + tall * 0.4)],
            glare,
            shade=0.0,
            onto=True,
        )


def draw_clock(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A clock: a dial with hour marks and two hands in a round or square frame; alarm clocks have bells and feet."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    alarm = a < 0.3
    x, y = 0.0, 0.47 if alarm else 0.5
    size = min(half, 0.5) - (0.08 if alarm else 0.025)
    if alarm:
        sketch.lines([(-0.2, 0.2, -0.3, 0.04), (0.2, 0.2, 0.3, 0.04)], 0.08, darker(colour, 0.4))
        sketch.ellipse(-0.22, 0.86, 0.14, 0.1, lighter(colour, 0.2), angle=0.6)
        sketch.ellipse(0.22, 0.86, 0.14, 0.1, lighter(colour, 0.1), angle=-0.6)
        sketch.line((0.0, 0.86), (0.0, 0.95), 0.06, darker(colour, 0.4))
    if a < 0.75:
        sketch.ellipse(x, y, size, size, colour, shade=0.3)
    else:
        sketch.box(x - size, y - size, x + size, y + size, colour, rounding=0.08, shade=0.3)
    dial = CREAM if b < 0.8 else (0.24, 0.26, 0.30)
    mark = INK if b < 0.8 else CREAM
    face = size - between(0.07, 0.1, c)
    sketch.ellipse(x, y, face, face, dial, shade=0.08)
    angles = np.arange(12 if c < 0.6 else 4) * (2 * np.pi / (12 if c < 0.6 else 4))
    far = face - 0.055
    sketch.dots(
        [
            (x + far * u, y + far * v, 0.028, 0.028)
            for u, v in zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True)
        ],
        mark,
    )
    hour, minute = 2 * np.pi * d, 2 * np.pi * ((d * 12) % 1)
    sketch.line((x, y), (x + face * 0.5 * np.sin(hour), y + face * 0.5 * np.cos(hour)), 0.075, mark, thin=0.05)
    sketch.line((x, y), (x + face * 0.74 * np.sin(minute), y + face * 0.74 * np.cos(minute)), 0.055, mark, thin=0.035)
    sketch.ellipse(x, y, 0.045, 0.045, (0.80, 0.30, 0.26), shade=0.0)
