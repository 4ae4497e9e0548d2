"""The brushes, against the same shapes asked point by point on a grid twelve times as fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_cards.miniature.things.brushes import Sketch, apart, blend, darker, lighter
from tests.examples import examples

FINE = 12
RED, BLUE = (0.8, 0.2, 0.1), (0.1, 0.3, 0.9)
ASPECT = 1.25
GRID = st.sampled_from([24, 31, 40])
ACROSS, UP = st.floats(-0.4, 0.4), st.floats(0.2, 0.8)
HALF_AXIS = st.floats(0.1, 0.45)
WIDTH = st.floats(0.08, 0.3)


def sketch_of(height: int, mirrored: bool = False, noise: float = 0.0) -> Sketch:
    width = round(height * ASPECT)
    grain = np.random.default_rng(0).standard_normal((height, width)).astype(np.float32) * noise
    return Sketch(height, width, width / height, grain.astype(np.float32), mirrored)


def covered(height: int, inside: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The share of each pixel's sub-pixels that lie inside.

    Each is asked at a place of its own, no two in one line: else an upright edge would be off by half a sub-pixel.
    """
    width = round(height * ASPECT)
    place = (np.arange(FINE) + 0.5) / FINE
    y = 1 - (np.arange(height * FINE)[:, None] + np.tile(place, width)) / (height * FINE)
    x = ((np.arange(width * FINE) + np.tile(place, height)[:, None]) / (width * FINE) - 0.5) * (width / height)
    return inside(x, y).reshape(height, FINE, width, FINE).mean((1, 3))


def at_most(height: int, shapes: Sequence[tuple[float, ...]], inside: Callable[..., np.ndarray]) -> np.ndarray:
    """Of shapes painted as one, the largest cover of each pixel: two halves count as one half."""
    return np.max([covered(height, lambda u, v, shape=shape: inside(u, v, *shape)) for shape in shapes], 0)


def check(cover: np.ndarray, expected: np.ndarray, worst: float, mean: float = 0.04) -> None:
    """No pixel may be off by `worst`; along the outline, the error is a small part of a pixel on average."""
    error = cover - expected
    edge = sum((np.abs(np.diff(expected, axis=axis)) > 0).sum() for axis in (0, 1))
    assert np.abs(error).max() < worst
    assert np.abs(error).sum() < mean * edge


# The error of a pixel: along a smooth outline; at a corner; where two edges run through it close to one another.
SMOOTH, CORNER, CLOSE = 0.17, 0.3, 0.6


def in_ellipse(x, y, cx, cy, rx, ry, angle=0.0):
    turned = ((x - cx) + 1j * (y - cy)) * np.exp(-1j * angle)
    return (turned.real / rx) ** 2 + (turned.imag / ry) ** 2 < 1


def in_polygon(x, y, points):
    """Even-odd: a ray to the right crosses the outline an odd number of times."""
    odd = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        if ay != by:
            odd ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return odd


def thinness(points):
    """How far apart the closest two parallel lines are between which a polygon lies."""
    return min(
        max(abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) for x, y in points) / math.hypot(bx - ax, by - ay)
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True)
    )


def in_stroke(x, y, start, end, thick, thin):
    """Within one of many discs along the stroke."""
    inside = np.zeros(x.shape, bool)
    for share in np.linspace(0, 1, 40):
        cx, cy = (s + (e - s) * share for s, e in zip(start, end, strict=True))
        inside |= np.hypot(x - cx, y - cy) < (thick + (thin - thick) * share) / 2
    return inside


@examples(40)
@given(GRID, ACROSS, UP, HALF_AXIS, HALF_AXIS, st.floats(-3, 3))
def test_an_ellipse_covers_what_lies_inside(height, x, y, rx, ry, angle) -> None:
    for turn in (0.0, angle):
        sketch = sketch_of(height)
        sketch.ellipse(x, y, rx, ry, RED, angle=turn)
        check(sketch.cover, covered(height, lambda u, v, turn=turn: in_ellipse(u, v, x, y, rx, ry, turn)), SMOOTH)


@pytest.mark.parametrize("ry", [0.4, 0.15])
def test_an_ellipse_is_whole_where_its_centre_is_a_pixels(ry: float) -> None:
    sketch = sketch_of(31)
    sketch.ellipse(float(sketch.x[19]), float(sketch.y[15, 0]), 0.4, ry, RED)
    assert sketch.cover[15, 19] == 1


@examples(20)
@given(GRID, ACROSS, UP, HALF_AXIS, HALF_AXIS, st.floats(-0.05, 0.05))
def test_only_the_part_above_a_height_is_painted(height, x, y, rx, ry, cut) -> None:
    sketch = sketch_of(height)
    sketch.ellipse(x, y, rx, ry, RED, above=y + cut)
    check(sketch.cover, covered(height, lambda u, v: in_ellipse(u, v, x, y, rx, ry) & (v > y + cut)), CLOSE)


