"""How well a ranking of concepts recovers what captions leave out: figures over plain arrays.

A *gap object* of a pair is in its picture and named by nothing in its caption; a *recovered*
concept is one that the caption does not name. It is *new* if it names an object, and the caption does not name that
object: "person" beside a captioned man is recovered, and no news. `curation/recovery/scorecard.py` applies this to a
folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

KS = (1, 3, 5, 8, 16)
RESAMPLES = 2_000
# Entries of a resampling matrix drawn at once: bounds its memory to some 100 MB.
_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Figure:
    """A figure and its bootstrap 95 % interval over pairs; NaN where its denominator is 0."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The figures of one ranking; `ks` gives the k of each entry of a tuple.

    precision_new: of the k best recovered concepts, those that are new: the share whose object is in the picture.
    recall: share of all gap objects that one of the k best recovered concepts of their pair names.
    precision: of the k best recovered concepts that name any object, the share whose object is in
    the picture; precision_strict: the same, where only large objects count as in the picture.
    mean_average_precision: mean of `PairCounts.average_precision` over the pairs with gaps.
    object_gaps, object_recovered, object_false_alarms [n_objects]: pairs in which the object is a
    gap; of them, those in which one of the `object_k` best recovered concepts names it; pairs in
    which one does though the picture does not show it. Fractions in a mean over several rankings.
    """

    ks: tuple[int, ...]
    pairs: int
    pairs_with_gaps: int
    gaps: int
    precision_new: tuple[Figure, ...]
    recall: tuple[Figure, ...]
    precision: tuple[Figure, ...]
    precision_strict: tuple[Figure, ...]
    mean_average_precision: Figure
    object_k: int
    object_gaps: NDArray[np.float64]
    object_recovered: NDArray[np.float64]
    object_false_alarms: NDArray[np.float64]


@dataclass(frozen=True)
class PairCounts:
    """What each pair adds to the figures: numerators and denominators that the bootstrap draws.

    gaps [n]: gap objects. found [n, ks]: those that the k best recovered concepts name.
    named [n, ks]: recovered concepts among the k best that name any object; right, right_strict
    [n, ks]: of these, the ones whose object is in the picture, and the ones where it is large. new, right_new [n, ks]:
    of named and right, those whose object the caption does not name.

    average_precision [n], 0 where a pair has no gap: objects are ranked by the first recovered
    concept that names them, over the whole archive, each object once. Gap objects are relevant, all
    others are not, those that the caption names included. It is the sum, over the gap objects
    found, of the precision at their place in this ranking, divided by the number of all gap objects
    of the pair, found or not.
    """

    ks: tuple[int, ...]
    gaps: NDArray[np.float64]
    found: NDArray[np.float64]
    named: NDArray[np.float64]
    right: NDArray[np.float64]
    right_strict: NDArray[np.float64]
    new: NDArray[np.float64]
    right_new: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    object_gaps: NDArray[np.float64]
    object_recovered: NDArray[np.float64]
    object_false_alarms: NDArray[np.float64]


def score_ranked(
    pair: NDArray[Any],
    concept: NDArray[Any],
    *,
    names_object: NDArray[Any],
    gaps: NDArray[np.bool_],
    present: NDArray[np.bool_],
    present_strict: NDArray[np.bool_] | None = None,
    captioned: NDArray[np.bool_] | None = None,
    recovered: NDArray[np.bool_] | None = None,
    ks: Sequence[int] = KS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score one ranking: `count_pairs`, then `summarise`; the arguments are theirs."""
    counts = count_pairs(
        pair,
        concept,
        names_object=names_object,
        gaps=gaps,
        present=present,
        present_strict=present_strict,
        captioned=captioned,
        recovered=recovered,
        ks=ks,
    )
    return summarise([counts], resamples=resamples, seed=seed)[0]


