"""Anchors: the pairs to curate, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Anchors:
    """B pairs to curate.

    image_vectors, text_vectors: unit rows float32 [B, D].
    rows int64 [B]: their row in the index, -1 for anchors from elsewhere.
    text_hash, image_hash uint64 [B], sketch uint64 [B, .]: as in `CaptionRows`.
    concept_ids int32 [nnz], concept_counts int64 [B]: what the own captions name.
    """

    image_vectors: np.ndarray
    text_vectors: np.ndarray
    rows: np.ndarray
    text_hash: np.ndarray
    image_hash: np.ndarray
    concept_ids: np.ndarray
    concept_counts: np.ndarray
    sketch: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, which: slice) -> Anchors:
        """Those of a slice."""
        ends = np.concatenate([[0], np.cumsum(self.concept_counts)])
        start, stop, _ = which.indices(len(self))
        return Anchors(
            self.image_vectors[which],
            self.text_vectors[which],
            self.rows[which],
            self.text_hash[which],
            self.image_hash[which],
            self.concept_ids[ends[start] : ends[stop]],
            self.concept_counts[which],
            self.sketch[which] if self.sketch is not None else None,
        )

    def take(self, which: np.ndarray) -> Anchors:
        """Some of them, without their concepts: enough to search for."""
        vectors = (self.image_vectors[which], self.text_vectors[which])
        hashes = (self.text_hash[which], self.image_hash[which])
        none = self.concept_ids[:0], np.zeros(len(which), np.int64)
        return Anchors(
            *vectors, self.rows[which], *hashes, *none, self.sketch[which] if self.sketch is not None else None
        )
