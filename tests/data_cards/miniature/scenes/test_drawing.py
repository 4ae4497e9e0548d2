"""Scenes: their truth against the mask, what occurs where and how often, light; and what tells classes apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional

from data_cards.cards import read_card
from data_cards.miniature.scenes.drawing import Drawing, draw_scene
from data_cards.miniature.scenes.places import HERDS, PLACES, STANDS
from data_cards.miniature.things.catalogue import THINGS
from tests.data_cards.clean_crops import clean_crops
from tests.examples import examples

CARD = read_card("miniature")
NAMES = [one.name for one in CARD.classes]
KINDS = CARD.kinds()
MANY = 2500
VISIBLE = 0.01


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return [draw_scene(np.random.default_rng([2, number]), 64) for number in range(MANY)]


def shown(drawing: Drawing, least: float = VISIBLE) -> set[str]:
    return {one.name for one in drawing.scene.objects if one.area >= least}


@examples(40)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([32, 48, 64, 100, 128, 224, 256]))
def test_objects_tell_what_the_mask_holds(seed: int, size: int) -> None:
    drawing = draw_scene(np.random.default_rng(seed), size)
    assert drawing.image.shape == (size, size, 3)
    assert drawing.image.dtype == drawing.mask.dtype == np.uint8
    listed = {one.name: one for one in drawing.scene.objects}
    assert len(listed) == len(drawing.scene.objects)
    assert sorted(listed) == sorted(NAMES[value] for value in np.unique(drawing.mask))
    for name, one in listed.items():
        rows, columns = np.nonzero(drawing.mask == NAMES.index(name))
        assert one.area == len(rows) / size**2
        assert one.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert one.kind == KINDS[name]
        assert one.count == 1 or (1 < one.count <= 4 and one.kind == "thing")
        assert one.colour is None or one.colour in THINGS[name].colours
    areas = [one.area for one in drawing.scene.objects]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == pytest.approx(1)


@pytest.mark.parametrize(
    ("seed", "size", "row", "columns"),
    [(920, 128, 94, slice(0, 15)), (23, 256, 125, slice(160, 208)), (38, 256, 205, slice(29, 41))],
    ids=["below wheat", "below mountains", "three rows high"],
)
def test_an_edge_that_swings_beyond_what_lies_behind_is_the_grounds(
    seed: int, size: int, row: int, columns: slice
) -> None:
    drawing = draw_scene(np.random.default_rng(seed), size)
    assert {NAMES[value] for value in drawing.mask[row, columns]} == {"grass"}
    # As light as the grass under it: nothing shows black.
    edge, under = (drawing.image[rows, columns].mean() for rows in (row, slice(row + 3, row + 9)))
    assert edge > 0.6 * under
    (grass,) = (one for one in drawing.scene.objects if one.name == "grass")
    assert grass.area * size**2 == np.count_nonzero(drawing.mask == NAMES.index("grass"))


def test_the_same_chance_draws_the_same_scene() -> None:
    one, again, other = (draw_scene(np.random.default_rng(seed), 64) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.mask, again.mask)
    assert one.scene == again.scene
    assert one.scene != other.scene


def test_a_picture_shows_five_or_six_classes_and_one_to_four_things(drawings: list[Drawing]) -> None:
    visible = [len(shown(drawing)) for drawing in drawings]
    assert 5 <= np.mean(visible) <= 6
    assert min(visible) >= 2
    stuff = [sum(KINDS[name] == "stuff" for name in shown(drawing)) for drawing in drawings]
    assert min(stuff) >= 1
    assert 2.5 <= np.mean(stuff) <= 3.5
    # The moon comes on top of the others.
    things = [
        sum(one.count for one in drawing.scene.objects if one.kind == "thing" and one.name != "moon")
        for drawing in drawings
    ]
    assert set(things) <= {0, 1, 2, 3, 4}
    assert np.mean(np.array(things) == 0) < 0.01  # hidden behind another, or out of sight
    assert all(np.mean(np.array(things) == count) > 0.08 for count in (1, 2, 3, 4))


def test_frequencies_fall_off_as_zipf_has_it_and_every_class_occurs(drawings: list[Drawing]) -> None:
    counts = Counter(name for drawing in drawings for name in shown(drawing))
    assert set(counts) == set(NAMES)
    falling = np.array(sorted(counts.values(), reverse=True)) / MANY
    assert falling[-1] >= 0.005
    slope, _ = np.polyfit(np.log(np.arange(1, len(falling) + 1)), np.log(falling), 1)
    assert -1.3 < slope < -0.7


def test_things_stand_where_they_belong(drawings: list[Drawing]) -> None:
    belongs = {
        "boat": {"sea", "lake"},
        "duck": {"lake", "pool"},
        "car": {"road"},
        "bus": {"road"},
        "snowman": {"snow"},
        "sheep": {"grass", "snow"},
        "cow": {"grass"},
        "sofa": {"floor", "carpet", "wallpaper", "brick wall", "curtain"},
        "clock": {"wallpaper", "brick wall", "curtain"},
        "moon": {"night sky"},
    }
    for thing, grounds in belongs.items():
        touching = [
            touches(drawing, thing, grounds)
            for drawing in drawings
            if thing in shown(drawing) and grounds & shown(drawing, 0)
        ]
        everywhere = sum(thing in shown(drawing) for drawing in drawings)
        assert len(touching) >= 0.97 * everywhere, thing  # the ground may be hidden, seldom
        assert np.mean(touching) > 0.9, thing


def touches(drawing: Drawing, thing: str, grounds: set[str]) -> bool:
    """Whether a pixel of the thing lies beside one of these grounds."""
    mine = np.pad(drawing.mask == NAMES.index(thing), 1)
    around = np.zeros_like(mine)
    for axis in (0, 1):
        for step in (-1, 1):
            around |= np.roll(mine, step, axis)
    return bool(np.isin(drawing.mask[around[1:-1, 1:-1]], [NAMES.index(ground) for ground in grounds]).any())


def test_places_and_hours_have_what_is_theirs(drawings: list[Drawing]) -> None:
    seen = {place.name: Counter[str]() for place in PLACES}
    for drawing in drawings:
        seen[drawing.scene.place].update(shown(drawing, 0))
        names = shown(drawing, 0)
        assert ("night sky" in names) <= (drawing.scene.time == "night")
        assert ("sunset" in names) <= (drawing.scene.time == "dusk")
        assert ("sky" in names) <= (drawing.scene.time == "day")
        assert ("moon" in names) <= (drawing.scene.time == "night")
        assert not ({"wallpaper", "curtain"} & names and {"sky", "sea", "forest", "wheat field"} & names)
    assert all(seen.values()), "a place that never comes"
    assert not {"sky", "clouds", "road", "boat"} & seen["living room"].keys()
    assert not {"sofa", "floor", "snow"} & seen["beach"].keys()
    night, day = (
        np.mean(
            [drawing.image.mean() for drawing in drawings if drawing.scene.time == time and "sea" in shown(drawing)]
        )
        for time in ("night", "day")
    )
    assert night < 0.7 * day


def test_the_tables_of_places_name_known_classes_and_zones() -> None:
    zones = {"air", "hover", "edge", "wall", "rear"}
    things = {name for name, kind in KINDS.items() if kind == "thing"}
    assert set(STANDS) == things == set(THINGS)
    assert set(HERDS) <= things
    for place in PLACES:
        grounds = {name for _, bands in place.grounds for name, _ in bands}
        assert {*grounds, *place.extras, *filter(None, place.backs)} <= set(NAMES) - things
        assert set(place.things) <= things
        open_to = grounds | ({"wall", "rear"} if place.indoors else {"air", "hover", "edge"})
        assert all(open_to & set(STANDS[thing]) for thing in place.things), place.name
    assert set().union(*STANDS.values()) <= zones | set(NAMES)
    assert {thing for place in PLACES for thing in place.things} | {"moon"} == things


def test_what_is_nearer_is_lower_and_larger(drawings: list[Drawing]) -> None:
    feet, heights = [], []
    for drawing in drawings:
        for one in drawing.scene.objects:
            if one.name in ("dog", "car", "boat", "sheep") and one.count == 1 and one.box[3] < 63:
                feet.append(one.box[3])
                heights.append(one.box[3] - one.box[1])
    assert len(feet) > 200
    assert np.corrcoef(feet, heights)[0, 1] > 0.3


def test_later_things_cover_earlier_ones_at_times(drawings: list[Drawing]) -> None:
    # Beside each other in the mask, without ground between: they overlap.
    def overlap(drawing: Drawing) -> bool:
        things = [one.name for one in drawing.scene.objects if one.kind == "thing"]
        return any(touches(drawing, one, {other for other in things if other != one}) for one in things)

    assert 0.2 < np.mean([overlap(drawing) for drawing in drawings[:600]]) < 0.8


@pytest.fixture(scope="module")
def crops() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return clean_crops(seed=1, each=20)


def test_mean_colour_does_not_tell_the_classes(crops: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    images, labels = clean_crops(seed=0, each=40)
    known, asked = images.mean((1, 2)), crops[0].mean((1, 2))
    for classifier in (KNeighborsClassifier(10), RandomForestClassifier(60, min_samples_leaf=3, random_state=0)):
        score = classifier.fit(known, labels).score(asked, crops[1])
        assert 2 / len(NAMES) < score < 0.5, classifier  # above chance: the check itself works


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_small_convolutional_net_tells_the_classes(crops: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    torch.manual_seed(0)

    def layer(channels: int, wider: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, wider, kernel, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]

    pool = nn.MaxPool2d(2)
    net = nn.Sequential(
        *layer(3, 24, 4, 2), *layer(24, 48), pool, *layer(48, 96), pool, *layer(96, 128), pool,
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 9, len(NAMES)),
    )  # fmt: skip
    epochs, batch, each = 7, 64, 80
    steps = epochs * (each * len(NAMES) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for epoch in range(epochs):  # new crops each time
        images, labels = (torch.from_numpy(part) for part in clean_crops(100 + epoch, each))
        for chosen in torch.randperm(len(labels)).split(batch)[: each * len(NAMES) // batch]:
            loss = functional.cross_entropy(
                net(images[chosen].permute(0, 3, 1, 2)), labels[chosen], label_smoothing=0.05
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        guess = net(torch.from_numpy(crops[0]).permute(0, 3, 1, 2)).argmax(1).numpy()
    assert (guess == crops[1]).mean() > 0.9