@examples(30)
@given(GRID, st.lists(st.tuples(ACROSS, UP, WIDTH, st.floats(0.7, 1.4)), min_size=1, max_size=6))
def test_dots_cover_what_lies_in_any(height, spots) -> None:
    dots = [(x, y, size, size * ratio) for x, y, size, ratio in spots]
    sketch = sketch_of(height)
    sketch.dots(dots, RED)
    check(sketch.cover, at_most(height, dots, in_ellipse), SMOOTH)


@examples(40)
@given(GRID, st.lists(st.floats(0, 6.2), min_size=3, max_size=6, unique=True), st.booleans(), HALF_AXIS, HALF_AXIS)
@example(24, [0.0, 1.0, 5.5], False, 0.1015625, 0.25)  # a sliver
def test_a_polygon_covers_what_lies_inside_whichever_way_round(height, angles, backwards, rx, ry) -> None:
    # Corners on an ellipse make a convex polygon; those nearly on one another make needles, whose tips are no test.
    angles = sorted(angles)
    if any(abs(a - b) < 0.7 for a, b in zip(angles, [*angles[1:], angles[0] + 2 * math.pi], strict=True)):
        return
    points = [(rx * math.cos(a), 0.5 + ry * math.sin(a)) for a in angles]
    sketch = sketch_of(height)
    sketch.polygon(points[::-1] if backwards else points, RED)
    # In a sliver both edges lie in the same pixels all along.
    mean = 0.04 if thinness(points) * height >= 2 else 0.1
    check(sketch.cover, covered(height, lambda u, v: in_polygon(u, v, points)), CLOSE, mean)


@examples(40)
@given(GRID, ACROSS, UP, HALF_AXIS, HALF_AXIS, st.sampled_from([0.0, 0.04, 0.1]))
@example(24, 1 / 3, 0.25, 0.29, 0.375, 0.0)  # its edge a hair beyond the last of twelve sub-pixels
def test_a_box_covers_what_lies_inside_but_for_its_rounded_corners(height, x, y, hw, hh, rounding) -> None:
    sketch = sketch_of(height)
    sketch.box(x - hw, y - hh, x + hw, y + hh, RED, rounding=rounding)

    def inside(u, v):
        beyond = np.hypot(np.maximum(np.abs(u - x) - hw + rounding, 0), np.maximum(np.abs(v - y) - hh + rounding, 0))
        return (np.abs(u - x) < hw) & (np.abs(v - y) < hh) if not rounding else beyond < rounding

    check(sketch.cover, covered(height, inside), CORNER)


@examples(20)
@given(GRID, st.lists(st.tuples(ACROSS, UP, WIDTH, WIDTH), min_size=1, max_size=5))
@example(24, [(0.0, 0.671875, 0.25, 0.234375), (0.0, 0.203125, 0.25, 0.234375)])  # they meet in the middle of a row
def test_boxes_cover_what_lies_in_any(height, middles) -> None:
    boxes = [(x - hw, y - hh, x + hw, y + hh) for x, y, hw, hh in middles]
    sketch = sketch_of(height)
    sketch.boxes(boxes, RED)

    def inside(u, v, left, low, right, high):
        return (u > left) & (u < right) & (v > low) & (v < high)

    check(sketch.cover, at_most(height, boxes, inside), CORNER)


@examples(15)
@given(st.sampled_from([24, 31]), st.lists(st.tuples(ACROSS, UP, ACROSS, UP), min_size=1, max_size=3), WIDTH, WIDTH)
def test_strokes_cover_what_lies_in_any(height, lines, thick, thin) -> None:
    tapered = [
        line for line in lines if math.hypot(line[2] - line[0], line[3] - line[1]) > 2 * abs(thick - thin)
    ]  # a stub that tapers steeply is nearly a disc
    for pieces, end in ((lines, None), (tapered, thin)):
        if not pieces:
            continue
        sketch = sketch_of(height)
        sketch.lines(pieces, thick, RED, thin=end)
        final = thick if end is None else end

        def inside(u, v, ax, ay, bx, by, final=final):
            return in_stroke(u, v, (ax, ay), (bx, by), thick, final)

        check(sketch.cover, at_most(height, pieces, inside), SMOOTH)


@examples(20)
@given(GRID, ACROSS, UP, st.floats(0.2, 0.45), st.floats(0.08, 0.2))
def test_a_ring_covers_what_lies_between_two_circles(height, x, y, radius, thick) -> None:
    sketch = sketch_of(height)
    sketch.ring(x, y, radius, thick, RED)
    expected = covered(height, lambda u, v: np.abs(np.hypot(u - x, v - y) - radius) < thick / 2)
    check(sketch.cover, expected, SMOOTH)


