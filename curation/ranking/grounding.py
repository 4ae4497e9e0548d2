"""Grounding: whether pictures show what a concept names at all.

Captions name much that no picture shows: whose dog it is, the day, the camera. A concept is grounded where t(c)·v is
higher for the pictures whose captions name it than for all. The mean of

    z(c) = (t(c)·v(x) - mean) / deviation            of t(c)·v over the indexed pictures

over the pairs that name c is then well above nought; for "anniversary" it is not, whatever its similarity.
"""

from __future__ import annotations

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.ranking.picture_statistics import similarity_statistics

# The least mean z of a grounded concept; one more pair of z = 0 is counted, so that few pairs prove little.
LEAST = 0.5


def grounded(concepts: np.ndarray, rows: CaptionRows) -> np.ndarray:
    """bool [C]: which of the concepts t(c), float32 [C, D], the indexed pairs show to be grounded.

    One that no indexed pair names (captions without pictures alone do) has the benefit of the doubt.
    """
    pictured = rows.offsets[rows.images]
    own = rows.concept_ids[:pictured]
    centre, spread = similarity_statistics(concepts, rows.image_vectors)
    z = (rows.similarity[:pictured] - centre[own]) / spread[own]
    pairs = np.bincount(own, minlength=len(concepts))
    mean = np.bincount(own, z, minlength=len(concepts)) / (pairs + 1)
    return (pairs == 0) | (mean >= LEAST)
