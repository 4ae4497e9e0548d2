"""The `.concepts.json` of pairs, many at once: columns of what is kept of them -> the bytes of each member.

Curation writes them, training makes them anew of a curation's tables: the same bytes either way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CONCEPTS_VERSION = 1
CONCEPTS_FIELD = "concepts.json"
REGION = ("x0", "y0", "x1", "y1", "area", "peak")
_DIGITS = (3, 3, 3, 3, 4, 4)  # of the columns of a region
_BEGIN, _END = f'{{"version": {CONCEPTS_VERSION}, "concepts": [', "]}"
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode
_EXACT = 2.0**23  # from here on a float32 is a whole number
_SMALL, _LARGE = 1e-4, 1e9  # Arrow's and Python's exponents begin at or beyond these


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


def concepts_json(kept: KeptConcepts) -> pa.Array:
    """The `.concepts.json` of each pair, as json.dumps would write it; the confidence stands where it is known.

    Arrow binary [B].
    """
    known = ~np.isnan(kept.confidence)
    parts = [
        _each('{{"concept": {}, "score": ', kept.concept, _AS_JSON),
        _numbers(kept.score, 5),
        _each(', "cluster": {}', pa.array(kept.cluster, pa.int32()), str),
        _each(', "in_caption": {}', pa.array(kept.in_caption, pa.bool_()), _AS_JSON),
        *([_confidence(kept.confidence, known)] if known.any() else []),
        *([] if kept.regions is None else [_regions(kept.regions)]),
        "}",
    ]
    listed = pa.ListArray.from_arrays(pa.array(kept.offsets, pa.int32()), _joined(parts))
    return _joined([_BEGIN, pc.binary_join(listed, ", "), _END]).cast(pa.binary())


def recovered(kept: KeptConcepts, most: int) -> list[list[str]]:
    """Of each pair the first so many concepts that its caption does not name."""
    new = ~np.asarray(kept.in_caption, bool)
    words = kept.concept.filter(pa.array(new)).to_pylist()
    bounds = np.concatenate([[0], np.cumsum(new)])[kept.offsets].tolist()
    return [words[start : min(stop, start + most)] for start, stop in pairwise(bounds)]


def _joined(parts: Sequence[pa.Array | str]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _each(text: str, values: pa.Array, form: Callable[[Any], str]) -> pa.Array:
    """The text with each value in its place; each different one is put there once."""
    coded = values.dictionary_encode()
    return pa.array([text.format(form(value)) for value in coded.dictionary.to_pylist()], pa.string()).take(
        coded.indices
    )


def _numbers(values: np.ndarray, digits: int) -> pa.Array:
    """Numbers as JSON has them, rounded as Python rounds.

    The product of a float32 and such a power of ten is exact in float64, and so is rounded as the decimal number.
    """
    exact = np.asarray(values, np.float64)
    if values.dtype == np.float32:
        scale = 10.0**digits
        near = np.where(np.abs(exact) < _EXACT, np.rint(exact * scale) / scale, exact)
    else:
        near = np.array([round(value, digits) for value in exact.tolist()], np.float64)
    # Arrow writes the same digits as Python, but whole numbers without a point, and exponents elsewhere.
    odd = (near == np.rint(near)) | (np.abs(near) < _SMALL) | (np.abs(near) > _LARGE)
    python = pa.array([repr(value) for value in near[odd].tolist()], pa.string())
    return pc.replace_with_mask(pa.array(near).cast(pa.string()), pa.array(odd), python)


def _confidence(values: np.ndarray, known: np.ndarray) -> pa.Array:
    return pc.if_else(pa.array(known), _joined([', "confidence": ', _numbers(values, 4)]), "")


def _regions(regions: np.ndarray) -> pa.Array:
    x0, y0, x1, y1, area, peak = (_numbers(regions[:, i], digits) for i, digits in enumerate(_DIGITS))
    box = [', "box": [', x0, ", ", y0, ", ", x1, ", ", y1, '], "area": ', area, ', "peak": ', peak]
    unseen = ', "box": null, "area": null, "peak": null'
    return pc.if_else(pa.array(np.isnan(regions[:, 5])), unseen, _joined(box))
