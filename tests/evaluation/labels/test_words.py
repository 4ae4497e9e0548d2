"""Labels by the best of many words, against the rule written plainly: one window and one word at a time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data_cards.cards import Card
from evaluation.labels import words
from evaluation.labels.inference import Rules, segment_images, too_large
from evaluation.labels.words import WordRules
from evaluation.models.segmenters import Segmenter
from files.errors import CocuError
from tests.evaluation.plain_inference import bilinear, look_through, starts
from tests.evaluation.tiny_segmenters import KINDS, tiny_card, tiny_picture, tiny_segmenter, tiny_texts

SIZES = [(24, 24), (20, 31)]
OWNERS = (0, 0, 0, 1, 2, 2, 3, 4, 4, 5)  # three words of the background, which is class 0
NO_BACKGROUND = (0, 1, 1, 2, 3, 4, 5)


def telling_texts(segmenter: Segmenter, count: int) -> torch.Tensor:
    """Texts that mean what the model sees in some picture: each of them wins somewhere."""
    windows = torch.from_numpy(np.stack([tiny_picture(16, 16, seed=seed) for seed in range(40, 40 + count)]))
    levels = windows.permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(one, dtype=torch.float64).view(3, 1, 1) for one in (segmenter.mean, segmenter.std))
    vectors = segmenter.dense((levels - mean) / std).vectors
    return vectors[torch.arange(count), torch.arange(count) % vectors.shape[1]]


def plain(
    segmenter: Segmenter, card: Card, texts: torch.Tensor, image: np.ndarray, names: list[int], rules: WordRules
) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities [names, H, W] of a picture, and which pixels are near a tie of groups."""
    assert card.resize is not None
    assert card.window is not None
    levels = np.moveaxis(image, 2, 0).astype(np.float64)
    factor = card.resize.short_side / min(image.shape[:2])
    factor = min(factor, (card.resize.long_side or 10**6) / max(image.shape[:2]))
    levels = np.floor(np.round(bilinear(levels, *(int(s * factor + 0.5) for s in image.shape[:2])), 6) + 0.5)
    _, height, width = levels.shape
    look = look_through(segmenter, texts)
    total, count = np.zeros((len(texts), height, width)), np.zeros((height, width))
    tied = np.zeros((height, width))
    size = card.window.size
    for top in starts(height, size, card.window.stride):
        for left in starts(width, size, card.window.stride):
            window = levels[:, top : top + size, left : left + size] / 255
            pixels = np.stack([(window[i] - segmenter.mean[i]) / segmenter.std[i] for i in range(3)])
            sides = window.shape[1:]
            seen = look(bilinear(pixels, *(max(1, round(side / 4)) * 4 for side in sides)))
            if seen.maps is None:
                cosines = bilinear(seen.regions.T.reshape(-1, *seen.grid), *sides)
            else:
                maps = bilinear(seen.maps, *sides)
                cosines = np.empty((len(texts), *sides))
                for y in range(sides[0]):
                    for x in range(sides[1]):
                        cosines[:, y, x] = seen.regions[maps[:, y, x].argmax()]
                ordered = np.sort(maps, axis=0)
                tied[top : top + size, left : left + size] += ordered[-1] - ordered[-2] < 1e-9
            total[:, top : top + size, left : left + size] += cosines
            count[top : top + size, left : left + size] += 1
    cosines, tied = bilinear(total / count, *image.shape[:2]), bilinear(tied[None], *image.shape[:2])[0]
    found = np.zeros((max(names) + 1, *image.shape[:2]))
    exponentials = np.exp(rules.scale * cosines)
    for name, probability in zip(names, exponentials / exponentials.sum(0), strict=True):
        found[name] = np.maximum(found[name], probability)
    return found, tied > 0


def plain_labels(found: np.ndarray, rules: WordRules, threshold: float | None, background: int) -> np.ndarray:
    """Of class probabilities [names, H, W] the labels."""
    if rules.least_area is not None:
        best = found.argmax(0)
        foreground = (best != background).sum()
        for name in range(len(found)):
            if name != background and (best == name).sum() <= rules.least_area * foreground:
                found[name] = -1
    labels = found.argmax(0)
    return labels if threshold is None else np.where(found.max(0) < threshold, background, labels)


CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], dict[str, Any]]] = {
    "no background": ({"background": None}, NO_BACKGROUND, {}),
    "words of the background": ({"threshold": 0.0}, OWNERS, {}),
    "a threshold": ({"threshold": 0.35}, OWNERS, {}),
    "small classes are taken out": ({"threshold": 0.3}, OWNERS, {"least_area": 0.1}),
    "windows that the patch does not divide": ({"window": {"size": 18, "stride": 7}}, OWNERS, {}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_labels_are_those_of_the_plain_rule(kind: str, case: tuple[Any, ...]) -> None:
    changes, owners, more = case
    segmenter, card = tiny_segmenter(kind), tiny_card(classes=6, **changes)
    rules = WordRules(owners, scale=20.0, **more)
    texts = telling_texts(segmenter, len(owners) + 6)
    names = [*owners, *range(6, 12)]
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(SIZES)]
    found = segment_images(segmenter, card, texts, pictures, Rules(words=rules, distractors=(2, 6)))
    threshold = card.background.threshold if card.background else None
    seen = set()
    for picture, labelled in zip(pictures, found, strict=True):
        assert labelled.distracted is not None
        for labels, number in zip((labelled.labels, *labelled.distracted), (0, 2, 6), strict=True):
            many = len(owners) + number
            probabilities, tied = plain(segmenter, card, texts[:many], picture, names[:many], rules)
            expected = plain_labels(probabilities, rules, threshold, 0)
            assert ((labels.numpy() != expected) & ~tied).mean() < 0.002
            seen |= set(expected.flatten().tolist())
    assert len(seen) >= 4, "the test is to see several classes, and distractors"


def test_a_class_is_as_probable_as_its_best_word_not_as_all_of_them() -> None:
    segmenter, card, picture = tiny_segmenter("patch-alignment"), tiny_card(3, background=None), tiny_picture(24, 24)
    first = tiny_texts(3)
    rules = Rules(words=WordRules((0, 1, 2), 5.0))
    (few,) = segment_images(segmenter, card, first, [picture], rules)
    (many,) = segment_images(
        segmenter, card, first[[0, 0, 0, 0, 1, 2]], [picture], replace(rules, words=WordRules((0, 0, 0, 0, 1, 2), 5.0))
    )
    assert torch.equal(few.labels, many.labels)
    assert len(few.labels.unique()) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_gives_what_each_threshold_gives_alone(kind: str) -> None:
    segmenter, card, texts = tiny_segmenter(kind), tiny_card(6), tiny_texts(len(OWNERS))
    rules, picture = Rules(words=WordRules(OWNERS, 5.0, 0.1), confidence=True), tiny_picture(31, 45)
    thresholds = (0.0, 0.3, 0.6, 1.0)
    (swept,) = segment_images(segmenter, card, texts, [picture], replace(rules, sweep=thresholds))
    assert swept.swept is not None
    assert swept.confidence is not None
    for threshold, labels in zip(thresholds, swept.swept, strict=True):
        (alone,) = segment_images(segmenter, card, texts, [picture], replace(rules, threshold=threshold))
        assert torch.equal(alone.labels, labels)
        assert (labels[swept.confidence < threshold] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_and_neighbours_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, card, texts = tiny_segmenter(kind), tiny_card(6), tiny_texts(len(OWNERS) + 5)
    rules = Rules(words=WordRules(OWNERS, 5.0, 0.1), distractors=(5,), groups=True)
    pictures = [tiny_picture(*sides, seed=seed) for seed, sides in enumerate(SIZES)]
    together = segment_images(segmenter, card, texts, pictures, rules)
    monkeypatch.setattr(words, "SCORES_AT_ONCE", 700)
    for picture, whole in zip(pictures, together, strict=True):
        (alone,) = segment_images(segmenter, card, texts, [picture], replace(rules, windows_at_once=1))
        assert torch.equal(alone.labels, whole.labels)
        assert alone.distracted is not None
        assert whole.distracted is not None
        assert torch.equal(alone.distracted, whole.distracted)
        assert (whole.groups is None) == (kind != "groupvit")


def test_scores_that_are_no_numbers_are_refused() -> None:
    segmenter, card = tiny_segmenter("patch-alignment"), tiny_card(3, background=None)
    rules = Rules(words=WordRules((0, 1, 2), 5.0))
    with pytest.raises(CocuError, match="no finite numbers"):
        segment_images(segmenter, card, torch.full((3, 12), torch.nan), [tiny_picture(24, 24)], rules)


def test_a_picture_with_too_many_words_is_told() -> None:
    card = tiny_card(3, background=None, resize={"short_side": 4096}, window={"size": 4096, "stride": 4096})
    few, many = (Rules(words=WordRules((0, 1, 2), 5.0), distractors=number) for number in ((), (3000,)))
    assert too_large(card, (4096, 4096), few) is None
    assert "fewer --distractors" in str(too_large(card, (4096, 4096), many))
