"""How the vehicles of the miniature are drawn, seen from the side and heading right.

Each function paints one thing on a sketch: `colour` is the coachwork's, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, between, blend, darker, lighter

INK = (0.15, 0.13, 0.16)
TYRE = (0.17, 0.16, 0.19)
STEEL = (0.74, 0.75, 0.77)
GLASS = (0.66, 0.80, 0.86)
LAMP = (0.99, 0.90, 0.58)
TAIL_LAMP = (0.82, 0.22, 0.20)
WHITE = (0.94, 0.93, 0.90)
WOOD = (0.58, 0.40, 0.26)


def _wheels(sketch: Sketch, places: list[float], size: float) -> None:
    sketch.dots([(x, size + 0.01, size, size) for x in places], TYRE)
    sketch.dots([(x, size + 0.01, size * 0.5, size * 0.5) for x in places], STEEL, shade=0.2)


def draw_car(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A car: low body, sloped cabin with a pillar between its windows, two big wheels; saloon, hatchback or taxi."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    waist, roof = between(0.54, 0.6, a), between(0.9, 0.94, b)
    hatch = c < 0.45
    rear = -half * (0.9 if hatch else 0.68)
    front = half * between(0.42, 0.52, d)
    glass = darker(GLASS, 0.55 if b < 0.3 else 0.0)
    sketch.polygon(
        [(rear, waist - 0.06), (rear + 0.2, roof), (front - 0.38, roof), (front, waist - 0.06)], colour, shade=0.15
    )
    sketch.polygon(
        [(rear + 0.1, waist), (rear + 0.24, roof - 0.07), (front - 0.41, roof - 0.07), (front - 0.11, waist)],
        glass,
        shade=0.25,
    )
    pillar = (rear + front) / 2 - 0.05
    sketch.line((pillar, waist), (pillar, roof - 0.05), 0.06, colour)
    sketch.box(-half + 0.02, 0.2, half - 0.02, waist + 0.02, colour, rounding=0.14, shade=0.25)
    sketch.box(-half + 0.03, 0.19, half - 0.03, 0.27, darker(colour, 0.5), rounding=0.03, shade=0.0)
    sketch.lines(
        [(pillar, waist - 0.03, pillar, 0.28), (pillar - 0.16, waist - 0.09, pillar - 0.08, waist - 0.09)],
        0.02,
        darker(colour, 0.4),
    )
    sketch.ellipse(half - 0.1, 0.46, 0.06, 0.05, LAMP, shade=0.0)
    sketch.box(-half + 0.02, 0.42, -half + 0.08, 0.51, TAIL_LAMP, rounding=0.02, shade=0.0)
    _wheels(sketch, [-half * 0.6, half * 0.6], between(0.19, 0.22, d))
    if c > 0.8:
        sketch.box(pillar - 0.12, roof - 0.01, pillar + 0.1, roof + 0.045, LAMP, rounding=0.02, shade=0.1)


def draw_bus(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A bus: one long tall box with a row of windows (two on a double-decker), a door, a stripe, small wheels."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    size = 0.11
    glass = blend(GLASS, INK, 0.45 if a < 0.35 else 0.05)
    sketch.box(-half + 0.02, 0.09, half - 0.02, 0.97, colour, rounding=0.08, shade=0.2)
    sketch.box(
        -half + 0.02, 0.88, half - 0.02, 0.97, lighter(colour, 0.35) if b < 0.5 else WHITE, rounding=0.05, shade=0.1
    )
    sketch.box(-half + 0.02, 0.09, half - 0.02, 0.17, darker(colour, 0.5), shade=0.0)
    count = max(3, round(sketch.aspect * between(1.9, 2.4, c)))
    left, right = -half + 0.08, half - 0.32
    pitch = (right - left) / count
    columns = [left + pitch * i for i in range(count)]
    rows = [(0.62, 0.84), (0.3, 0.5)] if sketch.aspect < 1.55 else [(0.48, 0.8)]
    panes = [(x, low, x + pitch - 0.05, high) for low, high in rows for x in columns]
    sketch.boxes([*panes, (half - 0.27, 0.2, half - 0.13, rows[-1][1])], glass, shade=0.15)
    if len(rows) == 2:
        sketch.box(half - 0.3, 0.62, half - 0.06, 0.84, glass, shade=0.1)
        sketch.box(-half + 0.02, 0.53, half - 0.02, 0.58, lighter(colour, 0.5), shade=0.0)
    elif d < 0.75:
        stripe = WHITE if d < 0.4 else darker(colour, 0.4)
        sketch.box(-half + 0.02, 0.32, half - 0.3, 0.39, stripe, shade=0.0)
    sketch.box(half - 0.1, rows[-1][0], half - 0.03, rows[-1][1], glass, shade=0.1)
    sketch.lines([(half - 0.2, 0.2, half - 0.2, rows[-1][1])], 0.02, colour)
    sketch.ellipse(half - 0.06, 0.23, 0.035, 0.045, LAMP, shade=0.0)
    _wheels(sketch, [-half * 0.62, half * 0.5], size)


def draw_truck(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A truck: a cab in front of a gap and its load: a closed box, a tank, a tipper's heap, or logs."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    cab = half - between(0.46, 0.54, a)
    load_end = cab - 0.07
    sketch.box(-half + 0.03, 0.2, half - 0.06, 0.3, darker(STEEL, 0.65), shade=0.0)
    left = -half + 0.03
    if b < 0.45:
        body = (WHITE, STEEL, darker(colour, 0.15), (0.86, 0.78, 0.62))[int(c * 4)]
        sketch.box(left, 0.28, load_end, between(0.88, 0.97, d), body, rounding=0.02, shade=0.2)
        if d < 0.5:
            sketch.box(left + 0.12, 0.48, load_end - 0.12, 0.7, colour, rounding=0.08, shade=0.1)
        else:
            step = (load_end - left) / 6
            sketch.boxes(
                [(left + step * i - 0.012, 0.3, left + step * i + 0.012, 0.95) for i in range(1, 6)],
                darker(body, 0.2),
                onto=True,
            )
    elif b < 0.62:
        sketch.box(left, 0.3, load_end, 0.76, STEEL if c < 0.6 else lighter(colour, 0.4), rounding=0.22, shade=0.35)
        sketch.box(left + 0.08, 0.46, load_end - 0.08, 0.54, colour, shade=0.0)
        sketch.box(left + 0.3, 0.74, left + 0.44, 0.82, darker(STEEL, 0.3), shade=0.1)
    elif b < 0.82:
        heap = ((0.74, 0.62, 0.42), (0.45, 0.36, 0.30), (0.52, 0.52, 0.54))[int(c * 3)]
        middle = (left + load_end) / 2
        sketch.ellipse(middle, 0.6, (load_end - left) / 2 - 0.06, 0.3, heap, above=0.5, grain=0.13)
        sketch.polygon([(left, 0.64), (load_end, 0.64), (load_end - 0.1, 0.28), (left + 0.12, 0.28)], colour, shade=0.2)
        ribs = [left + (load_end - left) * t for t in (0.3, 0.5, 0.7)]
        sketch.boxes([(x - 0.015, 0.3, x + 0.015, 0.62) for x in ribs], darker(colour, 0.35))
    else:
        sketch.dots(
            [
                (left + 0.12 + 0.2 * i, 0.4 + 0.17 * row, 0.1, 0.1)
                for row in range(3)
                for i in range(int((load_end - left - 0.05 - 0.1 * row) / 0.2))
            ],
            darker(WOOD, 0.3),
        )
        sketch.dots(
            [
                (left + 0.12 + 0.2 * i, 0.4 + 0.17 * row, 0.065, 0.065)
                for row in range(3)
                for i in range(int((load_end - left - 0.05 - 0.1 * row) / 0.2))
            ],
            lighter(WOOD, 0.45),
        )
    roof = between(0.74, 0.82, d)
    sketch.polygon(
        [(cab, 0.16), (half - 0.04, 0.16), (half - 0.04, 0.47), (half - 0.17, roof), (cab, roof)], colour, shade=0.25
    )
    sketch.polygon(
        [(cab + 0.12, 0.49), (half - 0.1, 0.49), (half - 0.21, roof - 0.06), (cab + 0.12, roof - 0.06)],
        darker(GLASS, 0.1),
        shade=0.25,
    )
    sketch.line((cab + 0.08, 0.26), (cab + 0.08, roof - 0.04), 0.02, darker(colour, 0.35))
    sketch.ellipse(half - 0.08, 0.32, 0.045, 0.05, LAMP, shade=0.0)
    sketch.box(half - 0.16, 0.13, half - 0.02, 0.2, darker(STEEL, 0.4), shade=0.0)
    _wheels(sketch, [-half + 0.2, -half + 0.46, cab + 0.2], between(0.12, 0.14, c))


def draw_bicycle(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A bicycle: two spoked wheels, a diamond or step-through frame, saddle, handlebar; some with a basket."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    size = between(0.29, 0.31, a)
    rear, front = -half + size + 0.05, half - size - 0.05
    axle = size + 0.04
    turn = between(0.0, 1.0, b)
    arms = [(size * np.cos(t), size * np.sin(t)) for t in (turn, turn + 0.8, turn + 1.6, turn + 2.4)]
    sketch.lines(
        [(x - u, axle - v, x + u, axle + v) for x in (rear, front) for u, v in arms], 0.022, (0.66, 0.66, 0.68)
    )
    tyre = TYRE if c < 0.45 else ((0.55, 0.42, 0.30), (0.82, 0.76, 0.66), darker(colour, 0.3))[int(c * 9) % 3]
    sketch.ring(rear, axle, size, 0.085, tyre)
    sketch.ring(front, axle, size, 0.085, tyre)
    crank, seat, head = (rear * 0.25, axle - 0.02), (rear * 0.45, 0.73), (front * 0.62, 0.76)
    top = seat if d < 0.6 else (crank[0] - 0.02, crank[1] + 0.18)
    sketch.lines(
        [
            (rear, axle, *crank),
            (rear, axle, *seat),
            (*crank, *seat),
            (*crank, *head),
            (*top, *head),
            (front, axle, *head),
        ],
        0.075,
        colour,
    )
    sketch.lines([(*head, head[0] - 0.04, 0.9), (*seat, seat[0] - 0.02, 0.82)], 0.06, STEEL)
    sketch.lines([(head[0] - 0.05, 0.92, head[0] + 0.1, 0.93), (seat[0] - 0.13, 0.84, seat[0] + 0.07, 0.84)], 0.08, INK)
    sketch.ellipse(*crank, 0.07, 0.07, darker(STEEL, 0.4), shade=0.1)
    if d > 0.75:
        sketch.polygon(
            [(head[0] + 0.1, 0.88), (head[0] + 0.36, 0.88), (head[0] + 0.32, 0.66), (head[0] + 0.13, 0.66)],
            (0.72, 0.53, 0.32),
            shade=0.2,
        )


def draw_boat(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A boat: under sail where the sketch is narrow, else with a wheelhouse; `colour` is the hull's."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    deck = between(0.24, 0.3, a) if sketch.aspect < 1.2 else between(0.36, 0.42, a)
    trim = WHITE if b < 0.6 else darker(colour, 0.45)
    if sketch.aspect < 1.2:
        mast = between(-0.08, 0.06, c)
        sail = (WHITE, (0.93, 0.85, 0.70), lighter(colour, 0.35), (0.85, 0.45, 0.36))[int(d * 4)]
        sketch.line((mast, deck), (mast, 0.97), 0.045, WOOD)
        sketch.polygon([(mast - 0.03, 0.95), (mast - 0.03, deck + 0.07), (-half + 0.05, deck + 0.09)], sail, shade=0.2)
        sketch.polygon(
            [(mast + 0.03, 0.86), (mast + 0.03, deck + 0.07), (half - 0.06, deck + 0.07)],
            darker(sail, 0.12) if c < 0.6 else blend(sail, colour, 0.5),
            shade=0.2,
        )
        if d < 0.4:
            sketch.boxes([(-half, 0.5, mast - 0.02, 0.56)], colour, onto=True)
    else:
        cabin = -half * between(0.1, 0.4, c)
        sketch.line((cabin + 0.1, 0.6), (cabin + 0.1, 0.97), 0.035, WOOD)
        sketch.box(cabin - 0.22, deck - 0.03, cabin + 0.28, 0.74, WHITE, rounding=0.02, shade=0.2)
        sketch.box(cabin - 0.26, 0.7, cabin + 0.33, 0.77, darker(colour, 0.15), rounding=0.02, shade=0.1)
        sketch.boxes([(cabin - 0.16, 0.52, cabin, 0.66), (cabin + 0.06, 0.52, cabin + 0.22, 0.66)], darker(GLASS, 0.35))
        sketch.polygon(
            [(cabin + 0.12, 0.96), (cabin + 0.12, 0.84), (cabin + 0.34, 0.9)],
            (0.82, 0.30, 0.26) if d < 0.5 else (0.95, 0.76, 0.34),
            shade=0.0,
        )
    sketch.polygon(
        [(-half + 0.03, deck), (half - 0.02, deck + 0.05), (half - 0.2, 0.0), (-half + 0.16, 0.0)], colour, shade=0.25
    )
    sketch.line((-half + 0.06, deck - 0.03), (half - 0.07, deck + 0.01), 0.05, trim)
    sketch.boxes([(-half, 0.0, half, 0.07)], darker(colour, 0.55), onto=True)
