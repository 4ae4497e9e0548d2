"""Labels by the best of many words, as papers measure that segment with a CLIP as it is (the protocol clip).

    cosines of cells -> of pixels -> mean over windows -> size of the picture -> softmax over all words
    -> a class's probability is that of its best word -> the highest wins; below the threshold: background

No word is left out beforehand, and nothing is decided within a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.labels import labelling, windows
from evaluation.labels.windows import Box
from training.models.learner import DenseFeatures

# Scores of pixels that are held at a picture's own size: of a few words after another, where it has many pixels.
SCORES_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class WordRules:
    """owners: of each word the index of its class in the card, ascending. scale: multiplies a cosine.

    least_area: a class whose share of a picture's foreground is not larger is no candidate in it; None: all are.
    """

    owners: tuple[int, ...]
    scale: float
    least_area: float | None = None


@dataclass(frozen=True)
class WordScores:
    """Scores of a picture's pixels as it was resized, scale times cosine [T, h, w]; names: what each is for [T]."""

    scores: Tensor
    names: Tensor

    def first(self, count: int) -> WordScores:
        """Of the first words alone."""
        return WordScores(self.scores[:count], self.names[:count])


def word_scores(
    regions: Sequence[DenseFeatures], boxes: Sequence[Box], resized: tuple[int, int], texts: Tensor, scale: float
) -> Tensor:
    """A picture's windows, features of each with B = 1, and texts [T, D] -> scores [T, *resized]: means of cosines."""
    total = texts.new_zeros(len(texts), *resized)
    count = total.new_zeros(resized)
    for seen, box in zip(regions, boxes, strict=True):
        cosines = seen.vectors[0] @ texts.to(seen.vectors.dtype).mT
        sides = (box.height, box.width)
        if seen.maps is None:
            pixels = labelling.scores_by_cell(cosines, seen.grid, sides)
        else:
            pixels = labelling.scores_by_region(cosines, labelling.region_of_pixel(seen.maps, sides)[0])
        box.of(total).add_(pixels)
        box.of(count).add_(1)
    return total.div_(count).mul_(scale)


def label_pixels(
    found: WordScores, sides: tuple[int, int], least_area: float | None, background: int | None
) -> tuple[Tensor, Tensor]:
    """Scores of a picture -> at its own size the best word's name, int16 [H, W], and that word's probability [H, W].

    Of equal words the first. least_area: names with no larger share of the pixels that are not background's are barred,
    and those pixels are given to the best of the rest.
    """
    labels, probability = _best(found, sides, None)
    if least_area is None or background is None:
        return labels, probability
    areas = torch.bincount(labels.flatten().long(), minlength=int(found.names.max()) + 1)
    areas[background] = 0
    barred = areas <= least_area * areas.sum()
    barred[background] = False
    return _best(found, sides, barred[found.names.long()])


def labels_of(
    found: WordScores, sides: tuple[int, int], rules: WordRules, background: int | None, thresholds: Sequence[float]
) -> tuple[list[Tensor], Tensor]:
    """Labels for each of the background's thresholds, or the only ones, and the best word's probability."""
    labels, probability = label_pixels(found, sides, rules.least_area, background)
    if background is None:
        return [labels], probability
    none = torch.as_tensor(background, dtype=labels.dtype, device=labels.device)
    return [torch.where(probability < threshold, none, labels) for threshold in thresholds], probability


def _best(found: WordScores, sides: tuple[int, int], barred: Tensor | None) -> tuple[Tensor, Tensor]:
    """barred: words that cannot win [T]; their probability counts all the same."""
    labels = torch.empty(sides, dtype=torch.int16, device=found.scores.device)
    probability = found.scores.new_empty(sides)
    for box in _parts(sides):
        best = mass = found.scores.new_full((1, 1), -torch.inf)
        names = torch.zeros(1, 1, dtype=torch.int16, device=labels.device)
        several = max(1, SCORES_AT_ONCE // (box.height * box.width))
        for start in range(0, len(found.scores), several):
            part = _at(found.scores[start : start + several], sides, box)
            mass = torch.logaddexp(mass, part.logsumexp(dim=0))
            if barred is not None:
                part = part.masked_fill(barred[start : start + several, None, None], -torch.inf)
            highest, place = part.max(dim=0)
            names = torch.where(highest > best, found.names[start : start + several][place], names)
            best = torch.maximum(highest, best)
        box.of(labels).copy_(names)
        box.of(probability).copy_((best - mass).exp())
    return labels, probability


def _at(scores: Tensor, sides: tuple[int, int], box: Box) -> Tensor:
    return box.of(scores) if tuple(scores.shape[1:]) == sides else windows.bilinear(scores[None], sides, box)[0]


def _parts(sides: tuple[int, int]) -> Iterator[Box]:
    return windows.tiles(*sides, max(1, SCORES_AT_ONCE // 8))
