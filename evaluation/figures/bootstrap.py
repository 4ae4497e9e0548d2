"""How sure a figure over pictures is: percentile bootstrap, for one checkpoint and for two on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.figures.confusion import ious, mean_ious

RESAMPLES = 1000
# Resamples are weighed in blocks of so many, which bounds the memory.
_BLOCK = 100


@dataclass(frozen=True)
class Interval:
    """A figure and the 95 % interval of its bootstrap distribution (2.5 and 97.5 percentiles)."""

    value: float
    low: float
    high: float


def mean_iou_interval(
    counts: NDArray[np.int64], members: Sequence[int] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Counts [N, 3, C] of N pictures -> mean IoU over all, and its interval over resampled pictures."""
    drawn = _resampled(counts, members, resamples, seed)
    value = float(mean_ious(counts.sum(0, dtype=np.float64), members))
    return _interval(value, np.concatenate(list(drawn)))


def mean_iou_difference(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    members: Sequence[int] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean IoU of `second` less that of `first`, on the same N pictures in the same order, [N, 3, C] each.

    Paired: every resample takes the same pictures from both. Raises ValueError for other shapes.
    """
    _check_paired(first, second)
    value = float(
        mean_ious(second.sum(0, dtype=np.float64), members) - mean_ious(first.sum(0, dtype=np.float64), members)
    )
    pairs = zip(_resampled(first, members, resamples, seed), _resampled(second, members, resamples, seed), strict=True)
    return _interval(value, np.concatenate([b - a for a, b in pairs]))


@dataclass(frozen=True)
class ClassIntervals:
    """A figure of each class and the 95 % intervals of the bootstrap, [C] each; NaN where there is none."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def iou_differences(
    first: NDArray[np.int64], second: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> ClassIntervals:
    """IoU of each class by `second` less that by `first`, on the same N pictures in the same order, [N, 3, C] each.

    Paired as in `mean_iou_difference`, with the same draws. Raises ValueError for other shapes.
    """
    _check_paired(first, second)
    drawn = np.concatenate(
        [
            ious(b) - ious(a)
            for a, b in zip(_totals(first, resamples, seed), _totals(second, resamples, seed), strict=True)
        ]
    )
    value = ious(second.sum(0, dtype=np.float64)) - ious(first.sum(0, dtype=np.float64))
    # A class that no picture holds has no difference in any resample.
    none = np.isnan(drawn).all(0)
    drawn[:, none] = 0.0
    low, high = (np.where(none, np.nan, end) for end in np.nanpercentile(drawn, [2.5, 97.5], axis=0))
    return ClassIntervals(value, low, high)


def _resampled(
    counts: NDArray[np.int64], members: Sequence[int] | None, resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Mean IoU of each resample, in blocks."""
    for totals in _totals(counts, resamples, seed):
        yield mean_ious(totals, members)


def _totals(counts: NDArray[np.int64], resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Counts over the pictures of each resample, in blocks [B, 3, C]; the same seed draws the same pictures."""
    pictures, kinds, classes = counts.shape
    flat = counts.reshape(pictures, kinds * classes).astype(np.float64)
    chance = np.random.default_rng(seed)
    for first in range(0, resamples, _BLOCK):
        block = min(_BLOCK, resamples - first)
        times = chance.multinomial(pictures, np.full(pictures, 1 / pictures), size=block).astype(np.float64)
        yield (times @ flat).reshape(block, kinds, classes)


def _check_paired(first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    if first.shape != second.shape:
        raise ValueError(f"counts of {first.shape} and {second.shape} are not of the same pictures and classes")


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))
