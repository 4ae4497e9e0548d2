"""Relevance: how well the concepts of an archive fit its anchor, by each of the rankings (PAPER, step 3).

A ranking gives every archive entry a score; higher is better, and scores compare within one archive. Rankings are
functions of arrays over all entries of a block of anchors. A new one is one entry of `RANKINGS`, here or in a package
of its own (entry point `cocu.rankings`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from files.errors import CocuError
from files.registry import Registry

if TYPE_CHECKING:  # the command line's help loads this file: it has to stay light
    from curation.index.vocabulary import Vocabulary
    from curation.ranking.archives import Archives
    from curation.ranking.evidence import PictureWeight
    from curation.ranking.support import SupportModel


class PaperParts(NamedTuple):
    """global(c) and local(c) of the paper, float32 [P] each."""

    globally: np.ndarray
    locally: np.ndarray


def paper_parts(archives: Archives) -> PaperParts:
    """The paper's two parts of a score.

    S(c) holds t(c)·v(x) and t(c)·v(y) for the retrieved y that name c; global(c) divides t(c)·v(x) by the largest
    value in any S of the archive, local(c) by the mean of S(c). A retrieved caption without a picture adds t(c)·u(y)
    with its own vector, which measured better than leaving it out (docs/curation-quality.md).

    A cosine below 0 counts as 0, as the ratios mean nothing otherwise: near a sum of 0 they have no bound, and two
    negative ones make a large score. So global(c) is at most 1 and local(c) at most |S(c)|; both are 0 where
    t(c)·v(x) is no more than 0.
    """
    own = np.maximum(archives.similarity, 0)
    locally = own * (archives.support + 1) / _nonzero(archives.similarity_sum + own)
    highest = np.maximum(archives.similarity_max, own)
    starts = archives.offsets[:-1][np.diff(archives.offsets) > 0]
    most = np.maximum.reduceat(highest, starts) if len(starts) else highest
    sizes = np.diff(archives.offsets)
    return PaperParts(own / _nonzero(np.repeat(most, sizes[sizes > 0])), locally.astype(np.float32))


def _nonzero(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, np.finfo(np.float32).tiny, values)


@dataclass(frozen=True)
class RankingContext:
    """What rankings know beyond the archives. support, picture: where the ranking asks for them to be fitted.

    seeds uint64 [B]: one per anchor, for random order. log_odds float32 [P]: what other witnesses add to the scores of
    a ranking that is fitted, as of probabilities (tags.py); None: there are none. pictures: v(x), unit rows
    float32 [B, D]. naming float32 [P]: how likely captions name a concept (`evidence.rate_of_naming`), where all
    concepts compete.
    """

    vocabulary: Vocabulary
    support: SupportModel | None
    seeds: np.ndarray
    log_odds: np.ndarray | None = None
    picture: PictureWeight | None = None
    pictures: np.ndarray | None = None
    naming: np.ndarray | None = None

    @property
    def fitted(self) -> SupportModel:
        """The fitted model of support, of a ranking that is `fitted`."""
        assert self.support is not None, "rankings by support need their fitted model"
        return self.support

    @property
    def weighed(self) -> PictureWeight:
        """The fitted weight of the picture, of a ranking for which all concepts compete."""
        assert self.picture is not None, "rankings by evidence need their fitted weight"
        return self.picture


@dataclass(frozen=True)
class Ranking:
    """A way to score the P entries of archives.

    help: for the command line, in a few words. score: float32 [P]. fitted: whether it asks for `RankingContext.fitted`.
    keeps: bool [P] of the scores: the only entries that are kept, besides those that the caption names; None: all are.
    everything: whether all concepts compete, not only those of the archive; then `RankingContext.weighed` is fitted.
    """

    help: str
    score: Callable[[Archives, PaperParts, RankingContext], np.ndarray]
    fitted: bool = False
    keeps: Callable[[Archives, np.ndarray, RankingContext], np.ndarray] | None = None
    everything: bool = False


def _posterior(archives: Archives, parts: PaperParts, context: RankingContext) -> np.ndarray:
    from curation.ranking.support import posterior

    return posterior(archives, context.fitted)


def _has_support(archives: Archives, score: np.ndarray, context: RankingContext) -> np.ndarray:
    from curation.ranking.support import has_support

    return has_support(archives, score, context.fitted)


def _evidence(archives: Archives, parts: PaperParts, context: RankingContext) -> np.ndarray:
    from curation.ranking.evidence import evidence

    assert context.naming is not None, "rankings by evidence need the rate of naming"
    return evidence(archives, context.naming, context.weighed)


def _has_evidence(archives: Archives, score: np.ndarray, context: RankingContext) -> np.ndarray:
    from curation.ranking.evidence import has_evidence

    assert context.pictures is not None, "rankings by evidence need the pictures' vectors"
    return has_evidence(archives, score, context.pictures, context.weighed)


def _random(archives: Archives, parts: PaperParts, context: RankingContext) -> np.ndarray:
    from curation.ranking.seeds import uniform

    with np.errstate(over="ignore"):
        mixed = context.seeds[archives.anchor] + archives.concept.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return uniform(mixed, 0)


def _check(entry: object) -> None:
    if not isinstance(entry, Ranking):
        raise ValueError(f"{type(entry).__name__} is no curation.ranking.relevance.Ranking")


RANKINGS: Registry[Ranking] = Registry("--ranking", "cocu.rankings", check=_check)
RANKINGS.add("paper", Ranking("global + local", lambda archives, parts, context: parts.globally + parts.locally))
RANKINGS.add(
    "global", Ranking("fit to the picture, over the archive's best", lambda archives, parts, context: parts.globally)
)
RANKINGS.add(
    "local",
    Ranking("fit to the picture, over that to the pictures retrieved", lambda archives, parts, context: parts.locally),
)
RANKINGS.add(
    "evidence",
    Ranking(
        "captions of such pictures and fit to the picture, weighed for the index; all concepts compete",
        _evidence,
        fitted=True,
        keeps=_has_evidence,
        everything=True,
    ),
)
RANKINGS.add(
    "support",
    Ranking(
        "how likely a caption of such a picture names it; only what it makes likelier",
        _posterior,
        fitted=True,
        keeps=_has_support,
    ),
)
RANKINGS.add("posterior", Ranking("the same, of the whole archive", _posterior, fitted=True))
RANKINGS.add("similarity", Ranking("fit to the picture alone", lambda archives, parts, context: archives.similarity))
RANKINGS.add("random", Ranking("by the seed, to compare with", _random))


@dataclass(frozen=True)
class Ranked:
    """Of P entries: the score that ranks, float32 [P], what the ranking leaves out, bool [P], and the paper's parts."""

    score: np.ndarray
    gone: np.ndarray
    parts: PaperParts


def rank(archives: Archives, ranking: str, context: RankingContext) -> Ranked:
    """Scores of all entries by the named ranking of `RANKINGS`; it leaves out nothing that the caption names.

    Raises CocuError for a ranking that does not give a score to each.
    """
    chosen = RANKINGS[ranking]
    parts = paper_parts(archives)
    score = np.asarray(chosen.score(archives, parts, context), np.float32)
    if score.shape != archives.concept.shape:
        raise CocuError(f"--ranking {ranking}: gave scores {score.shape} to entries {archives.concept.shape}")
    if context.log_odds is not None:
        from curation.ranking.tags import shifted

        score = shifted(score, context.log_odds)
    kept = chosen.keeps(archives, score, context) | archives.in_caption if chosen.keeps else np.ones(len(score), bool)
    return Ranked(score, ~kept, parts)
