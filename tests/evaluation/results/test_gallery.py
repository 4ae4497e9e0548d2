"""The gallery: which pictures, that all its files are there, and that names cannot break the page."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_cards.cards import CardClass, card_names, read_card
from evaluation.evaluate import EvaluateOptions, evaluate_all
from evaluation.models.segmenters import load_segmenter
from evaluation.results.gallery import GALLERY, BenchmarkGallery, PictureCard, choose, write_page
from evaluation.results.overlay import (
    colours_of,
    labels_at,
    outlines,
    overlay,
    palette,
    picture_at,
    shown_sides,
    with_legend,
)
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.parsed_page import ATTACK, SURROGATE, ParsedPage, read_page
from training.processes import Place

ALONE = Place(0, 1, torch.device("cpu"))


def read(out: Path) -> ParsedPage:
    return read_page((out / GALLERY).read_text(encoding="utf-8"), "'self' file:")


@given(
    scores=st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=60),
    count=st.integers(1, 10),
)
def test_best_worst_and_random_have_nothing_in_common(scores: list[float], count: int) -> None:
    values = np.array(scores)
    chosen = choose(values, count)
    places = [place for each in chosen.values() for place in each]
    assert len(places) == len(set(places))
    assert set(places) <= set(range(len(values)))
    measured = int((~np.isnan(values)).sum())
    assert len(chosen["best"]) + len(chosen["worst"]) == min(2 * count, measured)
    others = np.delete(values, chosen["best"])
    if chosen["best"] and len(others[~np.isnan(others)]):
        assert values[chosen["best"]].min() >= np.nanmax(others)
    if chosen["worst"]:
        assert values[chosen["worst"]].max() <= np.nanmin(np.delete(values, chosen["worst"]), initial=2)
        assert (np.diff(values[chosen["worst"]]) >= 0).all()
    assert len(chosen["random"]) == min(count, len(values) - min(2 * count, measured))


@pytest.mark.parametrize(("learner", "kinds"), [("groupvit", 4), ("patch-alignment", 3)])
def test_the_page_shows_what_is_there(tmp_path: Path, learner: str, kinds: int) -> None:
    segmenter = load_segmenter(make_checkpoint(tmp_path / "run", learner))
    val = make_miniature(tmp_path / "val", 9)
    nasty = "<img src=x onerror=alert(1)> & sky"
    card = read_card("miniature")
    classes = (CardClass(name=nasty, kind="stuff"), *card.classes[1:])
    card = card.model_copy(update={"classes": classes})
    out = tmp_path / "out"
    evaluate_all(segmenter, [(card, val)], out, EvaluateOptions(shown=2), ALONE)
    page, tags = read(out), [tag for tag, _ in read(out).elements]
    images = [unquote(source) for source in page.sources]
    assert len(images) == len(set(images)) == 3 * 2 * kinds
    for name in images:
        assert name.startswith("miniature/gallery/")
        with Image.open(out / name) as image:
            assert image.size == (384, 384)
    assert tags.count("article") == 6
    assert tags.count("img") == len(images), "no name of a class has become a tag"
    assert nasty in page.text
    for heading in ("The best", "The worst", "A random sample"):
        assert page.text.count(heading) == 1
    assert {path.name for path in (out / "miniature" / "gallery").iterdir()} == {
        name.rpartition("/")[2] for name in images
    }


def gallery_of(out: Path, said: str) -> ParsedPage:
    """The page with `said` wherever something comes from outside."""
    card = PictureCard(said, "1.00", {"picture": "m/gallery/a.png"}, [(said, "rgb(1,2,3)", "0.50"), (said, "red", "")])
    part = BenchmarkGallery(said, [("1", said)], 2, {said: [card]})
    write_page(out, {"checkpoint": {"name": said, "kind": said, "sha256": said}, "date": said}, [part])
    return read(out)


@pytest.mark.parametrize("said", [ATTACK, f"caf{SURROGATE}"])
def test_everything_from_outside_stays_text(tmp_path: Path, said: str) -> None:
    page = gallery_of(tmp_path, said)
    assert page.elements == gallery_of(tmp_path, "plain").elements
    shown = said.replace(SURROGATE, "?")
    assert f"Segmented by {shown}" in page.texts
    assert page.by_class["wrong"] == [f"{shown} not there"]
    assert page.by_class["key"] == [f"1.00 mean IoU of the picture · {shown}"]
    assert ("img", "alt", f"picture of {shown}") in page.attributes
    assert page.sources == ["m/gallery/a.png"]
    assert "2 bad pictures were left out." in page.texts


def test_pictures_of_the_page_are_the_pictures(tmp_path: Path) -> None:
    from data_cards.miniature.pairs import draw_pair

    segmenter = load_segmenter(make_checkpoint(tmp_path / "run"))
    evaluate_all(
        segmenter,
        [(read_card("miniature"), make_miniature(tmp_path / "val", 3))],
        tmp_path / "out",
        EvaluateOptions(),
        ALONE,
    )
    with Image.open(tmp_path / "out" / "miniature" / "gallery" / "000001-truth.png") as image:
        shown = np.asarray(image)
    mask = draw_pair("val", 0, 1).mask
    colours = colours_of(read_card("miniature"))
    for row, column in ((10, 10), (50, 30), (33, 60)):
        here = shown[6 * row + 2, 6 * column + 2].astype(float)
        # Colour over grey: what is left after the colour is the same in all channels.
        rest = here - 0.65 * colours[mask[row, column]]
        assert np.ptp(rest) <= 1.01


def test_colours_tell_classes_apart() -> None:
    colours = palette(300).astype(int)
    assert len(np.unique(colours, axis=0)) == 300
    assert np.array_equal(palette(20), palette(300)[:20])
    distances = np.abs(colours[:20, None] - colours[None, :20]).sum(-1) + 999 * np.eye(20, dtype=int)
    assert distances.min() > 25
    assert palette(3, background=1)[1].tolist() == [120, 124, 130]


@pytest.mark.parametrize("name", card_names())
def test_classes_of_a_card_have_colours_that_differ(name: str) -> None:
    card = read_card(name)
    colours = colours_of(card)
    twice = len(colours) - len(np.unique(colours, axis=0))
    assert twice == (1 if name == "ade20k" else 0)  # there road and skyscraper share a grey, as its authors have it


def test_well_known_palettes() -> None:
    known = {"cityscapes": [0, 0, 142], "voc2012": [128, 128, 128], "ade20k": [0, 102, 200], "coco-object": [0, 0, 142]}
    for name, colour in known.items():
        card = read_card(name)
        assert colours_of(card)[[one.name for one in card.classes].index("car")].tolist() == colour


def test_labels_without_colour_are_white_and_outlines_are_drawn() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.array([[0, 0, 0, 255, 255, 255]] * 4)
    shown = overlay(image, labels, np.array([[200, 0, 0]], np.uint8))
    assert shown[0, 0].tolist() == [165, 35, 35]
    assert shown[0, 2].tolist() == [255, 255, 255]
    assert shown[0, 4].tolist() == [201, 201, 201]
    assert outlines(labels).sum() == 4


@given(height=st.integers(1, 300), width=st.integers(1, 300), side=st.integers(300, 400))
def test_small_pictures_are_enlarged_by_a_whole_factor(height: int, width: int, side: int) -> None:
    rows, columns = shown_sides(height, width, side)
    assert rows % height == columns % width == 0
    assert max(rows, columns) <= side < max(rows, columns) + max(height, width)


def test_enlarging_repeats_and_reducing_keeps_the_ratio() -> None:
    labels = np.arange(6).reshape(2, 3)
    assert np.array_equal(labels_at(labels, (4, 6)), labels.repeat(2, 0).repeat(2, 1))
    image = np.dstack([labels] * 3).astype(np.uint8)
    assert np.array_equal(picture_at(image, (4, 6)), image.repeat(2, 0).repeat(2, 1))
    assert shown_sides(1024, 2048, 512) == (256, 512)
    assert shown_sides(1, 5000, 512) == (1, 512)
    assert np.array_equal(labels_at(labels.repeat(4, 0).repeat(4, 1), (2, 3)), labels)


def test_a_legend_never_covers_the_picture_nor_is_cut_off() -> None:
    picture = Image.new("RGB", (90, 40), (1, 2, 3))
    page = with_legend(picture, [("a word of quite some length, Übergröße", (200, 0, 0)), ("дом", (0, 200, 0))])
    array = np.asarray(page)
    left = (page.width - 90) // 2
    assert (array[:40, left : left + 90] == (1, 2, 3)).all()
    assert (array[40:, -2:] == 255).all()
    assert (array[40:] == (200, 0, 0)).all(-1).any()
    assert (array[40:] == (0, 200, 0)).all(-1).any()
