"""What claims of new objects are worth, the surest first: their precision against the recall that they reach.

Confidence orders the claims of all pairs: a least one (`cocu curate run --confidence`) trades one for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALLS = tuple(step / 20 for step in range(1, 20))


@dataclass(frozen=True)
class CurvePoint:
    """All claims of at least this confidence: the recall that they reach, their number, and the share that is right."""

    recall: float
    claims: int
    precision_new: float
    confidence: float


def precision_by_recall(
    pair: NDArray[Any],
    named: NDArray[Any],
    confidence: NDArray[Any],
    *,
    gaps: NDArray[np.bool_],
    present: NDArray[np.bool_],
    captioned: NDArray[np.bool_],
    recalls: Sequence[float] = RECALLS,
) -> list[CurvePoint]:
    """For each recall, the highest confidence whose claims reach it; recalls that none reaches are left out.

    pair int [rows]; named int [rows]: the object that a recovered concept names, or -1; confidence [rows], not a number
    for none. A claim is a pair and an object that its caption does not name, at its surest concept's confidence.
    gaps, present, captioned: bool [pairs, objects], as in `measures.count_pairs`.
    """
    kept = (named >= 0) & np.isfinite(confidence)
    kept &= ~captioned[pair, np.maximum(named, 0)]
    pair, named, confidence = pair[kept], named[kept], confidence[kept]
    surest = np.argsort(-confidence, kind="stable")
    key = (pair * gaps.shape[1] + named)[surest]
    first = np.sort(np.unique(key, return_index=True)[1])
    pair, named, confidence = (column[surest][first] for column in (pair, named, confidence))
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True)) if len(pair) else np.zeros(0, np.int64)
    claims, total = last + 1, max(int(gaps.sum()), 1)
    right, found = (np.cumsum(what[pair, named])[last] for what in (present, gaps))
    points = []
    for recall in recalls:
        at = int(np.searchsorted(found / total, recall - 1e-12))
        if at < len(last):
            reached, share = float(found[at] / total), float(right[at] / claims[at])
            points.append(CurvePoint(reached, int(claims[at]), share, float(confidence[last[at]])))
    return list({point.confidence: point for point in points}.values())
