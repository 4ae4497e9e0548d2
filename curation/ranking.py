"""Ranking of archives (PAPER, step 3), and what is kept of them.

A ranking gives every archive entry a score; higher is better, and scores compare within one archive. Rankings are
functions of arrays over all entries of a block of anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curation.archives import Archives
from curation.clusters import uniform
from curation.rows import name_hashes
from curation.support import SupportModel, posterior
from curation.vocabulary import Vocabulary


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


class WordFamilies:
    """Which concepts of a vocabulary are the same word family: tails of longer concepts, and plurals."""

    def __init__(self, vocabulary: Vocabulary, singular_of: Callable[[str], str]) -> None:
        words = vocabulary.words
        ids = {word: i for i, word in enumerate(words)}
        tails = np.full((len(words), 3), -1, np.int32)
        same = np.arange(len(words), dtype=np.int32)
        for i, word in enumerate(words):
            parts = word.split()
            for depth, start in enumerate(range(1, min(len(parts), 4))):
                tails[i, depth] = ids.get(" ".join(parts[start:]), -1)
            same[i] = ids.get(singular_of(word), i)
        self.tails = tails
        self.same = same

    def merged_away(self, archives: Archives, score: np.ndarray) -> np.ndarray:
        """bool [P]: entries that another of their archive stands for.

        Of a concept and a longer one that ends in it ("truck", "fire truck") the better one stays, the longer where
        they are even; of a singular and its plural the better one, the singular where they are even. One that the
        caption names stands for its whole family, and never goes itself.

        What stands for another is kept wherever the other would have been: it has at least its score, or the caption
        names it, which is always kept.
        """
        size = len(self.same)
        key = archives.anchor * size + archives.concept
        gone = np.zeros(len(key), bool)
        if not len(key):
            return gone
        for depth in range(self.tails.shape[1]):
            tail = self.tails[archives.concept, depth]
            longer = np.flatnonzero(tail >= 0)
            at, found = _find(key, archives.anchor[longer] * size + tail[longer])
            at, longer = at[found], longer[found]
            gone[at[(score[longer] >= score[at]) | archives.in_caption[longer]]] = True
            gone[longer[(score[longer] < score[at]) | archives.in_caption[at]]] = True
        singular = self.same[archives.concept]
        plural = np.flatnonzero(singular != archives.concept)
        at, found = _find(key, archives.anchor[plural] * size + singular[plural])
        at, plural = at[found], plural[found]
        plural_loses = ((score[at] >= score[plural]) & ~archives.in_caption[plural]) | archives.in_caption[at]
        gone[plural[plural_loses]] = True
        gone[at[~plural_loses]] = True
        return gone & ~archives.in_caption


def _find(sorted_keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return at, sorted_keys[at] == wanted


@dataclass(frozen=True)
class Selection:
    """Entries kept, best first in each archive: their index int64 [K] in the block, offsets int64 [B+1], rank [K]."""

    entries: np.ndarray
    offsets: np.ndarray
    rank: np.ndarray


def select(
    archives: Archives,
    score: np.ndarray,
    keep: int,
    min_score: float | None = None,
    gone: np.ndarray | None = None,
) -> Selection:
    """The `keep` best entries of each archive (0: all) with at least `min_score`; ties fall to the commoner concept.

    What the caption names is always kept: it is the baseline that curation is measured against.
    """
    left = np.flatnonzero(~gone) if gone is not None else np.arange(len(score))
    anchors = len(archives.offsets) - 1
    # entries come by anchor and concept, so that a stable sort of (anchor, descending score) is all it takes
    key = (archives.anchor[left] << 32) | _descending(score[left])
    left = left[np.argsort(key, kind="stable")]
    sizes = np.bincount(archives.anchor[left], minlength=anchors)
    rank = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    wanted = np.ones(len(left), bool) if keep == 0 else rank <= keep
    if min_score is not None:
        wanted &= score[left] >= min_score
    wanted |= archives.in_caption[left]
    kept = left[wanted]
    sizes = np.bincount(archives.anchor[kept], minlength=anchors)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    # ranks are of the kept: a table's ranks have no holes
    return Selection(kept, offsets, np.arange(len(kept)) - np.repeat(offsets[:-1], sizes) + 1)


def _descending(score: np.ndarray) -> np.ndarray:
    """int64 in [0, 2^32) that orders float32 scores from the highest to the lowest; NaN and -0.0 do not occur."""
    bits = (score + np.float32(0)).view(np.int32).astype(np.int64)
    # a negative float's bits grow with its magnitude, and its sign bit makes the integer negative
    return np.where(bits < 0, (bits & 0x7FFFFFFF) + 2**31, 2**31 - 1 - bits)


def seeds_of(keys: list[str], seed: int) -> np.ndarray:
    """One uint64 seed per pair, of its key and the run's seed."""
    with np.errstate(over="ignore"):
        return name_hashes(keys) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
