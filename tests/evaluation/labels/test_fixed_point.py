"""OpenCV's resizing: values by hand, and a plain loop over its formula in whole numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from evaluation.labels.fixed_point import resize_as_opencv
from evaluation.labels.windows import resize_picture
from tests.examples import examples


def place(i: int, length: int, wanted: int) -> tuple[int, int]:
    """Value before place i, and the weight of the one behind it."""
    at = np.float32((i + 0.5) * (1.0 / (wanted / length)) - 0.5)
    before = math.floor(at)
    return before, int(np.rint(np.float32(at - np.float32(before)) * np.float32(2048)))


def by_loops(picture: Tensor, height: int, width: int) -> list[list[list[int]]]:
    _, h, w = picture.shape
    made = [[[0] * width for _ in range(height)] for _ in range(3)]
    for channel in range(3):
        level = picture[channel].tolist()
        for y in range(height):
            above, b1 = place(y, h, height)
            sums = []
            for row in (min(max(above, 0), h - 1), min(max(above + 1, 0), h - 1)):
                along = []
                for x in range(width):
                    left, a1 = place(x, w, width)
                    if left < 0 or left >= w - 1:
                        along.append(level[row][0 if left < 0 else w - 1] * 2048)
                    else:
                        along.append(level[row][left] * (2048 - a1) + level[row][left + 1] * a1)
                sums.append(along)
            for x in range(width):
                upper, lower = ((2048 - b1) * (sums[0][x] >> 4)) >> 16, (b1 * (sums[1][x] >> 4)) >> 16
                made[channel][y][x] = (upper + lower + 2) >> 2
    return made


@examples(60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 14), st.integers(1, 14), st.integers(0, 99))
def test_by_the_formula(h: int, w: int, height: int, width: int, seed: int) -> None:
    picture = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, h, w), dtype=np.uint8))
    if (h, w) in ((height, width), (2 * height, 2 * width)):
        return
    assert resize_as_opencv(picture, (height, width)).tolist() == by_loops(picture, height, width)


@pytest.mark.parametrize(
    ("levels", "wanted", "expected"),
    [
        # Three places over two values: at -1/6 the first alone, at 1/2 both, at 7/6 the last alone.
        # 1/2: (10 + 201) x 1024 = 216,064; >> 4 = 13,504; of one row: 13,504 x 2048 >> 16 = 422; + 2 >> 2 = 106.
        ([10, 201], 3, [10, 106, 201]),
        # Two places over three, at 1/4 and 7/4: weights 512 and 1536 of 2048.
        # (10 x 1536 + 201 x 512) >> 4 = 7,392; x 2048 >> 16 = 231; + 2 >> 2 = 58, where 57.75 is exact.
        ([10, 201, 7], 2, [58, 56]),
    ],
)
def test_values_by_hand(levels: list[int], wanted: int, expected: list[int]) -> None:
    row = torch.tensor(levels, dtype=torch.uint8).expand(3, 1, -1)
    assert resize_as_opencv(row, (1, wanted))[0, 0].tolist() == expected


def test_half_the_size_is_the_mean_of_blocks() -> None:
    picture = torch.tensor([[1, 2, 250, 255], [3, 4, 251, 255]], dtype=torch.uint8).expand(3, -1, -1)
    assert resize_as_opencv(picture, (1, 2))[0].tolist() == [[3, 253]]  # 10 + 2 >> 2, 1011 + 2 >> 2
    assert resize_as_opencv(picture, (2, 4)) is picture


def test_a_level_apart_from_exact_at_the_most() -> None:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 60, 80), dtype=np.uint8))
    apart = resize_as_opencv(picture, (45, 97)).int() - resize_picture(picture, (45, 97)).int()
    assert apart.abs().max() == 1
    assert 0.05 < float(apart.ne(0).double().mean()) < 0.25
