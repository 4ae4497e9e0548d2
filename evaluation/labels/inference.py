"""Zero-shot segmentation of pictures by words: GroupViT's evaluation (its section 4.1), for every segmenter.

    picture -> resize -> windows -> regions -> best classes, scores -> scores of pixels, background -> mean over
    windows -> size of the picture -> arg max

Windows of equal size go through the model together, whichever picture they are of. Only a few classes can win in a
window, so the pixels of a picture are scored for these alone: equal to scoring all, at a fraction of the work.

Under the protocol clip (Rules.words) windows and features are the same, labels come from them by words.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import Card
from evaluation.labels import labelling, windows
from evaluation.labels.fixed_point import resize_as_opencv
from evaluation.labels.windows import Box
from evaluation.labels.words import WordRules, WordScores, labels_of, word_scores
from evaluation.models.segmenters import Segmenter
from files.errors import CocuError
from training.models.learner import DenseFeatures

Picture = NDArray[np.uint8] | Tensor
# Scores of pixels that are held at a picture's own size: of a few classes after another, where it has many pixels.
SCORES_AT_ONCE = 1 << 25
# Scores that a picture may have at the size that its windows are cut from.
MOST_SCORES = 1 << 30
MOST_WINDOWS = 1 << 14


@dataclass(frozen=True)
class Rules:
    """What a run may choose; the card says the rest.

    best: classes that a window can have. threshold: of the background, in place of the card's. sweep: thresholds of
    which each gives labels of its own, besides. windows_at_once: through the model. groups, confidence: whether to
    give these maps too. words: the protocol clip's; None: the rules of GroupViT. distractors: ascending; of so many
    further texts, which follow those of the classes, each number gives labels of its own, besides. as_released:
    pictures are resized in fixed point, and prompts averaged before unit length, as by GroupViT's own code.
    """

    best: int = 5
    threshold: float | None = None
    sweep: tuple[float, ...] = ()
    windows_at_once: int = 8
    groups: bool = False
    confidence: bool = False
    words: WordRules | None = None
    distractors: tuple[int, ...] = ()
    as_released: bool = False

    def texts(self, card: Card) -> int:
        """How many texts stand for the classes of a card."""
        return len(self.words.owners) if self.words else len(card.text_classes())


@dataclass(frozen=True)
class Labelled:
    """A segmented picture, on the segmenter's device.

    labels: class indices of the card, int16 [H, W]. swept: the same for each threshold of Rules.sweep, [T, H, W].
    distracted: the same beside each number of Rules.distractors, [N, H, W]; distractor i is class C + i. groups: the
    region of the model that a pixel belongs to most, seen in one view of the whole picture, int16
    [H, W]; None where the model has no groups. confidence: score of the best class that text names, 0 to 1, [H, W].
    """

    labels: Tensor
    swept: Tensor | None = None
    groups: Tensor | None = None
    confidence: Tensor | None = None
    distracted: Tensor | None = None


@torch.inference_mode()
def segment_images(
    segmenter: Segmenter, card: Card, class_vectors: Tensor, images: Sequence[Picture], rules: Rules = Rules()
) -> list[Labelled]:
    """Pictures uint8 [H, W, 3] of any sizes -> their labels, in order.

    class_vectors: [C, D], of Card.text_classes, as evaluation.prompts makes them, or of the words that Rules.words has;
    after them those of distractors. Raises CocuError where the model's scores are no numbers.
    """
    if len(class_vectors) != (wanted := rules.texts(card) + max(rules.distractors, default=0)):
        raise ValueError(f"{len(class_vectors)} class vectors for {wanted} classes of {card.name}")
    resized = [levels_of(segmenter, card, image, rules) for image in images]
    boxes = [windows.windows_of(picture.shape[1], picture.shape[2], card.window) for picture in resized]
    label = _by_words if rules.words else _by_best_classes
    found, grouped = label(segmenter, card, class_vectors, images, resized, boxes, rules)
    if rules.groups and grouped:
        return [
            replace(one, groups=_group_map(segmenter, picture, (int(image.shape[0]), int(image.shape[1]))))
            for one, picture, image in zip(found, resized, images, strict=True)
        ]
    return found


def too_large(card: Card, sides: tuple[int, int], rules: Rules = Rules()) -> str | None:
    """Why a picture of these sides cannot be segmented as the card says; None where it can."""
    height, width = windows.resized_sides(*sides, card.resize)
    seen, view = 1, height * width
    if card.window is not None:
        view = min(card.window.size, height) * min(card.window.size, width)
        for side in (height, width):
            seen *= windows.how_many(side, card.window.size, card.window.stride)
    among = max(rules.distractors, default=0)
    if rules.words:
        kept = len(rules.words.owners) + among
    else:
        kept = min(len(card.classes) + among, rules.best * seen) + len(rules.sweep) + 1
    scores = height * width * kept
    if scores <= MOST_SCORES and seen <= MOST_WINDOWS and view <= windows.LARGE:
        return None
    return (
        f"is {sides[1]} x {sides[0]} pixels, of which the model would have to see {width} x {height} in {seen:,} "
        f"windows with {scores:,} scores; give the card {card.name} a smaller `resize`"
        + (", or fewer --distractors" if among else "")
    )


@dataclass(frozen=True)
class _WindowScores:
    """What the model says of one window, before its pixels are looked at.

    best: classes [K], ascending. scores: of the regions for them [G, K]. maps: [G, h, w] or None, grid: as
    DenseFeatures.
    """

    best: Tensor
    scores: Tensor
    maps: Tensor | None
    grid: tuple[int, int]


@dataclass(frozen=True)
class _PixelScores:
    """A picture as it was resized: candidates [K], classes that may win; scores [K + T, h, w]: theirs, backgrounds'."""

    candidates: Tensor
    scores: Tensor

    def at(self, sides: tuple[int, int], box: Box) -> Iterator[tuple[Tensor, Tensor]]:
        """Scores of a part of the picture at its own size, so many at once as memory has room for.

        Of candidates, of backgrounds.
        """
        named = len(self.candidates)
        several = max(1, SCORES_AT_ONCE // (box.height * box.width))
        for start in range(0, len(self.scores), several):
            part = self.scores[start : start + several]
            part = box.of(part) if tuple(part.shape[1:]) == sides else windows.bilinear(part[None], sides, box)[0]
            yield part[: max(0, named - start)], part[max(0, named - start) :]


def levels_of(segmenter: Segmenter, card: Card, image: Picture, rules: Rules = Rules()) -> Tensor:
    """A picture as the card wants it, levels 0 to 255, uint8 [3, h, w]."""
    levels = torch.as_tensor(image, device=segmenter.device).permute(2, 0, 1)
    sides = windows.resized_sides(levels.shape[1], levels.shape[2], card.resize)
    if rules.as_released:
        return resize_as_opencv(levels, sides)
    return windows.resize_picture(levels, sides).to(torch.uint8)


def features_of(segmenter: Segmenter, levels: Tensor) -> DenseFeatures:
    """Windows of levels 0 to 255, [B, 3, h, w] -> their regions."""
    levels = levels.to(segmenter.dtype)
    mean = levels.new_tensor(segmenter.mean).view(3, 1, 1) * 255
    std = levels.new_tensor(segmenter.std).view(3, 1, 1) * 255
    return segmenter.dense(windows.to_model_sides((levels - mean) / std, segmenter.multiple))


def _seen(
    segmenter: Segmenter, pictures: Sequence[Tensor], boxes: Sequence[Sequence[Box]], rules: Rules
) -> Iterator[tuple[list[tuple[int, int]], DenseFeatures]]:
    """All windows through the model, so many of one size together: which of which picture, and their regions."""
    by_size: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for picture, places in enumerate(boxes):
        for place, box in enumerate(places):
            by_size[box.height, box.width].append((picture, place))
    for alike in by_size.values():
        for start in range(0, len(alike), rules.windows_at_once):
            chosen = alike[start : start + rules.windows_at_once]
            levels = torch.stack([boxes[picture][place].of(pictures[picture]) for picture, place in chosen])
            yield chosen, features_of(segmenter, levels)


def _by_best_classes(
    segmenter: Segmenter,
    card: Card,
    class_vectors: Tensor,
    images: Sequence[Picture],
    pictures: Sequence[Tensor],
    boxes: Sequence[Sequence[Box]],
    rules: Rules,
) -> tuple[list[Labelled], bool]:
    """Labels by the rules of GroupViT; and whether the model has groups."""
    numbers = [rules.texts(card) + count for count in (0, *rules.distractors)]
    scores: dict[tuple[int, int], list[_WindowScores]] = {}
    for chosen, regions in _seen(segmenter, pictures, boxes, rules):
        for number in numbers:
            texts = class_vectors[:number].to(regions.vectors.dtype)
            best = labelling.best_classes(segmenter.similarity(regions.whole, texts), rules.best)
            found = labelling.region_scores(regions.vectors @ texts.mT, best, segmenter.scale)
            for i, window in enumerate(chosen):
                maps = None if regions.maps is None else regions.maps[i]
                scores.setdefault(window, []).append(_WindowScores(best[i], found[i], maps, regions.grid))
    _refuse_not_numbers(segmenter, [one.scores for of_window in scores.values() for one in of_window])
    results = []
    for picture, (image, places) in enumerate(zip(images, boxes, strict=True)):
        of_windows = [scores[picture, place] for place in range(len(places))]
        ways = [[one[way] for one in of_windows] for way in range(len(numbers))]
        resized, sides = pictures[picture].shape[1:], (int(image.shape[0]), int(image.shape[1]))
        results.append(_labelled_in_ways(ways, places, resized, sides, card, rules))
    return results, any(one[0].maps is not None for one in scores.values())


def _labelled_in_ways(
    ways: Sequence[Sequence[_WindowScores]],
    places: Sequence[Box],
    resized: Sequence[int],
    sides: tuple[int, int],
    card: Card,
    rules: Rules,
) -> Labelled:
    """A picture's labels; ways: scores of its windows, first without distractors, then beside each number of them."""
    thresholds = _thresholds(card, rules)
    alone = replace(rules, sweep=(), confidence=False)
    own = _labelled(_pixel_scores(ways[0], places, resized, thresholds), sides, card, rules)
    others = [_pixel_scores(way, places, resized, thresholds[:1]) for way in ways[1:]]
    beside = [_labelled(pixels, sides, card, alone).labels for pixels in others]
    return replace(own, distracted=torch.stack(beside)) if beside else own


def _by_words(
    segmenter: Segmenter,
    card: Card,
    class_vectors: Tensor,
    images: Sequence[Picture],
    pictures: Sequence[Tensor],
    boxes: Sequence[Sequence[Box]],
    rules: Rules,
) -> tuple[list[Labelled], bool]:
    """Labels by the best of all words (words.py); and whether the model has groups."""
    assert rules.words is not None
    regions: dict[tuple[int, int], DenseFeatures] = {}
    for chosen, found in _seen(segmenter, pictures, boxes, rules):
        for i, window in enumerate(chosen):
            maps = None if found.maps is None else found.maps[i : i + 1]
            regions[window] = DenseFeatures(found.vectors[i : i + 1], found.grid, maps, found.whole[i : i + 1])
    _refuse_not_numbers(segmenter, [class_vectors, *(one.vectors for one in regions.values())])
    further = range(len(card.classes), len(card.classes) + max(rules.distractors, default=0))
    names = torch.tensor([*rules.words.owners, *further], dtype=torch.int16, device=segmenter.device)
    results = []
    for picture, (image, places) in enumerate(zip(images, boxes, strict=True)):
        resized = (int(pictures[picture].shape[1]), int(pictures[picture].shape[2]))
        of_windows = [regions[picture, place] for place in range(len(places))]
        sides = (int(image.shape[0]), int(image.shape[1]))
        # Scores of all words are large: those of a picture are gone before the next one has its own.
        results.append(
            _labelled_by_words(
                WordScores(word_scores(of_windows, places, resized, class_vectors, rules.words.scale), names),
                *(sides, card, rules, rules.words),
            )
        )
    return results, any(one.maps is not None for one in regions.values())


def _labelled_by_words(
    scores: WordScores, sides: tuple[int, int], card: Card, rules: Rules, words: WordRules
) -> Labelled:
    """A picture's labels, and those beside each number of distractors."""
    background, thresholds, own = card.background_index, _thresholds(card, rules), len(words.owners)
    labels, probability = labels_of(scores.first(own), sides, words, background, thresholds)
    beside = [
        labels_of(scores.first(own + count), sides, words, background, thresholds[:1])[0][0]
        for count in rules.distractors
    ]
    return Labelled(
        labels=labels[0],
        swept=torch.stack(labels[1:]) if len(labels) > 1 else None,
        confidence=probability if rules.confidence else None,
        distracted=torch.stack(beside) if beside else None,
    )


def _refuse_not_numbers(segmenter: Segmenter, scores: Sequence[Tensor]) -> None:
    """Raises CocuError: of NaN every comparison would choose some class all the same."""
    if scores and not torch.cat([of_window.flatten() for of_window in scores]).isfinite().all():
        raise CocuError(
            f"{segmenter.name}: the model's scores are no finite numbers, in {segmenter.precision}; its training has "
            "diverged or its file is damaged: give another checkpoint"
            + (", or --precision fp32" if segmenter.precision != "fp32" else "")
        )


def _pixel_scores(
    scores: Sequence[_WindowScores],
    boxes: Sequence[Box],
    resized: Sequence[int],
    thresholds: Sequence[float],
) -> _PixelScores:
    """Scores of a picture's windows -> of its pixels, averaged where windows overlap."""
    candidates = torch.cat([window.best for window in scores]).unique()
    channels = len(candidates)
    total = scores[0].scores.new_zeros(channels + len(thresholds), *resized)
    count = total.new_zeros(*resized)
    background_rows = torch.arange(channels, len(total), device=total.device)
    for window, box in zip(scores, boxes, strict=True):
        of_best, best, highest = _one_window(window, (box.height, box.width))
        background = [labelling.background_of_pixels(best, threshold, highest)[None] for threshold in thresholds]
        rows = torch.cat([torch.searchsorted(candidates, window.best), background_rows])
        windows.add_window(total, count, box, rows, torch.cat([of_best, *background]))
    total /= count
    return _PixelScores(candidates, total)


def _one_window(window: _WindowScores, sides: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of a window's pixels for its best classes [K, *sides], the best of them [*sides], the highest []."""
    if window.maps is None:
        pixels = labelling.scores_by_cell(window.scores, window.grid, sides)
        best = pixels.amax(dim=0)
        return pixels, best, best.max()
    regions = labelling.region_of_pixel(window.maps[None], sides)[0]
    best = window.scores.amax(dim=1)
    return labelling.scores_by_region(window.scores, regions), F.embedding(regions, best[:, None])[..., 0], best.max()


def _thresholds(card: Card, rules: Rules) -> tuple[float, ...]:
    """Thresholds of the background: the one that counts, then those of the sweep; none without a background."""
    if card.background is None:
        return ()
    return (card.background.threshold if rules.threshold is None else rules.threshold, *rules.sweep)


def _parts(sides: tuple[int, int], channels: int) -> Iterator[Box]:
    """All of a picture in one, or, of a large one, parts that have room for so many values of each pixel."""
    whole = sides[0] * sides[1]
    return windows.tiles(*sides, whole if whole <= SCORES_AT_ONCE else max(1, SCORES_AT_ONCE // (8 * channels)))


def _labelled(pixels: _PixelScores, sides: tuple[int, int], card: Card, rules: Rules) -> Labelled:
    """The highest score of each pixel -> its label, at the picture's own size; of equal ones the first."""
    background = card.background_index
    further = max(rules.distractors, default=0)
    named = [index for index in range(len(card.classes) + further) if index != background]
    device = pixels.scores.device
    labels = torch.empty(1 + len(rules.sweep if card.background else ()), *sides, dtype=torch.int16, device=device)
    confidence = pixels.scores.new_empty(sides) if rules.confidence else None
    for box in _parts(sides, len(pixels.scores)):
        best = pixels.scores.new_full((1, 1), -torch.inf)
        classes = torch.zeros(1, 1, dtype=torch.int16, device=device)
        class_of = torch.tensor(named, dtype=torch.int16, device=device)[pixels.candidates]
        chosen: list[Tensor] = []
        for scores, backgrounds in pixels.at(sides, box):
            if len(scores):
                highest, place = scores.max(dim=0)
                classes = torch.where(highest > best, class_of[: len(scores)][place], classes)
                best, class_of = torch.maximum(highest, best), class_of[len(scores) :]
            chosen += [labelling.choose_labels(best, classes, score, background) for score in backgrounds]
        for whole, part in zip(labels, chosen or [classes], strict=True):
            box.of(whole).copy_(part)
        if confidence is not None:
            box.of(confidence).copy_(best)
    return Labelled(labels[0], labels[1:] if len(labels) > 1 else None, confidence=confidence)


def _group_map(segmenter: Segmenter, picture: Tensor, sides: tuple[int, int]) -> Tensor:
    """The group that each pixel belongs to most, in one view of the whole picture: windows share no groups."""
    maps = features_of(segmenter, picture[None]).maps
    assert maps is not None
    groups = torch.empty(sides, dtype=torch.int16, device=maps.device)
    for box in _parts(sides, maps.shape[1]):
        box.of(groups).copy_(labelling.region_of_pixel(maps, sides, box)[0])
    return groups
