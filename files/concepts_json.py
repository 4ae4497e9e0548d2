"""The `.concepts.json` of pairs, many at once: columns of what is kept of them -> the bytes of each member.

Curation writes them, training makes them anew of a curation's tables: the same bytes either way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CONCEPTS_VERSION = 1
CONCEPTS_FIELD = "concepts.json"
REGION = ("x0", "y0", "x1", "y1", "area", "peak")
_DIGITS = (3, 3, 3, 3, 4, 4)  # of the columns of a region
_BEGIN, _END = f'{{"version": {CONCEPTS_VERSION}, "concepts": [', "]}"
_EXACT = 2.0**23  # from here on a float32 is a whole number


@dataclass(frozen=True)
class KeptConcepts:
    """The kept concepts of B pairs, K in all, best first in each.

    offsets: int64 [B+1], where those of each pair begin. concept: Arrow text [K]. score: float32 [K]. cluster: int32
    [K]. in_caption: bool [K]. confidence: float32 [K], not a number where it is not known. regions: float [K, 6], as
    `REGION` names the columns, not numbers where there was no picture to look at; None where nobody looked.
    """

    offsets: np.ndarray
    concept: pa.Array
    score: np.ndarray
    cluster: np.ndarray
    in_caption: np.ndarray
    confidence: np.ndarray
    regions: np.ndarray | None = None


def concepts_json(kept: KeptConcepts) -> list[bytes]:
    """The `.concepts.json` of each pair, as json.dumps would write it; the confidence stands where it is known."""
    known = _numbers(kept.confidence, 4)
    parts = [
        '{"concept": ',
        _quoted(kept.concept),
        ', "score": ',
        _numbers(kept.score, 5),
        ', "cluster": ',
        pa.array(kept.cluster, pa.int32()).cast(pa.string()),
        ', "in_caption": ',
        pc.if_else(pa.array(kept.in_caption, pa.bool_()), "true", "false"),
        pc.if_else(pa.array(np.isnan(kept.confidence)), "", _joined([', "confidence": ', known])),
        *([] if kept.regions is None else [_regions(kept.regions)]),
        "}",
    ]
    listed = pa.ListArray.from_arrays(pa.array(kept.offsets, pa.int32()), _joined(parts))
    members = _joined([_BEGIN, pc.binary_join(listed, ", "), _END])
    return list(members.cast(pa.binary()).to_pylist())


def recovered(kept: KeptConcepts, most: int) -> list[list[str]]:
    """Of each pair the first so many concepts that its caption does not name."""
    new = ~np.asarray(kept.in_caption, bool)
    words = kept.concept.filter(pa.array(new)).to_pylist()
    bounds = np.concatenate([[0], np.cumsum(new)])[kept.offsets].tolist()
    return [words[start : min(stop, start + most)] for start, stop in pairwise(bounds)]


def _joined(parts: Sequence[pa.Array | str]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _quoted(words: pa.Array) -> pa.Array:
    """Texts as JSON has them; each different one is looked at once."""
    coded = words.dictionary_encode()
    texts = [json.dumps(word, ensure_ascii=False) for word in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


def _numbers(values: np.ndarray, digits: int) -> pa.Array:
    """Numbers as JSON has them, rounded as Python rounds; each different one is written once.

    The product of a float32 and such a power of ten is exact in float64, and so is rounded as the decimal number.
    """
    exact = np.asarray(values, np.float64)
    if values.dtype == np.float32:
        scale = 10.0**digits
        near = np.where(np.abs(exact) < _EXACT, np.rint(exact * scale) / scale, exact)
    else:
        near = np.array([round(value, digits) for value in exact.tolist()], np.float64)
    different, which = np.unique(near.view(np.int64), return_inverse=True)  # by their bits: -0.0 is none of 0.0
    texts = [repr(value) for value in different.view(np.float64).tolist()]
    return pa.array(texts, pa.string()).take(pa.array(which))


def _regions(regions: np.ndarray) -> pa.Array:
    x0, y0, x1, y1, area, peak = (_numbers(regions[:, i], digits) for i, digits in enumerate(_DIGITS))
    box = [', "box": [', x0, ", ", y0, ", ", x1, ", ", y1, '], "area": ', area, ', "peak": ', peak]
    unseen = ', "box": null, "area": null, "peak": null'
    return pc.if_else(pa.array(np.isnan(regions[:, 5])), unseen, _joined(box))
