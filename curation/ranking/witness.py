"""A second witness of what a picture shows: its likeness to the pictures whose captions name the concept.

t(c)·v asks the text encoder; a prototype, the mean of those pictures, knows only pictures. Pictures that lie outside,
named so by mistake or showing the thing small, are dropped from it. The likeness is the projection on the prototype's
direction from the mean of all pictures, in deviations over all pictures, as `PictureStatistics.z` has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking.cooccurrence import mentions_of
from curation.ranking.picture_statistics import STATISTICS_PICTURES, PictureStatistics
from files.npy import wide_rows

# Pictures that project by so many deviations less than the others of their concept are dropped.
OUTSIDE = 1.0
# Counted to the pictures of each concept, of no likeness at all: few pictures prove little.
DOUBT = 5.0
_BLOCK = 2048


@dataclass(frozen=True)
class Witness:
    """Prototypes of C concepts by what they rank: `statistics.concepts` are their unit directions, float32 [C, D].

    trust float32 [C]: 0 where no picture is known, towards 1 where many are.
    """

    statistics: PictureStatistics
    trust: np.ndarray

    def likeness(self, pictures: np.ndarray, anchor: np.ndarray, concept: np.ndarray) -> np.ndarray:
        """Of pictures float32 [B, D], for entries anchor, concept int [P]: float32 [P], 0 where nothing is known."""
        projected = pair_similarity(self.statistics.concepts, concept, pictures, anchor)
        return self.trust[concept] * self.statistics.z(projected, concept)


def fit_witness(statistics: PictureStatistics, rows: CaptionRows, leave_out: np.ndarray | None = None) -> Witness:
    """The prototypes of indexed pairs, of `STATISTICS_PICTURES` at most; leave_out: rows int [.] that take no part."""
    chosen = np.zeros(rows.images, bool)
    chosen[:: max(1, -(-rows.images // STATISTICS_PICTURES))] = True
    if leave_out is not None:
        chosen[leave_out] = False
    pictures = np.flatnonzero(chosen)
    owner, concept = mentions_of(rows, pictures)
    count = len(statistics.concepts)
    directions, named = _directions(statistics, rows, pictures, concept, owner, count)
    likeness = np.empty(len(concept), np.float32)
    for part, vectors, local in _blocks(rows, pictures, owner):
        likeness[part] = pair_similarity(directions, concept[part], vectors, local)
    mean = np.bincount(concept, likeness, count) / np.maximum(named, 1)
    spread = np.sqrt(np.maximum(np.bincount(concept, likeness**2, count) / np.maximum(named, 1) - mean**2, 0))
    inside = likeness >= (mean - OUTSIDE * spread - 1e-6)[concept]
    directions, named = _directions(statistics, rows, pictures, concept[inside], owner[inside], count)
    return Witness(statistics.of(directions), (named / (named + DOUBT)).astype(np.float32))


def _directions(
    statistics: PictureStatistics,
    rows: CaptionRows,
    pictures: np.ndarray,
    concept: np.ndarray,
    owner: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions float32 [C, D] from the mean picture to the mean of a concept's, 0 for none; pictures of each."""
    named = np.bincount(concept, minlength=count)
    sums = pictures_summed(rows, pictures, concept, owner, count) - named[:, None] * statistics.moments[0]
    return (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32), named


def pictures_summed(
    rows: CaptionRows, pictures: np.ndarray, concept: np.ndarray, owner: np.ndarray, count: int
) -> np.ndarray:
    """Of each of `count` concepts the sum of the pictures that it is mentioned with, float32 [count, D].

    pictures: rows int64 [B]; concept, owner int [P]: the mentions, and the place of each one's picture, ascending.
    """
    sums = np.zeros((count, rows.image_vectors.shape[1]), np.float32)
    for part, vectors, local in _blocks(rows, pictures, owner):
        order = np.argsort(concept[part], kind="stable")
        found, first = np.unique(concept[part][order], return_index=True)
        if len(found):
            sums[found] += np.add.reduceat(vectors[local[order]], first)
    return sums


def _blocks(
    rows: CaptionRows, pictures: np.ndarray, owner: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Block by block of pictures: their mentions, their vectors float32, and the place of each mention's picture."""
    for start in range(0, len(pictures), _BLOCK):
        part = slice(*np.searchsorted(owner, [start, start + _BLOCK]).tolist())
        vectors = wide_rows(rows.image_vectors, pictures[start : start + _BLOCK])
        yield part, vectors, owner[part] - start