def test_a_shape_is_what_its_distance_says() -> None:
    sketch = sketch_of(40)
    sketch.shape(np.hypot(sketch.x - 0.1, sketch.y - 0.4) - np.float32(0.25), RED)
    check(sketch.cover, covered(40, lambda u, v: in_ellipse(u, v, 0.1, 0.4, 0.25, 0.25)), SMOOTH)


def test_what_lies_off_the_grid_is_no_error() -> None:
    sketch = sketch_of(24)
    sketch.ellipse(3.0, 0.5, 0.2, 0.2, RED)
    sketch.dots([(0.0, -2.0, 0.1, 0.1)], RED)
    sketch.polygon([(-3, 0), (-2, 0), (-2, 1)], RED)
    sketch.box(0, 2, 1, 3, RED)
    sketch.boxes([(2, 0, 3, 1)], RED)
    sketch.line((5, 5), (6, 6), 0.1, RED)
    sketch.ring(-4, 0, 0.5, 0.1, RED)
    assert sketch.cover.max() == 0


def test_paint_lies_over_paint_in_proportion_to_its_cover() -> None:
    sketch = sketch_of(24)
    sketch.box(-2, -1, 2, 2, RED, shade=0)
    assert np.allclose(sketch.colour, RED, atol=1e-6)
    above = sketch_of(24)
    above.ellipse(0, 0.5, 0.3, 0.3, BLUE, shade=0)
    sketch.ellipse(0, 0.5, 0.3, 0.3, BLUE, shade=0)
    share = above.cover[:, :, None]
    assert np.allclose(sketch.colour, np.array(RED) * (1 - share) + np.array(BLUE) * share, atol=1e-5)
    assert np.allclose(above.colour, share * np.array(BLUE), atol=1e-6)


def test_paint_onto_what_is_there_covers_no_more() -> None:
    sketch = sketch_of(40)
    sketch.ellipse(0, 0.5, 0.3, 0.3, RED, shade=0)
    before, plain = sketch.cover.copy(), sketch.colour.copy()
    sketch.boxes([(0.0, -1.0, 2.0, 2.0)], BLUE, onto=True)
    assert np.allclose(sketch.cover, before, atol=1e-6)
    left, right = slice(0, 24), slice(26, 50)
    assert np.array_equal(sketch.colour[:, left], plain[:, left])
    assert np.allclose(sketch.colour[:, right], before[:, right, None] * np.array(BLUE), atol=1e-5)


def test_light_comes_from_the_upper_left_even_where_the_thing_is_mirrored() -> None:
    for mirrored in (False, True):
        sketch = sketch_of(40, mirrored)
        sketch.ellipse(0, 0.5, 0.4, 0.4, (0.5, 0.5, 0.5))
        bright = sketch.colour.mean(2)
        assert bright[:20, :25].sum() > bright[20:, 25:].sum() * 1.2
        assert bright[:, :25].sum() > bright[:, 25:].sum()
        assert bright[:20].sum() > bright[20:].sum()


def test_mirrored_is_mirrored() -> None:
    plain, mirrored = sketch_of(31), sketch_of(31, mirrored=True)
    for sketch in (plain, mirrored):
        sketch.polygon([(-0.5, 0.1), (0.3, 0.2), (0.1, 0.9)], RED, shade=0)
        sketch.line((0.1, 0.2), (0.5, 0.8), 0.1, BLUE, thin=0.05)
    assert np.array_equal(plain.cover, mirrored.cover[:, ::-1])
    assert np.array_equal(plain.colour, mirrored.colour[:, ::-1])


def test_grain_is_the_noise_in_the_measure_asked_for() -> None:
    sketch, plain = sketch_of(24, noise=1.0), sketch_of(24)
    for one in (sketch, plain):
        one.box(-2, -1, 2, 2, (0.5, 0.5, 0.5), shade=0, grain=0.1)
    difference = sketch.colour[:, :, 0] - plain.colour[:, :, 0]
    assert np.allclose(difference, 0.05 * sketch.noise, atol=1e-5)


@given(st.floats(0, 1), *[st.tuples(*[st.floats(0, 1)] * 3)] * 2)
def test_colours_blend_within_their_bounds(share, first, second) -> None:
    blended = blend(first, second, share)
    for part, low, high in zip(blended, first, second, strict=True):
        assert min(low, high) - 1e-9 <= part <= max(low, high) + 1e-9
    assert sum(darker((0.6, 0.5, 0.4), share)) <= 1.5 <= sum(lighter((0.6, 0.5, 0.4), share))


@given(st.floats(0, 0.999))
def test_a_second_colour_shows_beside_the_first(share) -> None:
    choices = ((0.8, 0.2, 0.1), (0.9, 0.9, 0.2), (0.2, 0.3, 0.8))
    for colour in choices:
        chosen = apart(colour, choices, share)
        assert chosen in choices
        assert chosen != colour
