"""What holds for every thing of the miniature, whichever way chance has it drawn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from data_cards.cards import read_card
from data_cards.miniature.things.brushes import Sketch
from data_cards.miniature.things.catalogue import PALETTE, THINGS

NAMES = list(THINGS)
# A bicycle is mostly air, a lamp mostly stem, a crescent mostly night.
LEAST_COVER = {"lamp": 0.24, "moon": 0.24}


def draw(name: str, height: int, seed: int, mirrored: bool = False, colour: str | None = None) -> Sketch:
    """A thing as chance `seed` has it, in one of its shapes and colours, on smooth ground (no grain)."""
    thing, rng = THINGS[name], np.random.default_rng([NAMES.index(name), seed])
    aspect = round(height * rng.uniform(*thing.aspect)) / height
    word = colour or thing.colours[seed % len(thing.colours)]
    width = round(height * aspect)
    sketch = Sketch(height, width, aspect, np.zeros((height, width), np.float32), mirrored)
    thing.draw(sketch, PALETTE[word], rng)
    return sketch


def test_the_things_are_those_of_the_card() -> None:
    assert set(NAMES) == {one.name for one in read_card("miniature").classes if one.kind == "thing"}


@pytest.mark.parametrize("name", NAMES)
def test_a_thing_comes_in_colours_of_the_palette_and_sizes_that_fit(name: str) -> None:
    thing = THINGS[name]
    assert thing.colours
    assert set(thing.colours) <= set(PALETTE)
    assert 0 < thing.aspect[0] <= thing.aspect[1]
    assert 0.1 < thing.size[0] < thing.size[1] < 1


@pytest.mark.parametrize("name", NAMES)
def test_a_thing_is_drawn_alike_from_the_same_chance_and_otherwise_from_another(name: str) -> None:
    first, again, other = draw(name, 32, 0), draw(name, 32, 0), draw(name, 32, len(THINGS[name].colours))
    assert np.array_equal(first.colour, again.colour)
    assert np.array_equal(first.cover, again.cover)
    assert first.colour.shape != other.colour.shape or np.abs(first.colour - other.colour).max() > 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("height", [12, 24, 48])
def test_colour_and_cover_keep_their_bounds_and_fill_the_box(name: str, height: int) -> None:
    for seed in range(12):
        sketch = draw(name, height, seed)
        colour, cover = sketch.colour, sketch.cover
        assert colour.dtype == cover.dtype == np.float32
        assert colour.shape == (*cover.shape, 3)
        assert cover.min() >= 0
        assert cover.max() <= 1 + 1e-6
        assert colour.min() >= 0
        assert (colour <= cover[:, :, None] + 1e-6).all()
        assert cover.mean() >= LEAST_COVER.get(name, 0.27)


@pytest.mark.parametrize("name", NAMES)
def test_a_thing_stays_within_its_box_and_reaches_its_sides(name: str) -> None:
    """Drawn finely enough, the outermost pixels are empty, but for the foot; and little more than them is."""
    for seed in range(30):
        cover = draw(name, 128, seed).cover
        for edge in (cover[0], cover[:, 0], cover[:, -1]):
            assert edge.max() < 0.1
        rows, columns = np.flatnonzero(cover.max(1) > 0.5), np.flatnonzero(cover.max(0) > 0.5)
        assert rows[0] < 0.2 * 128
        assert rows[-1] > 0.9 * 128
        assert columns[-1] - columns[0] > 0.7 * cover.shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_drawing_is_a_large_one_seen_from_afar(name: str) -> None:
    """Pixels show what lies in them: drawn at 32 pixels or at 128 and averaged is all but the same."""
    for seed in range(6):
        thing, word = THINGS[name], PALETTE[THINGS[name].colours[0]]
        pictures = []
        for height in (32, 128):
            rng = np.random.default_rng(seed)
            aspect = round(32 * rng.uniform(*thing.aspect)) / 32
            width = round(height * aspect)
            sketch = Sketch(height, width, aspect, np.zeros((height, width), np.float32))
            thing.draw(sketch, word, rng)
            both = np.concatenate([sketch.colour, sketch.cover[:, :, None]], 2)
            step = height // 32
            pictures.append(both.reshape(32, step, -1, step, 4).mean((1, 3)))
        assert np.abs(pictures[0] - pictures[1]).mean() < 0.025


@pytest.mark.parametrize("name", NAMES)
def test_mirrored_is_mirrored_but_for_the_light(name: str) -> None:
    for seed in range(4):
        plain, mirrored = draw(name, 40, seed), draw(name, 40, seed, mirrored=True)
        assert np.allclose(plain.cover, mirrored.cover[:, ::-1], atol=1e-6)
        assert np.abs(plain.colour - mirrored.colour[:, ::-1]).mean() < 0.08


@pytest.mark.parametrize("name", NAMES)
def test_a_colour_word_shows(name: str) -> None:
    """Painted in two colours, a good part of the thing differs, and towards the colour asked for."""
    if len(THINGS[name].colours) == 1:
        return
    words = list(dict.fromkeys(THINGS[name].colours))
    first, second = (
        np.mean([(s := draw(name, 32, seed, colour=word)).colour.sum((0, 1)) / s.cover.sum() for seed in range(10)], 0)
        for word in words[:2]
    )
    towards = np.array(PALETTE[words[0]]) - np.array(PALETTE[words[1]])
    assert (first - second) @ towards > 0.1 * (towards @ towards)


def test_no_thing_is_told_by_its_mean_colour() -> None:
    def means(each: int, start: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [(draw(name, 16, start + seed), label) for label, name in enumerate(NAMES) for seed in range(each)]
        colours = [sketch.colour.sum((0, 1)) / sketch.cover.sum() for sketch, _ in rows]
        return np.array(colours), np.array([label for _, label in rows])

    seen, held_out = means(60, 0), means(20, 1000)
    assert KNeighborsClassifier(10).fit(*seen).score(*held_out) < 0.5
