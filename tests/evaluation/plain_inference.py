"""The rules of zero-shot segmentation, written plainly: one picture, one window, one pixel's five classes at a time.

An oracle for evaluation/: float64 NumPy and loops, with its own resizing. `Look` is all that it knows of a model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from data_cards.cards import Card
from evaluation.models.segmenters import Segmenter


@dataclass(frozen=True)
class Seen:
    """A window as a model sees it: regions to texts [G, C], maps [G, h, w] or None, grid, whole to texts [C]."""

    regions: np.ndarray
    maps: np.ndarray | None
    grid: tuple[int, int]
    whole: np.ndarray


@dataclass(frozen=True)
class Plain:
    """labels [H, W]; margin [H, W]: by how much the winning score leads.

    The margin is 0 where another group, or the background's threshold, is as near as rounding errors: a tie.
    """

    labels: np.ndarray
    margin: np.ndarray


Look = Callable[[np.ndarray], Seen]


def bilinear(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """[K, h, w] -> [K, height, width]; pixel centres at half-integers, edges repeated."""
    for axis, target in ((1, height), (2, width)):
        source = field.shape[axis]
        lines = []
        for i in range(target):
            place = max((i + 0.5) * (source / target) - 0.5, 0.0)
            before = min(int(place), source - 1)
            after = min(before + 1, source - 1)
            share = place - before
            lines.append((1 - share) * field.take(before, axis) + share * field.take(after, axis))
        field = np.stack(lines, axis)
    return field


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def look_through(segmenter: Segmenter, texts: torch.Tensor) -> Look:
    """A segmenter, one window at a time."""

    def look(pixels: np.ndarray) -> Seen:
        seen = segmenter.dense(torch.from_numpy(pixels)[None])
        maps = None if seen.maps is None else seen.maps[0].double().numpy()
        whole = segmenter.similarity(seen.whole, texts)[0].double().numpy()
        return Seen((seen.vectors[0] @ texts.T).double().numpy(), maps, seen.grid, whole)

    return look


def plain_labels(
    image: np.ndarray,
    card: Card,
    look: Look,
    *,
    scale: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    multiple: int,
    threshold: float | None = None,
) -> Plain:
    """Labels of uint8 [H, W, 3] by the card's rules. Texts are the card's classes but the background, in order."""
    full = image.shape[:2]
    levels = np.moveaxis(image, 2, 0).astype(np.float64)
    if card.resize is not None:
        factor = card.resize.short_side / min(full)
        if card.resize.long_side is not None and max(full) * factor > card.resize.long_side:
            factor = card.resize.long_side / max(full)
        levels = bilinear(levels, *(int(side * factor + 0.5) for side in full))
        levels = np.floor(np.round(levels, 6) + 0.5)
    _, height, width = levels.shape
    names = [one.name for one in card.classes]
    background = None if card.background is None else names.index(card.background.name)
    if card.background is not None and threshold is None:
        threshold = card.background.threshold

    size, stride = (card.window.size, card.window.stride) if card.window else (max(height, width),) * 2
    total, count = np.zeros((len(names), height, width)), np.zeros((height, width))
    unsure = np.zeros((height, width), bool)
    for top in starts(height, size, stride):
        for left in starts(width, size, stride):
            bottom, right = min(top + size, height), min(left + size, width)
            window = levels[:, top:bottom, left:right] / 255
            pixels = np.stack([(window[i] - mean[i]) / std[i] for i in range(3)])
            sides = [max(1, round(side / multiple)) * multiple for side in pixels.shape[1:]]
            if sides != list(pixels.shape[1:]):
                pixels = bilinear(pixels, *sides)
            scores, tied = window_scores(look(pixels), window.shape[1:], names, background, threshold, scale)
            total[:, top:bottom, left:right] += scores
            count[top:bottom, left:right] += 1
            unsure[top:bottom, left:right] |= tied
    mean_scores = total / count
    doubt = unsure[None].astype(np.float64)
    if (height, width) != full:
        mean_scores, doubt = bilinear(mean_scores, *full), bilinear(doubt, *full)
    ordered = np.partition(mean_scores, -2, axis=0)
    return Plain(mean_scores.argmax(0), np.where(doubt[0] > 0, 0.0, ordered[-1] - ordered[-2]))


def starts(length: int, size: int, stride: int) -> list[int]:
    """Windows of a side: on until one reaches the end, and that one moved back to end there."""
    found = [0]
    while found[-1] + size < length:
        found.append(min(found[-1] + stride, length - size))
    return found


def window_scores(
    seen: Seen,
    sides: tuple[int, ...],
    names: list[str],
    background: int | None,
    threshold: float | None,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a window's pixels for all classes, and which pixels a rounding error would change."""
    five = set(np.argsort(-seen.whole, kind="stable")[:5].tolist())
    scores = []
    for region in seen.regions:
        among_all = softmax(scale * region)
        masked = np.array([scale * value if c in five else -np.inf for c, value in enumerate(region)])
        scores.append(softmax(masked) * among_all)
    table = np.array(scores)
    if seen.maps is None:
        field = bilinear(table.T.reshape(-1, *seen.grid), *sides)
        highest = field.max()
        tied = np.zeros(sides, bool)
    else:
        maps = bilinear(seen.maps, *sides)
        field = np.empty((table.shape[1], *sides))
        for y in range(sides[0]):
            for x in range(sides[1]):
                field[:, y, x] = table[maps[:, y, x].argmax()]
        highest = table.max()
        ordered = np.sort(maps, axis=0)
        tied = ordered[-1] - ordered[-2] < 1e-9
    if background is None:
        return field, tied
    assert threshold is not None
    limit = min(threshold, highest)
    best = field.max(axis=0)
    # The best group is at the limit itself, for certain; among cells, rounding says which pixels are.
    tied |= (np.abs(best - limit) < 1e-9) & ((best != limit) | (seen.maps is None))
    of_background = (best < limit).astype(np.float64)
    return np.insert(field, background, of_background, axis=0), tied
