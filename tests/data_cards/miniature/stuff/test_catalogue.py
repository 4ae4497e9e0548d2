"""Stuff textures: what they promise about shape, chance and looks, and the noise under them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from data_cards.cards import read_card
from data_cards.miniature.stuff.catalogue import OUTLINED, STUFF, draw_stuff, stuff_crop
from data_cards.miniature.stuff.textures import TILE, Patch, cut, grain, mix, ramp
from tests.examples import examples

every_stuff = pytest.mark.parametrize("name", STUFF)


def test_every_stuff_class_of_the_card_is_drawn_and_no_other() -> None:
    assert sorted(STUFF) == sorted(name for name, kind in read_card("miniature").kinds().items() if kind == "stuff")


@every_stuff
@examples(12)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(3, 130),
    width=st.integers(4, 130),
    size=st.sampled_from([32, 64, 100, 256]),
    time=st.sampled_from(["day", "dusk", "night"]),
    horizon=st.floats(-40, 60),
)
@example(seed=47, height=46, width=95, size=32, time="day", horizon=0.0)  # forest: -0.74
def test_a_patch_of_any_size_is_filled(
    name: str, seed: int, height: int, width: int, size: int, time: str, horizon: float
) -> None:
    patch = Patch(np.random.default_rng(seed), height, width, size, time, horizon, height + 3)
    colour, cover = draw_stuff(name, patch)
    assert np.broadcast_shapes(colour.shape, (3, height, width)) == (3, height, width)
    assert colour.dtype == np.float32
    assert np.isfinite(colour).all()
    # The picture is cut in the end: highlights go beyond white, and leaves, 0.845 at most, below black, to -0.88:
    # their shade is -0.75 at least, and 0.3 of a noise that falls to -4.3.
    assert colour.min() > -0.9
    assert colour.max() < 3
    assert (cover is not None) == (name in OUTLINED)
    if cover is not None:
        assert cover.shape == (height, width)
        assert cover.min() >= 0
        assert cover.max() <= 1


@every_stuff
def test_the_same_chance_draws_the_same_and_another_another(name: str) -> None:
    first, again, other = (stuff_crop(name, np.random.default_rng(seed), 40, 64, 64) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


@every_stuff
def test_textures_have_detail_where_the_sky_has_none(name: str) -> None:
    crops = [stuff_crop(name, np.random.default_rng(seed), 48, 48, 64) for seed in range(12)]
    detail = np.mean([np.abs(np.diff(crop, axis=1)).mean() for crop in crops])
    smooth = {"sky": (0, 0.006), "sunset": (0.002, 0.02), "snow": (0.002, 0.02), "night sky": (0.002, 0.02)}
    low, high = smooth.get(name, (0.012, 0.2))
    assert low <= detail <= high


@pytest.mark.parametrize(
    "kindred",
    [
        ("sea", "lake", "pool", "sky", "curtain"),
        ("sand", "wheat field", "floor", "carpet"),
        ("snow", "clouds", "wallpaper"),
        ("brick wall", "floor", "carpet"),
        ("road", "mountain", "clouds", "brick wall"),
    ],
)
def test_mean_colours_of_kindred_stuff_overlap(kindred: tuple[str, ...]) -> None:
    def means(part: int) -> np.ndarray:
        crops = [stuff_crop(name, np.random.default_rng([part, n]), 32, 32, 64) for name in kindred for n in range(80)]
        return np.stack(crops).mean((1, 2))

    labels = np.repeat(np.arange(len(kindred)), 80)
    assert KNeighborsClassifier(9).fit(means(0), labels).score(means(1), labels) < 0.9


@examples(25)
@given(seed=st.integers(0, 2**32 - 1), tall=st.floats(0.5, 20), wide=st.floats(0.5, 20))
def test_noise_is_centred_and_of_unit_deviation(seed: int, tall: float, wide: float) -> None:
    noise = Patch(np.random.default_rng(seed), TILE, TILE, 64).noise(tall, wide)
    # A window of a whole tile holds each of its values once, wherever it begins.
    assert abs(float(noise.mean())) < 1e-4
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)


def test_noise_is_as_coarse_as_asked_in_each_direction() -> None:
    def correlation_length(noise: np.ndarray, axis: int) -> float:
        """Pixels after which the correlation has fallen to a half."""
        centred = np.fft.fft(noise, axis=axis)
        correlated = np.fft.ifft(np.abs(centred) ** 2, axis=axis).real.mean(1 - axis)
        return float(np.argmax(correlated / correlated[0] < 0.5))

    patch = Patch(np.random.default_rng(1), TILE, TILE, 64)
    fine, coarse, wide = patch.noise(2), patch.noise(8), patch.noise(2, 8)
    assert correlation_length(coarse, 0) > 2.5 * correlation_length(fine, 0)
    assert correlation_length(wide, 1) > 2.5 * correlation_length(wide, 0)
    # The unit is a share of the picture: at twice the size the same noise is twice as coarse.
    large = Patch(np.random.default_rng(1), TILE, TILE, 128).noise(4)
    assert correlation_length(large, 0) == pytest.approx(correlation_length(coarse, 0), abs=2)


def test_relief_is_the_difference_to_what_lies_above() -> None:
    for seed in range(40):  # wherever the window begins in the tile
        field, above = Patch(np.random.default_rng(seed), TILE, 64, 64).relief(9, 1.5, 2.5)
        step = 2  # 2.5 units of a pixel, rounded to even
        np.testing.assert_allclose(above[step:], field[step:] - field[:-step], atol=1e-5)
        np.testing.assert_allclose(above[:step], field[:step] - field[-step:], atol=1e-5)  # a whole tile repeats


def test_the_ground_is_near_at_the_foot_and_far_at_the_horizon() -> None:
    patch = Patch(np.random.default_rng(0), 40, 64, 64, horizon=-8, foot=40)
    assert (np.diff(patch.near[:, 0]) > 0).all()
    assert (np.diff(patch.depth[:, 0]) < 0).all()
    assert patch.depth[-1, 0] == pytest.approx(1, abs=0.02)
    assert patch.near[0, 0] == pytest.approx(8.5 / 48)


@examples(50)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=20))
def test_cut_mix_and_ramp_agree_with_numpy(values: list[float]) -> None:
    shares = np.array(values, np.float32)[None]
    np.testing.assert_array_equal(cut(shares), np.clip(shares, 0, 1))
    low, high = np.array((0.1, 0.5, 0.9), np.float32), np.array((0.8, 0.2, 0.4), np.float32)
    np.testing.assert_allclose(
        mix(low, high, shares), low[:, None, None] + (high - low)[:, None, None] * shares, rtol=1e-5, atol=1e-6
    )
    expected = [np.interp(np.clip(shares, 0, 1), (0, 1), (low[c], high[c])) for c in range(3)]
    np.testing.assert_allclose(ramp((low, high), shares), expected, atol=1 / 255)


def test_the_grain_of_things_is_cut_from_one_tile() -> None:
    rng = np.random.default_rng(3)
    grains = [grain(rng, 20, 30, 64) for _ in range(50)]
    assert {one.shape for one in grains} == {(20, 30)}
    assert len({one.tobytes() for one in grains}) == 50
    assert np.mean([one.std() for one in grains]) == pytest.approx(1, abs=0.1)