def count_pairs(
    pair: NDArray[Any],
    concept: NDArray[Any],
    *,
    names_object: NDArray[Any],
    gaps: NDArray[np.bool_],
    present: NDArray[np.bool_],
    present_strict: NDArray[np.bool_] | None = None,
    captioned: NDArray[np.bool_] | None = None,
    recovered: NDArray[np.bool_] | None = None,
    ks: Sequence[int] = KS,
) -> PairCounts:
    """Count hits per pair.

    pair, concept: int [rows], pair and concept of each archive row; the rows of a pair stand best
    first, pairs may be interleaved.
    names_object: int [n_concepts], the object that a concept names, or -1.
    gaps, present: bool [n_pairs, n_objects]; present_strict (default: present): the large ones; captioned (default:
    none): those that the caption names.
    recovered: bool [rows] (default: all), false for concepts of the caption; only recovered
    concepts take a place in the ranking.

    Raises ValueError for arrays that do not fit together and for a k under 1.
    """
    ks = tuple(ks)
    strict = present if present_strict is None else present_strict
    captioned = np.zeros_like(present) if captioned is None else captioned
    n_pairs, n_objects = gaps.shape
    if not ks or min(ks) < 1:
        raise ValueError(f"ks must be positive, got {ks}")
    if not gaps.shape == present.shape == strict.shape == captioned.shape:
        raise ValueError(
            f"gaps {gaps.shape}, present {present.shape}, strict {strict.shape}, captioned {captioned.shape}"
        )
    if pair.shape != concept.shape or (recovered is not None and recovered.shape != pair.shape):
        raise ValueError("pair, concept and recovered must be of one length")
    if recovered is not None:
        pair, concept = pair[recovered], concept[recovered]
    order = np.argsort(pair, kind="stable")
    pair, named = pair[order].astype(np.int64), names_object[concept[order]].astype(np.int64)
    place = _place(pair, n_pairs)
    kept = named >= 0
    pair, named, place = pair[kept], named[kept], place[kept]
    first = np.zeros(len(pair), dtype=bool)
    first[np.unique(pair * n_objects + named, return_index=True)[1]] = True
    found, right = gaps[pair, named] & first, present[pair, named]
    new = ~captioned[pair, named]

    def per_pair(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        columns = [np.bincount(pair[rows & (place <= k)], minlength=n_pairs) for k in ks]
        return np.stack(columns, axis=1).astype(np.float64)

    def per_object(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        best = rows & (place <= _object_k(ks))
        return np.bincount(named[best], minlength=n_objects).astype(np.float64)

    n_gaps = gaps.sum(axis=1).astype(np.float64)
    return PairCounts(
        ks=ks,
        gaps=n_gaps,
        found=per_pair(found),
        named=per_pair(np.ones(len(pair), dtype=bool)),
        right=per_pair(right),
        right_strict=per_pair(strict[pair, named]),
        new=per_pair(new),
        right_new=per_pair(right & new),
        average_precision=_average_precision(pair[first], found[first], n_gaps),
        object_gaps=gaps.sum(axis=0).astype(np.float64),
        object_recovered=per_object(found),
        object_false_alarms=per_object(first & ~right),
    )


def summarise(rankings: Sequence[PairCounts], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Scores]:
    """Figures with 95 % percentile intervals from a bootstrap over pairs.

    The rankings must be of the same pairs, in the same order: they share each resample. A figure is
    a ratio of two sums over pairs; a resample draws pairs with replacement and gives both sums
    anew. Resamples whose denominator is 0 are left out of the interval.
    """
    over: list[NDArray[np.float64]] = []
    under: list[NDArray[np.float64]] = []
    for counts in rankings:
        gaps, has_gap = counts.gaps[:, None], (counts.gaps[:, None] > 0).astype(np.float64)
        over += [counts.right_new, counts.found, counts.right, counts.right_strict, counts.average_precision[:, None]]
        under += [counts.new, np.repeat(gaps, len(counts.ks), 1), counts.named, counts.named, has_gap]
    ratios = iter(_ratios(np.hstack(over), np.hstack(under), resamples, seed))

    def figures(n: int) -> tuple[Figure, ...]:
        return tuple(Figure(*map(float, next(ratios))) for _ in range(n))

    scores = []
    for counts in rankings:
        new, recall, precision, strict = (figures(len(counts.ks)) for _ in range(4))
        scores.append(
            Scores(
                ks=counts.ks,
                pairs=len(counts.gaps),
                pairs_with_gaps=int((counts.gaps > 0).sum()),
                gaps=int(counts.gaps.sum()),
                precision_new=new,
                recall=recall,
                precision=precision,
                precision_strict=strict,
                mean_average_precision=figures(1)[0],
                object_k=_object_k(counts.ks),
                object_gaps=counts.object_gaps,
                object_recovered=counts.object_recovered,
                object_false_alarms=counts.object_false_alarms,
            )
        )
    return scores


def count_shuffled(
    pair: NDArray[Any],
    concept: NDArray[Any],
    *,
    recovered: NDArray[np.bool_] | None = None,
    shuffles: int = 20,
    seed: int = 0,
    **arguments: Any,
) -> PairCounts:
    """Mean counts over random orders of the same archives: their content without its ranking.

    The figures that follow are ratios of means: expected right concepts over expected named ones.
    The other arguments are those of `count_pairs`.
    """
    if recovered is not None:
        pair, concept = pair[recovered], concept[recovered]
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(shuffles):
        order = np.argsort(pair + rng.random(len(pair)))
        runs.append(count_pairs(pair[order], concept[order], **arguments))
    means = {
        field.name: np.mean([getattr(run, field.name) for run in runs], axis=0)
        for field in fields(PairCounts)
        if field.name != "ks"
    }
    return PairCounts(ks=runs[0].ks, **means)


def most_frequent(
    counts: NDArray[Any],
    caption_pair: NDArray[Any],
    caption_concept: NDArray[Any],
    depths: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A ranking that knows only the corpus: its most frequent concepts that the caption lacks.

    counts: int [n_concepts], frequency; of equals the lower id comes first.
    caption_pair, caption_concept: int [m], the concepts of the captions, each once per pair.
    depths: int [n_pairs], how many concepts each pair gets, as far as there are so many.
    Returns (pair, concept), int64, the rows of a pair together and best first.
    """
    n_pairs, n_concepts = len(depths), len(counts)
    by_count = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable")
    # The caption's concepts take up so many places at most, so this far down is far enough.
    reach = np.minimum(depths + np.bincount(caption_pair, minlength=n_pairs), n_concepts)
    pair = np.repeat(np.arange(n_pairs), reach)
    concept = by_count[_place(pair, n_pairs) - 1]
    own = caption_pair.astype(np.int64) * n_concepts + caption_concept
    free = ~np.isin(pair * n_concepts + concept, own, kind="sort")
    pair, concept = pair[free], concept[free]
    kept = _place(pair, n_pairs) <= depths[pair]
    return pair[kept], concept[kept]


def _object_k(ks: tuple[int, ...]) -> int:
    return 8 if 8 in ks else max(ks)


def _starts(pair: NDArray[np.int64], n_pairs: int) -> NDArray[np.int64]:
    """First row of each pair; rows are sorted by pair."""
    counts = np.bincount(pair, minlength=n_pairs)
    return np.cumsum(counts) - counts


def _place(pair: NDArray[np.int64], n_pairs: int) -> NDArray[np.int64]:
    """Place 1, 2, ... of each row within its pair; rows are sorted by pair."""
    return np.arange(1, len(pair) + 1) - _starts(pair, n_pairs)[pair]


def _average_precision(
    pair: NDArray[np.int64], relevant: NDArray[np.bool_], n_relevant: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision [n_pairs] of rankings given as rows sorted by pair, best first."""
    n_pairs = len(n_relevant)
    hits = np.concatenate(([0], np.cumsum(relevant)))
    hits_so_far = hits[1:] - hits[_starts(pair, n_pairs)[pair]]
    precision = np.where(relevant, hits_so_far / _place(pair, n_pairs), 0.0)
    total = np.bincount(pair, weights=precision, minlength=n_pairs)
    return np.divide(total, n_relevant, out=np.zeros(n_pairs), where=n_relevant > 0)


def _ratios(over: NDArray[np.float64], under: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Ratios of column sums of over and under [n, m] with intervals: [m, (value, low, high)]."""
    n, m = over.shape
    both = np.hstack([over, under])
    rng = np.random.default_rng(seed)
    sums = np.zeros((resamples, 2 * m))
    step = max(1, _ENTRIES // max(n, 1))
    for start in range(0, resamples if n else 0, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        sums[start : start + rows] = times.astype(np.float64) @ both
    draws = np.full((resamples, m), np.nan)
    np.divide(sums[:, :m], sums[:, m:], out=draws, where=sums[:, m:] > 0)
    result = np.full((m, 3), np.nan)
    total = under.sum(axis=0)
    np.divide(over.sum(axis=0), total, out=result[:, 0], where=total > 0)
    usable = np.isfinite(draws).any(axis=0)
    if usable.any():
        result[usable, 1:] = np.nanpercentile(draws[:, usable], [2.5, 97.5], axis=0).T
    return result
