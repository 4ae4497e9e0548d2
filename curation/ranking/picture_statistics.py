"""Mean and deviation of t(c)·v over the indexed pictures: what a similarity is worth.

    z(c) = (t(c)·v(x) - mean) / deviation

Both follow from the mean m and the covariance S of the pictures' vectors: t(c)·m, and the root of t(c)' S t(c).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from curation.index.caption_rows import CaptionRows
from files.npy import wide_rows

STATISTICS_PICTURES = 50_000
_BLOCK = 4096
# Of unit vectors, which as halves are rounded by about 1e-7 in all.
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class PictureStatistics:
    """What is known of concepts by all indexed pictures; each figure is computed when it is first asked for, once.

    concepts: t(c), float32 [C, D]. pictures: v, float16 [M, D], of which at most `STATISTICS_PICTURES` are read.
    known: `sampled`, where it has been computed before.
    """

    concepts: np.ndarray
    pictures: np.ndarray
    known: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, concepts: np.ndarray) -> PictureStatistics:
        """Of other concepts, by the same pictures, which are not read again."""
        return PictureStatistics(concepts, self.pictures, self.sampled)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean float32 [D] and covariance float32 [D, D] of v; 0 and the identity where all pictures are alike."""
        if self.alike:
            width = self.pictures.shape[1]
            return np.zeros(width, np.float32), np.eye(width, dtype=np.float32)
        return self.sampled

    @cached_property
    def alike(self) -> bool:
        """Whether there are no two pictures that differ by more than rounded vectors of one picture do."""
        return len(self.pictures) < 2 or float(np.trace(self.sampled[1])) < LEAST_VARIANCE

    @cached_property
    def sampled(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean float32 [D] and covariance float32 [D, D] of the pictures that are read; 0 of fewer than two."""
        if self.known is not None:
            return self.known
        width = self.pictures.shape[1]
        if len(self.pictures) < 2:
            return np.zeros(width, np.float32), np.zeros((width, width), np.float32)
        step = -(-len(self.pictures) // STATISTICS_PICTURES)
        sample = wide_rows(self.pictures, np.arange(0, len(self.pictures), step))
        centre = sample.mean(0, dtype=np.float64)
        covariance = np.zeros((width, width))
        for start in range(0, len(sample), _BLOCK):  # as doubles, all of them would be twice as large
            block = sample[start : start + _BLOCK] - centre
            covariance += block.T @ block
        return sample.mean(0), (covariance / (len(sample) - 1)).astype(np.float32)

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean of t(c)·v, float32 [C]."""
        return self.concepts @ self.moments[0]

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of t(c)·v, float32 [C]; 1 where all pictures are alike."""
        if self.alike:
            return np.ones(len(self.concepts), np.float32)
        return np.sqrt(np.maximum(np.einsum("cd,cd->c", self.concepts @ self.moments[1], self.concepts), 1e-8))

    def z(self, similarity: np.ndarray, concept: np.ndarray | slice) -> np.ndarray:
        """z, float32, of similarities [..., P] to the concepts [P], which are ids or a slice of all."""
        return (similarity - self.centre[concept]) / self.spread[concept]

    def z_named(self, rows: CaptionRows) -> tuple[np.ndarray, np.ndarray]:
        """What the captions of indexed pictures name, pair after pair: concepts int32 [P], and their z float32 [P]."""
        named = slice(rows.offsets[rows.images])
        return rows.concept_ids[named], self.z(rows.similarity[named], rows.concept_ids[named])
