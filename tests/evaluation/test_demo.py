"""Any picture by any words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from data_cards.cards import Card, Resize, Window
from data_cards.layouts.decoding import BadItem
from data_cards.miniature.pairs import draw_pair
from evaluation import demo as demo_module
from evaluation.demo import BACKGROUND, demo, words_card, words_of
from evaluation.labels.inference import segment_images
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import Segmenter, load_segmenter
from files.errors import CocuError, MisuseError
from tests.evaluation.tiny_checkpoints import make_checkpoint
from training.models.learner import DenseFeatures

WORDS = ("dog", "grass", "sky", "a red house")


@pytest.fixture(scope="module", params=["groupvit", "patch-alignment"])
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_segmenter(make_checkpoint(tmp_path_factory.mktemp("run"), request.param))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "picture.png"
    Image.fromarray(draw_pair("val", 0, 2, 96).image[:, :80]).save(path)
    return path


def test_shares_are_those_of_the_label_map(segmenter: Segmenter, image: Path) -> None:
    found = demo(segmenter, image, WORDS)
    card = words_card(WORDS, None, 32)  # what the model was made for
    pixels = np.array(Image.open(image))
    (labelled,) = segment_images(segmenter, card, class_vectors(segmenter, card), [pixels])
    labels = labelled.labels.numpy()
    assert found.shares == {
        word: pytest.approx((labels == index).mean()) for index, word in enumerate(WORDS) if (labels == index).any()
    }
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert found.picture.height > 960


@pytest.mark.parametrize("sides", [(640, 10), (6, 2000), (1, 9000)])
def test_a_banner_costs_no_more_than_a_photograph(segmenter: Segmenter, tmp_path: Path, sides: tuple[int, int]) -> None:
    seen = 0

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(segmenter.model, name)

        def dense(self, pixels: Tensor) -> DenseFeatures:
            nonlocal seen
            seen += pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
            return segmenter.model.dense(pixels)

    def pixels_seen(width: int, height: int) -> int:
        nonlocal seen
        seen = 0
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(path)
        found = demo(replace(segmenter, model=Watched()), path, WORDS)
        assert sum(found.shares.values()) == pytest.approx(1)
        return seen

    path = tmp_path / "picture.png"
    # A window is as high as a patch at the least, here a quarter of the short side, which long banners are not.
    assert pixels_seen(*sides) <= 5 * pixels_seen(160, 40)


@pytest.mark.parametrize("low", [0, 0x5A, 0xFF])
def test_sixteen_bits_are_seen_as_their_eight_high_ones(segmenter: Segmenter, tmp_path: Path, low: int) -> None:
    grey = draw_pair("val", 0, 2, 96).image.mean(axis=2).astype(np.uint8)
    shown = []
    for name, pixels in (("8", grey), ("16", grey.astype(np.uint16) << 8 | low)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        shown.append(demo(segmenter, tmp_path / f"{name}.png", WORDS))
    assert Image.open(tmp_path / "16.png").mode == "I;16"
    assert shown[0].shares == shown[1].shares
    assert np.array_equal(np.array(shown[0].picture), np.array(shown[1].picture))


def test_a_threshold_leaves_pixels_to_none_of_the_words(segmenter: Segmenter, image: Path) -> None:
    shares = [demo(segmenter, image, WORDS, background=threshold).shares for threshold in (0.0, 1.0)]
    assert shares[0] == demo(segmenter, image, WORDS).shares
    assert shares[1][BACKGROUND] > 0.1


def test_one_word_takes_it_all(segmenter: Segmenter, image: Path) -> None:
    assert demo(segmenter, image, ["sky"], short_side=64).shares == {"sky": 1.0}


@pytest.mark.parametrize(("model", "side"), [("miniature", 64), ("learner", 32)])
def test_small_models_see_pictures_as_they_were_trained(
    model: str, side: int, segmenter: Segmenter, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Card] = []
    monkeypatch.setattr(demo_module, "segment_images", lambda *given: seen.append(given[1]) or segment_images(*given))
    demo(load_segmenter(model) if model == "miniature" else segmenter, image, ["dog", "sky"])
    assert [(card.resize, card.window) for card in seen] == [
        (Resize(short_side=side), Window(size=side, stride=side // 2))
    ]


def test_words() -> None:
    assert words_of(" dog,a red house ,, sky") == ["dog", "a red house", "sky"]
    with pytest.raises(MisuseError, match="names nothing"):
        words_of(" , ")
    with pytest.raises(MisuseError, match="'dog' is named twice"):
        words_of("dog, sky, dog")


def test_misuse(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="--background 7"):
        demo(segmenter, image, WORDS, background=7)
    with pytest.raises(CocuError, match=r"none\.png: cannot be read"):
        demo(segmenter, tmp_path / "none.png", WORDS)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(BadItem, match=r"text\.png: unreadable picture: not in a known format"):
        demo(segmenter, tmp_path / "text.png", WORDS)
