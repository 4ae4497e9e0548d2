"""How well an encoder knows the indexed pictures, told by the one thing that is certain of them: what captions name.

The share of it that is among the concepts nearest to its picture, t(c)·v(x), of all that the vocabulary has. Captions
without a picture take no part, and nothing is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.index.vocabulary import Vocabulary
from files.npy import wide_rows

# "Among the nearest": more than a picture shows, and at most a quarter of a small vocabulary.
NEAREST, PART = 64, 4
PAIRS = 1_000
BLOCK = 250
SEED = 0


@dataclass(frozen=True)
class EncoderKnowledge:
    """share: of what captions name, what is among the `nearest` of all `concepts`; mentions: so many were looked at."""

    share: float
    nearest: int
    concepts: int
    mentions: int


def among_nearest(concepts: int) -> int:
    """How many of so many concepts are the nearest."""
    return min(NEAREST, max(1, concepts // PART))


def encoder_knowledge(rows: CaptionRows, vocabulary: Vocabulary) -> EncoderKnowledge | None:
    """By a seeded sample of indexed pairs; None where they name nothing. Memory is that of `BLOCK` pairs x concepts."""
    nearest, found, mentions = among_nearest(len(vocabulary)), 0, 0
    sample = np.sort(np.random.default_rng(SEED).choice(rows.images, min(PAIRS, rows.images), replace=False))
    for start in range(0, len(sample), BLOCK):
        block = sample[start : start + BLOCK]
        nearness = wide_rows(rows.image_vectors, block) @ vocabulary.vectors.T
        for i, pair in enumerate(block):
            named = np.unique(rows.concept_ids[rows.offsets[pair] : rows.offsets[pair + 1]])
            nearer = (nearness[i] > nearness[i, named][:, None]).sum(1)
            found, mentions = found + int((nearer < nearest).sum()), mentions + len(named)
    return EncoderKnowledge(round(found / mentions, 4), nearest, len(vocabulary), mentions) if mentions else None
