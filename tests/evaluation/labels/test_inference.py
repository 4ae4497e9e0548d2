"""The whole of inference against its plain transcription, and what must not change its results."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.labels import inference
from evaluation.labels.fixed_point import resize_as_opencv
from evaluation.labels.inference import Rules, segment_images
from evaluation.labels.windows import resized_sides
from tests.evaluation.plain_inference import look_through, plain_labels
from tests.evaluation.tiny_segmenters import KINDS, tiny_card, tiny_picture, tiny_segmenter, tiny_texts

ODD_SIZES = [(24, 24), (31, 45), (57, 23), (17, 90), (9, 11)]
CARDS: dict[str, dict[str, Any]] = {
    "background first": {"threshold": 0.2},
    "background last": {"background": 8, "threshold": 0.6},
    "no background": {"background": None},
    "three classes": {"classes": 3, "background": None},
    "windows of the picture's size": {"resize": None, "window": None},
    "windows that the patch does not divide": {"window": {"size": 18, "stride": 7}},
    "a stride that the patch does not divide": {"window": {"size": 16, "stride": 6}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", CARDS.values(), ids=CARDS)
def test_labels_equal_the_plain_rules(kind: str, changes: dict[str, Any]) -> None:
    segmenter, card = tiny_segmenter(kind), tiny_card(**changes)
    texts = tiny_texts(len(card.text_classes()))
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(ODD_SIZES)]
    found = segment_images(segmenter, card, texts, pictures)
    seen = set()
    for picture, labelled in zip(pictures, found, strict=True):
        plain = plain_labels(
            picture,
            card,
            look_through(segmenter, texts),
            scale=segmenter.scale,
            mean=segmenter.mean,
            std=segmenter.std,
            multiple=segmenter.multiple,
        )
        assert labelled.labels.dtype == torch.int16
        assert labelled.labels.shape == picture.shape[:2]
        differ = labelled.labels.numpy() != plain.labels
        assert not (differ & (plain.margin > 1e-9)).any()
        assert differ.mean() < 0.002, "ties are rare"
        seen |= set(plain.labels.flatten().tolist())
    assert len(seen) >= 3, "the test is to see several classes"


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_does_not_depend_on_those_beside_it_nor_on_how_many_windows_go_together(kind: str) -> None:
    segmenter, card = tiny_segmenter(kind), tiny_card()
    texts = tiny_texts(8)
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(ODD_SIZES)]
    together = segment_images(segmenter, card, texts, pictures, Rules(windows_at_once=5))
    for picture, labelled in zip(pictures, together, strict=True):
        (alone,) = segment_images(segmenter, card, texts, [picture], Rules(windows_at_once=1))
        assert torch.equal(alone.labels, labelled.labels)


def test_as_released_pictures_are_resized_in_fixed_point(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, card, texts = tiny_segmenter("groupvit"), tiny_card(), tiny_texts(8)
    picture = tiny_picture(31, 45)
    sides = resized_sides(31, 45, card.resize)
    assert sides != (31, 45)
    released = Rules(confidence=True, as_released=True)
    (found,) = segment_images(segmenter, card, texts, [picture], released)
    (usual,) = segment_images(segmenter, card, texts, [picture], Rules(confidence=True))
    small = resize_as_opencv(torch.from_numpy(picture).permute(2, 0, 1), sides)
    monkeypatch.setattr(inference.windows, "resize_picture", lambda *_: small)
    (expected,) = segment_images(segmenter, card, texts, [picture], Rules(confidence=True))
    assert found.confidence is not None
    assert expected.confidence is not None
    assert usual.confidence is not None
    assert torch.equal(found.confidence, expected.confidence)
    assert not torch.equal(found.confidence, usual.confidence)


def test_arrays_and_tensors_are_one_and_stay_as_they_were() -> None:
    segmenter, card, texts = tiny_segmenter("groupvit"), tiny_card(), tiny_texts(8)
    picture = tiny_picture(31, 45)
    kept = picture.copy()
    first, second = segment_images(segmenter, card, texts, [picture, torch.from_numpy(picture)])
    assert torch.equal(first.labels, second.labels)
    assert np.array_equal(picture, kept)
    assert segment_images(segmenter, card, texts, []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_gives_what_each_threshold_gives_alone(kind: str) -> None:
    segmenter, card, texts = tiny_segmenter(kind), tiny_card(), tiny_texts(8)
    picture = tiny_picture(31, 45)
    thresholds = (0.0, 0.1, 0.3, 1.0)
    (swept,) = segment_images(segmenter, card, texts, [picture], Rules(sweep=thresholds))
    (as_the_card_says,) = segment_images(segmenter, card, texts, [picture])
    assert torch.equal(swept.labels, as_the_card_says.labels)
    assert swept.swept is not None
    for threshold, labels in zip(thresholds, swept.swept, strict=True):
        (alone,) = segment_images(segmenter, card, texts, [picture], Rules(threshold=threshold))
        assert torch.equal(labels, alone.labels)
    backgrounds = (swept.swept == 0).flatten(1).sum(dim=1).tolist()
    assert backgrounds == sorted(backgrounds), "a higher threshold gives more background"
    assert backgrounds[0] == 0 < backgrounds[-1] < picture.shape[0] * picture.shape[1]


@pytest.mark.parametrize("background", [0, 4, 8, None])
@pytest.mark.parametrize("room", [400, 3000, 7000])
def test_large_pictures_are_scored_in_parts_and_a_few_classes_at_a_time_to_the_same_labels(
    monkeypatch: pytest.MonkeyPatch, background: int | None, room: int
) -> None:
    segmenter, card = tiny_segmenter("patch-alignment"), tiny_card(background=background, threshold=0.3)
    texts = tiny_texts(len(card.text_classes()))
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(ODD_SIZES)]
    rules = Rules(sweep=(0.0, 0.1, 0.3), confidence=True)
    whole = segment_images(segmenter, card, texts, pictures, rules)
    assert len(torch.cat([one.labels.flatten() for one in whole]).unique()) > 3
    monkeypatch.setattr(inference, "SCORES_AT_ONCE", room)
    for part, one in zip(segment_images(segmenter, card, texts, pictures, rules), whole, strict=True):
        torch.testing.assert_close(part.confidence, one.confidence)
        differ = [part.labels != one.labels]
        if part.swept is not None and one.swept is not None:
            differ.append((part.swept != one.swept).any(dim=0))
        assert torch.stack(differ).double().mean() < 0.002, "ties are rare"
        assert (part.swept is None) == (one.swept is None) == (background is None)


def test_a_sweep_without_a_background_gives_nothing_more() -> None:
    segmenter, card, texts = tiny_segmenter("groupvit"), tiny_card(background=None), tiny_texts(9)
    (found,) = segment_images(segmenter, card, texts, [tiny_picture(31, 45)], Rules(sweep=(0.1, 0.5)))
    assert found.swept is None


def test_group_maps_and_confidence_are_given_on_request() -> None:
    card, texts, picture = tiny_card(), tiny_texts(8), tiny_picture(31, 45)
    asked = Rules(groups=True, confidence=True)
    (groups,) = segment_images(tiny_segmenter("groupvit"), card, texts, [picture], asked)
    assert groups.groups is not None
    assert groups.groups.shape == (31, 45)
    assert 1 < len(groups.groups.unique()) <= 5
    assert groups.confidence is not None
    assert 0 < groups.confidence.min() <= groups.confidence.max() <= 1
    (cells,) = segment_images(tiny_segmenter("patch-alignment"), card, texts, [picture], asked)
    assert cells.groups is None
    assert cells.confidence is not None
    (plain,) = segment_images(tiny_segmenter("groupvit"), card, texts, [picture])
    assert plain.groups is plain.confidence is None


def test_one_class_for_a_window_is_the_one_that_fits_all_of_it() -> None:
    segmenter, texts = tiny_segmenter("groupvit"), tiny_texts(9)
    card = tiny_card(background=None, resize=None, window=None)
    picture = tiny_picture(32, 48)
    (found,) = segment_images(segmenter, card, texts, [picture], Rules(best=1))
    levels = torch.from_numpy(picture).permute(2, 0, 1).double() / 255
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (segmenter.mean, segmenter.std))
    whole = segmenter.similarity(segmenter.dense(((levels - mean) / std)[None]).whole, texts)
    assert found.labels.unique().tolist() == [int(whole.argmax())]


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_gives_nearly_the_same_labels(kind: str) -> None:
    card, texts = tiny_card(background=None), tiny_texts(9).float()
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(ODD_SIZES[:3])]
    segmenter = tiny_segmenter(kind, dtype=torch.float32)
    full = segment_images(segmenter, card, texts, pictures)
    half = segment_images(replace(segmenter, precision="bf16"), card, texts, pictures)
    same = [(a.labels == b.labels).double().mean() for a, b in zip(full, half, strict=True)]
    assert min(same) > 0.8
    assert not all(torch.equal(a.labels, b.labels) for a, b in zip(full, half, strict=True)), "bf16 was used"


def test_class_vectors_of_another_card_are_refused() -> None:
    with pytest.raises(ValueError, match="7 class vectors for 8 classes of tiny"):
        segment_images(tiny_segmenter("groupvit"), tiny_card(), tiny_texts(7), [tiny_picture(20, 20)])
