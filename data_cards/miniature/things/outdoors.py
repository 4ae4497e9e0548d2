"""How people and what stands outdoors in the miniature are drawn: plants, buildings, what lies on a beach.

Each function paints one thing on a sketch: `colour` is what its colour word says, chance comes from `rng` alone.
"""

from __future__ import annotations

import numpy as np

from data_cards.miniature.things.brushes import Colour, Sketch, between, blend, darker, lighter

INK = (0.15, 0.13, 0.16)
CREAM = (0.95, 0.91, 0.83)
BARK = (0.42, 0.30, 0.22)
LEAF = (0.38, 0.56, 0.33)
GLASS = (0.62, 0.76, 0.82)
SKINS = ((0.96, 0.80, 0.68), (0.87, 0.67, 0.52), (0.66, 0.46, 0.34), (0.44, 0.30, 0.23))
HAIRS = ((0.16, 0.13, 0.13), (0.36, 0.23, 0.15), (0.86, 0.70, 0.40), (0.62, 0.33, 0.18), (0.72, 0.70, 0.68))
TROUSERS = ((0.24, 0.30, 0.44), (0.30, 0.28, 0.30), (0.60, 0.52, 0.40), (0.78, 0.75, 0.70))


def draw_person(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A person: head with hair or a hat, arms and legs in some pose; `colour` is the shirt's or the dress's."""
    a, b, c, d, e, f, g = rng.random(7).tolist()
    half = sketch.half
    skin, hair = SKINS[int(a * 4)], HAIRS[int(b * 5)]
    trousers = TROUSERS[int(c * 4)]
    dress, long_hair = d < 0.35, d < 0.5
    shoulder, hip = half * 0.5, half * 0.36
    step = between(0.0, half * 0.36, e)
    if long_hair:
        sketch.box(-0.095, 0.68, 0.08, 0.95, darker(hair, 0.15), rounding=0.07, shade=0.0)
    foot = 0.035
    legs = skin if dress else trousers
    sketch.line((hip * 0.4, 0.42), (hip * 0.5 + step, foot + 0.01), 0.1, darker(legs, 0.25), thin=0.075)
    sketch.line((-hip * 0.4, 0.42), (-hip * 0.5 - step, foot + 0.01), 0.11, legs, thin=0.08)
    shoe = INK if c < 0.6 else (0.55, 0.26, 0.2)
    sketch.lines(
        [
            (hip * 0.5 + step, foot, hip * 0.5 + step + 0.04, foot),
            (-hip * 0.5 - step, foot, 0.04 - hip * 0.5 - step, foot),
        ],
        0.06,
        shoe,
    )
    reach = half - 0.05
    hands = _hands(f, reach, shoulder)
    sleeve = colour if g < 0.6 else skin
    sketch.lines([(-shoulder + 0.02, 0.71, *hands[0]), (shoulder - 0.02, 0.71, *hands[1])], 0.075, darker(sleeve, 0.15))
    sketch.dots([(*hands[0], 0.04, 0.04), (*hands[1], 0.04, 0.04)], skin)
    if dress:
        sketch.polygon([(-0.07, 0.74), (0.07, 0.74), (hip + 0.07, 0.3), (-hip - 0.07, 0.3)], colour, shade=0.2)
        sketch.box(-shoulder, 0.52, shoulder, 0.77, colour, rounding=0.07, shade=0.15)
    else:
        sketch.box(-shoulder, 0.38, shoulder, 0.77, colour, rounding=0.07, shade=0.2)
    sketch.box(-0.035, 0.74, 0.035, 0.82, darker(skin, 0.15), shade=0.0)
    sketch.ellipse(0.01, 0.87, 0.1, 0.11, hair, shade=0.1)
    sketch.ellipse(0.025, 0.85, 0.08, 0.085, skin, shade=0.15)
    if g < 0.25:
        hat = blend(colour, (0.85, 0.72, 0.48), 0.8) if e < 0.6 else darker(colour, 0.2)
        sketch.ellipse(0.0, 0.9, 0.105, 0.08, hat, above=0.9)
        sketch.line((-0.12, 0.905), (0.14, 0.905), 0.035, darker(hat, 0.1))
    sketch.dots([(0.0, 0.86, 0.014, 0.018), (0.06, 0.86, 0.014, 0.018)], INK)


def _hands(chance: float, reach: float, shoulder: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the hands are: hanging, one waving, both raised, or swinging."""
    if chance < 0.45:
        return (-reach + 0.02, 0.45), (reach - 0.02, 0.45)
    if chance < 0.65:
        return (-reach + 0.02, 0.45), (reach, 0.92)
    if chance < 0.78:
        return (-reach, 0.92), (reach, 0.92)
    return (-reach, 0.52), (shoulder + 0.02, 0.44)


def draw_tree(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A tree: a crown of leaves, at times with fruit, slender where the sketch is narrow; green ones may be firs."""
    a, b, c = rng.random(3).tolist()
    if sketch.aspect < 0.62 and colour[1] > colour[0]:
        _fir(sketch, colour, a, b)
        return
    half = sketch.half
    fork = between(-0.05, 0.05, a)
    bark = blend(BARK, (0.75, 0.72, 0.68), 0.7) if a < 0.2 else BARK
    sketch.polygon([(-0.07, 0.0), (0.07, 0.0), (0.045 + fork, 0.5), (-0.045 + fork, 0.5)], bark, shade=0.4, grain=0.08)
    middle, tall = (0.62, 0.31) if sketch.aspect < 0.62 else (0.68, 0.26)
    wide = half - 0.1
    if wide > 0.25:
        sketch.lines(
            [(fork * 0.5, 0.3, -wide * 0.6, 0.5), (fork * 0.6, 0.33, wide * 0.6, 0.5)], 0.05, darker(bark, 0.2)
        )
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False) + between(0, 0.7, b)
    spread = rng.random(8)
    crown = np.empty((8, 4))
    crown[:, 0], crown[:, 1] = (wide - 0.1) * np.cos(angles), middle + (tall - 0.13) * np.sin(angles)
    crown[:, 2:] = between(0.12, 0.15, c) + 0.03 * spread[:, None]
    sketch.dots(crown.tolist(), darker(colour, 0.22), shade=0.2, grain=0.08)
    sketch.ellipse(0.0, middle, wide, tall, colour, shade=0.3, grain=0.09)
    crown *= (0.6, 1.0, 0.6, 0.55)
    crown += (-0.06, 0.05, 0.0, 0.0)
    sketch.dots(crown[::2].tolist(), lighter(colour, 0.2), shade=0.15, grain=0.08)
    if c < 0.3:
        fruit = (0.82, 0.28, 0.22) if c < 0.2 else (0.95, 0.72, 0.30)
        reach = between(0.3, 0.9, spread)[:, None]
        places = reach * np.stack([wide * np.cos(angles), tall * np.sin(angles)], 1) + (0.0, middle)
        sketch.dots([(x, y, 0.035, 0.035) for x, y in places.tolist()], fruit)


def _fir(sketch: Sketch, colour: Colour, chance: float, other: float) -> None:
    half = sketch.half
    deep = darker(colour, 0.2)
    sketch.box(-0.05, 0.0, 0.05, 0.2, BARK, shade=0.3)
    skirts = 3 if chance < 0.6 else 4
    for skirt in range(skirts):
        low = 0.12 + 0.55 * skirt / (skirts - 1)
        high = min(0.97, low + between(0.36, 0.42, other))
        wide = (half - 0.03) * (1 - 0.6 * skirt / (skirts - 1))
        sketch.polygon(
            [(-wide, low), (0.0, low - 0.04), (wide, low), (0.0, high)],
            blend(deep, colour, skirt / skirts),
            shade=0.35,
            grain=0.08,
        )


def draw_flower(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A flower: stem and leaves under a daisy's ring of petals or a tulip's cup."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    x, bend = between(-0.02, 0.02, a), between(-0.08, 0.08, b)
    stem = (0.36, 0.55, 0.30)
    sketch.lines([(bend, 0.0, bend * 0.5, 0.3), (bend * 0.5, 0.3, x, 0.62)], 0.06, stem)
    sketch.ellipse(bend * 0.5 - half + 0.21, 0.19, 0.18, 0.07, darker(stem, 0.1), angle=-0.6)
    sketch.ellipse(bend * 0.5 + half - 0.21, 0.24, 0.17, 0.065, lighter(stem, 0.12), angle=0.6)
    if c < 0.35:
        y = 0.74
        sketch.ellipse(x - 0.11, y, 0.12, 0.24, darker(colour, 0.15), angle=0.25)
        sketch.ellipse(x + 0.11, y, 0.12, 0.24, darker(colour, 0.25), angle=-0.25)
        sketch.ellipse(x, y - 0.04, 0.13, 0.21, lighter(colour, 0.08))
        return
    reach = min(half, 0.31) - 0.16
    petals = 6 + int(d * 3)
    angles = np.arange(petals) * (2 * np.pi / petals) + a
    ring = np.stack([x + reach * np.cos(angles), 0.68 + reach * np.sin(angles)], 1).tolist()
    size = 0.12
    sketch.dots([(px, py, size, size) for px, py in ring], darker(colour, 0.12), shade=0.25)
    sketch.dots(
        [(px * 0.9 + x * 0.1, py * 0.9 + 0.068, size * 0.62, size * 0.62) for px, py in ring],
        lighter(colour, 0.16),
        shade=0.2,
    )
    yellow = sum(colour) > 2.0 and colour[2] < 0.55
    sketch.ellipse(x, 0.68, 0.115, 0.115, (0.45, 0.28, 0.17) if yellow or c > 0.8 else (0.94, 0.74, 0.28))


def draw_house(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A house: pitched roof with a chimney, a door, windows with frames; `colour` is the walls'."""
    a, b, c, d, e = rng.random(5).tolist()
    half = sketch.half
    roof = ((0.66, 0.33, 0.25), (0.42, 0.36, 0.36), (0.52, 0.38, 0.28), (0.36, 0.42, 0.52))[int(a * 4)]
    eaves = between(0.5, 0.6, b)
    chimney = half * between(0.3, 0.5, c) * (1 if d < 0.5 else -1)
    sketch.box(chimney - 0.05, 0.6, chimney + 0.05, 0.95, darker((0.66, 0.42, 0.34), 0.1), shade=0.3)
    wall = half - 0.08
    sketch.box(-wall, 0.0, wall, eaves + 0.05, colour, shade=0.15)
    if e < 0.4:
        rows = range(1, 5)
        sketch.boxes([(-wall, eaves * r / 5, wall, eaves * r / 5 + 0.015) for r in rows], darker(colour, 0.25))
    if sketch.aspect < 1.15:
        sketch.polygon([(-half + 0.02, eaves), (half - 0.02, eaves), (0.0, 0.97)], darker(roof, 0.15), shade=0.1)
        sketch.polygon([(-half + 0.12, eaves), (half - 0.12, eaves), (0.0, 0.88)], colour, shade=0.1)
        sketch.lines([(-half + 0.06, eaves + 0.02, 0.0, 0.94), (0.0, 0.94, half - 0.06, eaves + 0.02)], 0.09, roof)
        sketch.ellipse(0.0, eaves + 0.12, 0.06, 0.06, lighter(GLASS, 0.2), shade=0.2)
    else:
        inset = between(0.1, 0.3, b)
        sketch.polygon(
            [(-half + 0.02, eaves), (half - 0.02, eaves), (half - inset, 0.9), (inset - half, 0.9)],
            roof,
            shade=0.2,
            grain=0.05,
        )
        sketch.boxes(
            [(-half, eaves + step, half, eaves + step + 0.015) for step in (0.12, 0.24)], darker(roof, 0.3), onto=True
        )
        sketch.box(-half + 0.02, eaves - 0.02, half - 0.02, eaves + 0.02, darker(roof, 0.3), shade=0.0)
    door = between(-0.5, 0.5, d) * wall
    lit = (0.98, 0.84, 0.50) if e > 0.8 else GLASS
    places = [p for p in (-wall * 0.62, 0.0, wall * 0.62) if abs(p - door) > 0.19]
    sketch.boxes([(p - 0.095, 0.19, p + 0.095, 0.42) for p in places], CREAM)
    sketch.boxes([(p - 0.07, 0.215, p + 0.07, 0.395) for p in places], lit)
    sketch.boxes([(p - 0.01, 0.2, p + 0.01, 0.4) for p in places], CREAM)
    paint = ((0.55, 0.30, 0.22), (0.28, 0.42, 0.52), (0.36, 0.50, 0.36))[int(c * 3)]
    sketch.box(door - 0.09, 0.0, door + 0.09, 0.36, CREAM, shade=0.0)
    sketch.box(door - 0.07, 0.0, door + 0.07, 0.34, paint, shade=0.2)


def draw_lighthouse(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A lighthouse: a tapered tower in bands or all white, a gallery, a lit lantern under a cap."""
    a, b, c = rng.random(3).tolist()
    half = sketch.half
    foot, top = half * between(0.62, 0.72, a), half * between(0.4, 0.46, a)
    white = (0.94, 0.92, 0.88)
    rock = (0.50, 0.47, 0.46)
    sketch.ellipse(0.0, 0.03, half - 0.02, 0.09, rock, above=0.0, grain=0.1)
    sketch.polygon([(-foot, 0.03), (foot, 0.03), (top, 0.72), (-top, 0.72)], white, shade=0.3)
    bands = 2 + int(b * 2)
    step = 0.69 / (2 * bands - 1) if c < 0.75 else 0.3
    rows = range(bands) if c < 0.75 else (0, 1)
    sketch.boxes(
        [(-half, 0.03 + 2 * r * step, half, 0.03 + (2 * r + 1) * step) for r in rows], colour, shade=0.3, onto=True
    )
    sketch.box(-top - 0.05, 0.7, top + 0.05, 0.76, darker(colour, 0.55), shade=0.1)
    lamp = top * 0.72
    sketch.box(-lamp, 0.75, lamp, 0.88, (0.99, 0.88, 0.52), shade=0.2)
    sketch.lines(
        [(-lamp, 0.76, -lamp, 0.88), (lamp, 0.76, lamp, 0.88), (0.0, 0.76, 0.0, 0.88)], 0.025, darker(colour, 0.6)
    )
    cap = darker(colour, 0.1) if sum(colour) < 2.2 else (0.68, 0.30, 0.25)
    sketch.polygon([(-top, 0.87), (top, 0.87), (0.0, 0.99)], cap, shade=0.3)
    sketch.boxes([(-0.03, 0.5, 0.03, 0.58), (-0.03, 0.3, 0.03, 0.38)], darker(GLASS, 0.55))
    sketch.box(-0.055, 0.04, 0.055, 0.17, darker(colour, 0.6), rounding=0.03, shade=0.0)


def draw_tent(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A tent: a ridge with an open front flap, or a dome with poles across; guy ropes at its sides."""
    a, b, c = rng.random(3).tolist()
    half = sketch.half
    inside = darker(colour, 0.75)
    if a < 0.6:
        ridge, edge = -half * between(0.3, 0.45, b), half * between(0.05, 0.25, c)
        far = half * between(0.45, 0.6, b)
        sketch.lines([(far, 0.85, half - 0.03, 0.03), (ridge, 0.9, -half + 0.02, 0.3)], 0.025, (0.70, 0.66, 0.58))
        sketch.polygon([(ridge, 0.94), (far, 0.88), (half - 0.08, 0.0), (edge, 0.0)], darker(colour, 0.28), shade=0.2)
        sketch.polygon(
            [(ridge, 0.94), (far, 0.88), (half - 0.08, 0.0), (half - 0.2, 0.0)],
            darker(colour, 0.36),
            shade=0.1,
            onto=True,
        )
        sketch.polygon([(ridge, 0.96), (-half + 0.04, 0.0), (edge, 0.0)], colour, shade=0.2)
        middle = (edge - half) / 2
        sketch.polygon([(ridge, 0.68), (middle - 0.16, 0.0), (middle + 0.17, 0.0)], inside, shade=0.0)
        sketch.polygon([(ridge, 0.7), (middle - 0.26, 0.0), (middle - 0.13, 0.0)], lighter(colour, 0.3), shade=0.1)
        return
    sketch.ellipse(0.0, 0.0, half - 0.04, 0.93, colour, above=0.0, shade=0.3)
    sketch.ellipse(0.0, 0.0, half * 0.5, 0.92, lighter(colour, 0.28), above=0.0, shade=0.2)
    sketch.box(-half, 0.0, half, 0.13, darker(colour, 0.35), onto=True)
    sketch.ellipse(0.02, 0.0, half * 0.27, 0.6, inside, above=0.0, shade=0.0)
    sketch.line((0.02, 0.02), (0.02, 0.58), 0.035, lighter(colour, 0.4))


def draw_umbrella(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """An umbrella on its pole: a canopy of gores in two colours with a scalloped rim, crook or plain foot."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    second = CREAM if a < 0.5 else ((0.95, 0.80, 0.45) if a < 0.7 else darker(colour, 0.25))
    lean = between(-0.06, 0.06, b)
    low = between(0.5, 0.56, c)
    pole = (0.48, 0.34, 0.24) if d < 0.6 else (0.74, 0.73, 0.72)
    foot = 0.03
    sketch.line((-lean, foot), (lean, 0.95), 0.055, pole)
    if d < 0.4:
        sketch.lines(
            [(-lean, foot + 0.04, 0.07 - lean, foot), (0.07 - lean, foot, 0.13 - lean, foot + 0.06)], 0.055, pole
        )
    wide, tall = half - 0.055, 0.95 - low
    sketch.ellipse(lean * 0.5, low, wide, tall, colour, above=low, shade=0.3)
    sketch.ellipse(lean * 0.5, low, wide * 0.72, tall, second, above=low, shade=0.25)
    sketch.ellipse(lean * 0.5, low, wide * 0.3, tall, colour, above=low, shade=0.2)
    edges = (-0.86, -0.51, 0.0, 0.51, 0.86)
    sizes = (0.14, 0.21, 0.3, 0.21, 0.14)
    sketch.dots(
        [(lean * 0.5 + e * wide, low - 0.02, s * wide, 0.06) for e, s in zip(edges, sizes, strict=True)],
        darker(colour, 0.45),
        onto=True,
    )
    sketch.line((lean, 0.94), (lean, 0.97), 0.04, pole)


def draw_snowman(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A snowman: two or three balls, carrot nose, coal eyes and buttons, twig arms, a scarf and often a hat."""
    a, b, c, d = rng.random(4).tolist()
    half = sketch.half
    cloth = ((0.76, 0.27, 0.25), (0.30, 0.45, 0.66), (0.40, 0.56, 0.36), (0.80, 0.56, 0.25), (0.52, 0.38, 0.60))
    scarf = cloth[int(a * 5)]
    hat = c < 0.75
    head = 0.72 if hat else 0.8
    lift = between(0.5, 0.72, d)
    sketch.lines([(-0.16, 0.46, -half + 0.04, lift), (0.16, 0.46, half - 0.04, 1.15 - lift)], 0.045, (0.40, 0.28, 0.20))
    sketch.ellipse(0.0, 0.2, min(half - 0.07, 0.29), 0.21, colour, shade=0.3)
    if b < 0.6:
        sketch.ellipse(0.0, 0.47, 0.2, 0.17, colour, shade=0.3)
    else:
        sketch.ellipse(0.0, 0.36, 0.24, 0.26, colour, shade=0.3)
    sketch.dots([(0.0, 0.5, 0.03, 0.03), (0.0, 0.4, 0.03, 0.03), (0.0, 0.28, 0.03, 0.03)], INK)
    sketch.ellipse(0.0, head, 0.155, 0.145, colour, shade=0.3)
    sketch.lines([(-0.13, head - 0.13, 0.12, head - 0.14), (0.1, head - 0.14, 0.13, head - 0.3)], 0.075, scarf)
    sketch.dots([(-0.03, head + 0.04, 0.025, 0.03), (0.08, head + 0.04, 0.025, 0.03)], INK)
    sketch.polygon([(0.02, head + 0.025), (0.02, head - 0.035), (0.2, head - 0.02)], (0.93, 0.52, 0.20), shade=0.0)
    if hat:
        felt = (0.22, 0.20, 0.24) if c < 0.5 else darker(scarf, 0.2)
        sketch.box(-0.11, 0.82, 0.11, 0.98, felt, rounding=0.02, shade=0.3)
        sketch.line((-0.17, 0.83), (0.17, 0.83), 0.05, felt)
        sketch.box(-0.11, 0.855, 0.11, 0.89, scarf, shade=0.0)


def draw_ball(sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
    """A ball: a beach ball's panels, a football's patches, or a band and a star; always with a highlight."""
    a, b, c = rng.random(3).tolist()
    size = min(sketch.half, 0.5) - 0.02
    white = (0.96, 0.95, 0.92)
    if a < 0.45:
        sketch.ellipse(0.0, 0.5, size, size, colour, shade=0.2)
        tilt = between(-0.7, 0.7, b)
        sketch.ellipse(0.0, 0.5, size * 0.66, size, white, angle=tilt, shade=0.2)
        other = ((0.95, 0.78, 0.36), (0.35, 0.56, 0.74), colour)[int(c * 3)]
        sketch.ellipse(0.0, 0.5, size * 0.28, size, other, angle=tilt, shade=0.2)
    elif a < 0.75:
        sketch.ellipse(0.0, 0.5, size, size, white if b < 0.5 else colour, shade=0.25)
        angles = np.arange(5) * (2 * np.pi / 5) + between(0, 1.2, c)
        spots = [(0.42 * np.cos(t) * size * 2, 0.5 + 0.42 * np.sin(t) * size * 2, 0.13, 0.13) for t in angles.tolist()]
        sketch.dots(
            [(0.02, 0.52, 0.14, 0.14), *spots], colour if b < 0.5 else darker(colour, 0.65), onto=True, shade=0.1
        )
    else:
        sketch.ellipse(0.0, 0.5, size, size, colour, shade=0.25)
        sketch.lines([(-0.5, between(0.3, 0.6, b), 0.5, between(0.4, 0.7, c))], 0.2, white, onto=True)
        sketch.lines([(-0.5, between(0.3, 0.6, b), 0.5, between(0.4, 0.7, c))], 0.07, darker(colour, 0.4), onto=True)
    sketch.ellipse(-0.17 if not sketch.mirrored else 0.17, 0.69, 0.1, 0.08, lighter(colour, 0.75), angle=0.5, shade=0.0)
