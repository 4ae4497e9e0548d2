"""Regions against plain loops over points, and what a localiser leaves out."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from curation.ranking.localisation import FINE, LEVEL, Localiser, enlarged, regions_of
from curation.ranking.selection import Selection
from files.pictures import BadPicture

SIDES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))


def maps(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@given(SIDES, st.integers(0, 99))
def test_maps_are_enlarged_as_torch_does(shape: tuple[int, int, int], seed: int) -> None:
    heat = maps(shape, seed)
    by_torch = F.interpolate(torch.from_numpy(heat)[None], scale_factor=FINE, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(enlarged(heat), by_torch.numpy(), atol=1e-6)


@given(SIDES, st.integers(0, 99))
def test_regions_are_those_of_a_plain_loop(shape: tuple[int, int, int], seed: int) -> None:
    heat = maps(shape, seed)
    found = regions_of(heat)
    for number, fine in enumerate(enlarged(heat)):
        height, width = fine.shape
        level = fine.min() + LEVEL * (fine.max() - fine.min())
        points = [
            (x, y) for y in range(height) for x in range(width) if fine[y, x] >= level or fine[y, x] == fine.max()
        ]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        box = [min(xs) / width, min(ys) / height, (max(xs) + 1) / width, (max(ys) + 1) / height]
        np.testing.assert_allclose(found.boxes[number], box, atol=1e-6)
        assert found.area[number] == pytest.approx(len(points) / fine.size, abs=1e-6)
        assert found.peak[number] == fine.max()


def test_a_box_lies_where_the_heat_is_and_goes_round_all_of_it() -> None:
    heat = np.zeros((3, 8, 8), np.float32)
    heat[0, 1, 6] = heat[1, 1, 6] = heat[1, 6, 0] = 1
    found = regions_of(heat)
    x0, y0, x1, y1 = found.boxes[0]
    assert 0.75 <= x0 < x1 <= 0.875
    assert 0.125 <= y0 < y1 <= 0.25
    np.testing.assert_allclose(found.boxes[1], [0, y0, x1, 1 - y0], atol=0.1)
    assert found.boxes[2].tolist() == [0, 0, 1, 1], "a flat map says nothing"
    assert (found.area[2], found.peak[2]) == (1, 0)
    assert len(regions_of(np.zeros((0, 8, 8), np.float32)).peak) == 0


class Encoder:
    """Of pictures that are a number: their maps have it everywhere, times the concept's own number."""

    def decode(self, pictures: list[bytes]) -> list[Any]:
        return [BadPicture("broken") if data == b"x" else np.full(1, float(data)) for data in pictures]

    def heat(self, pixels: np.ndarray, texts: list[np.ndarray]) -> list[np.ndarray]:
        return [
            np.broadcast_to(one * wanted[:, None], (len(wanted), 2, 2)).astype(np.float32)
            for one, wanted in zip(pixels, texts, strict=True)
        ]


def test_what_lights_up_nowhere_is_left_out_unless_the_caption_names_it() -> None:
    vocabulary: Any = SimpleNamespace(vectors=np.array([[0.1], [0.2], [0.3]], np.float32))
    archives: Any = SimpleNamespace(concept=np.array([0, 1, 2, 0, 1, 2]), in_caption=np.array([1, 0, 0, 0, 0, 0], bool))
    kept = Selection(np.array([2, 1, 0, 4, 5]), np.array([0, 3, 4, 4, 5]), np.array([1, 2, 3, 1, 1]))
    pictures, encoder = [b"1", b"2", b"3", b"x"], Encoder()
    counts: Counter[str] = Counter()
    same, regions = Localiser(encoder, vocabulary).look(pictures, archives, kept, counts)  # type: ignore[arg-type]
    assert same is kept
    np.testing.assert_allclose(regions.peak, [0.3, 0.2, 0.1, 0.4, np.nan], rtol=1e-6)
    assert np.isnan(regions.boxes[4]).all()
    assert counts == {"looked for": 5, "unreadable": 1}

    counts.clear()
    fewer, regions = Localiser(encoder, vocabulary, 0.25).look(pictures, archives, kept, counts)  # type: ignore[arg-type]
    assert fewer.entries.tolist() == [2, 0, 4, 5], "of the picture that cannot be read nothing is known"
    assert fewer.offsets.tolist() == [0, 2, 3, 3, 4]
    assert fewer.rank.tolist() == [1, 2, 1, 1]
    np.testing.assert_allclose(regions.peak, [0.3, 0.1, 0.4, np.nan], rtol=1e-6)
    assert counts == {"looked for": 5, "unreadable": 1}
