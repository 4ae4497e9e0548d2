"""Ranking of archives (PAPER, step 3), and what is kept of them.

A ranking gives every archive entry a score; higher is better, and scores compare within one archive. Rankings are
functions of arrays over all entries of a block of anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives
from curation.ranking.seeds import uniform
from curation.ranking.support import SupportModel, posterior


@dataclass(frozen=True)
class Scores:
    """Scores of P entries, float32 [P] each: the one that ranks, and the paper's two parts beside it."""

    score: np.ndarray
    globally: np.ndarray
    locally: np.ndarray


def paper_parts(archives: Archives) -> tuple[np.ndarray, np.ndarray]:
    """global(c) and local(c) of the paper, float32 [P] each.

    S(c) holds t(c)·v(x) and t(c)·v(y) for the retrieved y that name c; global(c) divides t(c)·v(x) by the largest
    value in any S of the archive, local(c) by the mean of S(c). A retrieved caption without a picture adds t(c)·u(y)
    with its own vector, which measured better than leaving it out (docs/curation-quality.md).
    """
    own = archives.similarity
    locally = own * (archives.support + 1) / _nonzero(archives.similarity_sum + own)
    highest = np.maximum(archives.similarity_max, own)
    starts = archives.offsets[:-1][np.diff(archives.offsets) > 0]
    most = np.maximum.reduceat(highest, starts) if len(starts) else highest
    sizes = np.diff(archives.offsets)
    return own / _nonzero(np.repeat(most, sizes[sizes > 0])), locally.astype(np.float32)


def _nonzero(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, np.finfo(np.float32).tiny, values)


@dataclass(frozen=True)
class RankingContext:
    """What rankings know beyond the archives. seeds uint64 [B]: one per anchor, for random order."""

    vocabulary: Vocabulary
    support: SupportModel | None
    seeds: np.ndarray


Ranking = Callable[[Archives, RankingContext, np.ndarray, np.ndarray], np.ndarray]


def _posterior(archives: Archives, context: RankingContext, *_: np.ndarray) -> np.ndarray:
    assert context.support is not None, "rankings by support need their fitted model"
    return posterior(archives, context.support)


def _random(archives: Archives, context: RankingContext, *_: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        mixed = context.seeds[archives.anchor] + archives.concept.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return uniform(mixed, 0).astype(np.float32)


# "support" keeps only what `support.has_support` lets through; "posterior" is the same order over the whole archive.
FITTED = ("support", "posterior")
RANKINGS: dict[str, Ranking] = {
    "paper": lambda archives, context, globally, locally: globally + locally,
    "global": lambda archives, context, globally, locally: globally,
    "local": lambda archives, context, globally, locally: locally,
    "similarity": lambda archives, context, globally, locally: archives.similarity,
    "support": _posterior,
    "posterior": _posterior,
    "random": _random,
}


def rank(archives: Archives, ranking: str, context: RankingContext) -> Scores:
    """Scores of all entries by the named ranking (a key of `RANKINGS`)."""
    globally, locally = paper_parts(archives)
    score = RANKINGS[ranking](archives, context, globally, locally)
    return Scores(score.astype(np.float32), globally, locally)
