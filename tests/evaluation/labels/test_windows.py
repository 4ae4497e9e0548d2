"""Resizing, windows and their averages against hand-made cases, PIL's sizes and brute force."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_cards.cards import Resize, Window
from evaluation.labels.windows import (
    Box,
    add_window,
    positions,
    resize_picture,
    resized_sides,
    to_model_sides,
    windows_of,
)
from tests.evaluation.plain_inference import bilinear, starts

sides = st.integers(1, 300)


@pytest.mark.parametrize(
    ("height", "width", "resize", "expected"),
    [
        (375, 500, Resize(short_side=448, long_side=2048), (448, 597)),
        (500, 375, Resize(short_side=448, long_side=2048), (597, 448)),
        (100, 1000, Resize(short_side=448, long_side=2048), (205, 2048)),  # 100 * 2.048 = 204.8
        (100, 1000, Resize(short_side=448), (283, 2833)),  # 2 * 448 / 10 ** 0.5 = 283.3
        (100, 400, Resize(short_side=448), (448, 1792)),
        (400, 100, Resize(short_side=448), (1792, 448)),
        (8, 4000, Resize(short_side=448), (40, 20035)),
        (100_000_000, 1, Resize(short_side=448), (28_672, 1)),  # 64 * 448
        (1024, 2048, Resize(short_side=1024, long_side=2048), (1024, 2048)),
        (1, 1000, Resize(short_side=10, long_side=100), (1, 100)),
        (375, 500, None, (375, 500)),
    ],
)
def test_sides_after_resizing(height: int, width: int, resize: Resize | None, expected: tuple[int, int]) -> None:
    assert resized_sides(height, width, resize) == expected


@given(sides, sides, st.integers(1, 100), st.integers(0, 300))
def test_ratio_is_kept_and_no_side_is_longer_than_told(height: int, width: int, short: int, more: int) -> None:
    long = short + more
    found = resized_sides(height, width, Resize(short_side=short, long_side=long))
    assert min(found) <= short
    assert max(found) <= long
    assert min(found) == short or max(found) == long
    scale = max(found) / max(height, width)
    assert abs(min(found) - max(1, min(height, width) * scale)) <= 0.5 + 0.5 * min(height, width) / max(height, width)


@given(st.integers(1, 5000), st.integers(1, 200_000), st.integers(1, 600))
def test_without_a_long_side_the_pixels_are_those_of_a_photograph_at_the_most(short: int, long: int, side: int) -> None:
    short, long = sorted((short, long))
    found = resized_sides(short, long, Resize(short_side=side))
    assert found == resized_sides(long, short, Resize(short_side=side))[::-1]
    if long <= 4 * short:
        assert found == (side, int(long * (side / short) + 0.5))
    # Half a pixel of each side is lost or won by rounding, and a side has one at the least.
    assert max(1, found[0] - 0.5) * (found[1] - 0.5) <= 4 * side**2 * (1 + 1e-9) or found[0] == 1
    assert max(found) <= 64 * side + 1
    if found[0] > 1:
        assert (found[1] + 0.5) / (found[0] - 0.5) >= long / short >= (found[1] - 0.5) / (found[0] + 0.5)


@pytest.mark.parametrize("target", [(24, 40), (7, 5), (13, 21)])
def test_resizing_is_bilinear_from_the_nearest_pixels_to_whole_levels(target: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 13, 21)).astype(np.float64)
    found = resize_picture(torch.from_numpy(picture), target).numpy()
    np.testing.assert_array_equal(found, np.floor(np.round(bilinear(picture, *target), 6) + 0.5))
    as_bytes = resize_picture(torch.from_numpy(picture.astype(np.uint8)), target).numpy()
    np.testing.assert_array_equal(found, as_bytes)


@given(length=sides, size=st.integers(1, 120), stride=st.integers(1, 120))
def test_positions_cover_a_side_and_end_with_it(length: int, size: int, stride: int) -> None:
    stride = min(stride, size)
    found = positions(length, size, stride)
    covered = {pixel for start in found for pixel in range(start, min(start + size, length))}
    assert covered == set(range(length))
    assert found[-1] == max(length - size, 0)
    assert all(0 < after - before <= stride for before, after in itertools.pairwise(found))
    assert found == starts(length, size, stride)


def test_windows_of_a_picture_row_by_row() -> None:
    window = Window(size=448, stride=224)
    assert windows_of(448, 597, window) == [Box(0, 0, 448, 448), Box(0, 149, 448, 448)]
    assert windows_of(205, 2048, window)[-1] == Box(0, 1600, 205, 448)
    assert [box[:2] for box in windows_of(5, 4, Window(size=3, stride=2))] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert windows_of(31, 57, None) == [Box(0, 0, 31, 57)]


def test_scores_are_averaged_where_windows_overlap() -> None:
    random = torch.Generator().manual_seed(0)
    boxes = windows_of(9, 13, Window(size=5, stride=3))
    total, count = torch.zeros(4, 9, 13, dtype=torch.float64), torch.zeros(9, 13, dtype=torch.float64)
    expected: dict[tuple[int, int, int], list[float]] = {}
    for box in boxes:
        rows = torch.randperm(4, generator=random)[:3]
        scores = torch.rand(3, box.height, box.width, generator=random, dtype=torch.float64)
        add_window(total, count, box, rows, scores)
        for row in range(4):
            for y in range(box.height):
                for x in range(box.width):
                    chosen = (rows == row).nonzero()
                    score = float(scores[chosen[0, 0], y, x]) if len(chosen) else 0.0
                    expected.setdefault((row, box.top + y, box.left + x), []).append(score)
    mean = total / count
    for (row, y, x), scores_there in expected.items():
        assert float(mean[row, y, x]) == pytest.approx(sum(scores_there) / len(scores_there))
    assert len(expected) == mean.numel()


def test_a_window_is_a_view() -> None:
    picture = torch.zeros(3, 8, 8)
    Box(2, 3, 4, 5).of(picture).fill_(1)
    assert picture.sum() == 3 * 4 * 5
    assert picture[:, 2:6, 3:8].min() == 1


@pytest.mark.parametrize(
    ("given_sides", "expected"), [((448, 448), (448, 448)), ((205, 448), (208, 448)), ((7, 23), (16, 16))]
)
def test_windows_are_stretched_to_what_the_patch_divides(
    given_sides: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels = torch.randn(2, 3, *given_sides, dtype=torch.float64)
    found = to_model_sides(pixels, 16)
    assert tuple(found.shape[2:]) == expected
    if given_sides == expected:
        assert found is pixels
    else:
        np.testing.assert_allclose(found[1].numpy(), bilinear(pixels[1].numpy(), *expected), atol=1e-12)
