"""Ranking by evidence: what captions of such pictures name, and what the encoder sees, weighed against each other.

Captions tell what is worth saying, and of what is never said nothing; an encoder may know all that is shown, or little.
Both speak on all concepts, not only on those of the archive:

    score(c) = (r(c) + FLOOR)^(1 - weight) * q(c)^weight
    r(c)     how likely captions of such a picture name c, by all that is retrieved: confidence.py's naming rate, or
             support.py's posterior where too few pairs tell that; 0 where no retrieved caption names c
    q(c)     = exp((s(c) - the highest s of the archive) / width)
    s(c)     = t(c)·v(x) of a concept that is proven to be shown (grounding.py); of others, about the mean of these

width is the mean over pictures of the deviation of t·v within a picture. t·v of what is proven stays as it is: its mean
over all pictures tells how often a thing is shown. Of other words it may tell nothing ("mileage" is near all pictures),
so they get the common mean in its place. FLOOR keeps a thing that hardly any caption names in the running. What has
less evidence than a concept that no caption names, a width above the picture's mean, is left out.

The weight is fitted to the index, by what is known to be in pictures: what their own captions name, held out. It is the
largest under which hardly less of that is among the best of all concepts than under the best weight. Where the encoder
is weak, its weight soon drives out what captions name; where it is strong, nothing does, and as captions do not tell
what they leave out, the benefit of the doubt is the picture's. The likelihood of naming would be the wrong judge: it
puts what is named above what is only shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.index.encoder_knowledge import among_nearest
from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather, with_concepts
from curation.ranking.confidence import ConfidenceModel, Entries, naming_rate
from curation.ranking.expansion import Retrieved, by_picture_alone, without_repeats
from curation.ranking.grounding import proven
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.support import SupportModel, posterior, retrieve_held_out
from files.npy import wide_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curation.index.opened import Index

FLOOR = 0.02
WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Of what captions name, the share that a larger weight may cost.
PRICE = 0.005
FIT_PAIRS = 1_000
FIT_BLOCK = 250
FIT_SEED = 1
# Fewer held-out mentions than this tell no weight: captions decide.
FIT_MENTIONS = 50


@dataclass(frozen=True)
class PictureWeight:
    """weight and width as above. report: what the fit saw, for the manifest.

    proven int32 [S], sorted: the concepts whose t·v counts as it is. lift float32 [C]: s(c) - t(c)·v, 0 for these.
    typical float32 [D]: mean of t(c) over these; its product with v is the picture's mean.
    """

    weight: float
    width: float
    proven: np.ndarray
    lift: np.ndarray
    typical: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {"weight": self.weight, "width": round(self.width, 5), "proven": len(self.proven), **self.report}

    def because(self) -> str:
        """What was chosen and why, in a line for people."""
        shares = self.report.get("named_among_best")
        if not shares:
            return f"picture weight {self.weight:g} (0 to 1): too few pairs with pictures to fit it, so captions decide"
        most, here = max(shares.values()), shares[f"{self.weight:g}"]
        return (
            f"picture weight {self.weight:g} (0 to 1), the largest that costs captions no more than {PRICE:.1%}: of "
            f"what they name, held out, {here:.1%} is among the best {self.report['best']} of {len(self.lift):,} "
            f"concepts ({most:.1%} at most, {shares[f'{WEIGHTS[-1]:g}']:.1%} at {WEIGHTS[-1]:g})"
        )


def evidence(archives: Archives, rate: np.ndarray, picture: PictureWeight) -> np.ndarray:
    """Scores float32 [P], in (0, 1 + FLOOR]: how well captions and picture together speak for a concept.

    rate: r(c), float32 [P].
    """
    shown = archives.similarity + picture.lift[archives.concept]
    q = (shown - _highest(archives, shown)[archives.anchor]) / picture.width
    return _score(rate, q, picture.weight)


def has_evidence(archives: Archives, score: np.ndarray, pictures: np.ndarray, picture: PictureWeight) -> np.ndarray:
    """bool [P]: whether there is as much of it as for a concept that no caption names, a width above the mean."""
    shown = archives.similarity + picture.lift[archives.concept]
    mean = np.einsum("bd,d->b", pictures, picture.typical)  # too little for BLAS, whose threads would wait for more
    q = (mean + picture.width - _highest(archives, shown)) / picture.width
    return score >= _score(np.zeros(len(q), np.float32), q, picture.weight)[archives.anchor]


def rate_of_naming(
    archives: Archives, support: SupportModel, judge: ConfidenceModel | None, anchors: Anchors, rows: np.ndarray
) -> np.ndarray:
    """r(c), float32 [P]. rows int64 [B, L]: the captions retrieved, -1 for none. judge None: too few pairs for it."""
    some = archives.support > 0
    rate = np.where(some, posterior(archives, support), np.float32(0))
    if judge is not None:
        entries = Entries(archives.anchor[some], archives.concept[some], archives.support[some], rate[some])
        rate[some] = naming_rate(judge, anchors, rows, entries)
    return rate


def _score(rate: np.ndarray, log_q: np.ndarray, weight: float) -> np.ndarray:
    return np.exp((1 - weight) * np.log(rate + FLOOR) + weight * log_q).astype(np.float32)


def _highest(archives: Archives, values: np.ndarray) -> np.ndarray:
    """The highest value of each archive's entries, float32 [B]; 0 of an empty one."""
    sizes = np.diff(archives.offsets)
    found = np.zeros(len(sizes), np.float32)
    if len(values):
        found[sizes > 0] = np.maximum.reduceat(values, archives.offsets[:-1][sizes > 0])
    return found


def with_nearest(
    archives: Archives, anchors: Anchors, concepts: np.ndarray, picture: PictureWeight, count: int
) -> Archives:
    """The archives, and in each the `count` proven concepts that are nearest to the picture.

    Among concepts that no retrieved caption names, q alone decides: no further one can be among the best so many.
    concepts: t(c), float32 [C, D].
    """
    import faiss

    count = min(count, len(picture.proven))
    if not count or not len(anchors):
        return archives
    pictures = np.ascontiguousarray(anchors.image_vectors, np.float32)
    _, found = faiss.knn(pictures, concepts[picture.proven], count, metric=faiss.METRIC_INNER_PRODUCT)
    nearest = np.sort(picture.proven[found], axis=1).ravel()
    return with_concepts(archives, anchors, concepts, np.repeat(np.arange(len(anchors)), count), nearest)


def fit_picture_weight(
    index: Index,
    statistics: PictureStatistics,
    support: SupportModel,
    judge: ConfidenceModel | None,
    expansions: Sequence[str],
    kept: np.ndarray,
) -> PictureWeight:
    """Fit the weight on a seeded sample of indexed pairs whose own captions are held out.

    judge: as in `rate_of_naming`. kept: bool [C], the concepts that no filter takes out. Memory is that of a block of
    pairs times the concepts.
    """
    rows, concepts = index.rows, index.vocabulary.vectors
    sure = proven(statistics, rows)
    level = statistics.centre[sure].mean() if sure.any() else np.float32(0)
    lift = np.where(sure, 0, level - statistics.centre).astype(np.float32)
    ids = np.flatnonzero(sure & kept).astype(np.int32)
    typical = concepts[ids].mean(0) if len(ids) else np.zeros(concepts.shape[1], np.float32)
    sample = np.random.default_rng(FIT_SEED).choice(rows.images, min(FIT_PAIRS, rows.images), replace=False)
    sample.sort()
    blocks = [sample[start : start + FIT_BLOCK] for start in range(0, len(sample), FIT_BLOCK)]
    nearness = (wide_rows(rows.image_vectors, block) @ concepts[ids].T for block in blocks if len(ids))
    deviations = [products.std(1) for products in nearness]
    width = float(np.concatenate(deviations).mean()) if deviations else 0.0
    unfitted = PictureWeight(WEIGHTS[0], width or 1.0, ids, lift, typical)
    blind = by_picture_alone(expansions)
    ranks = [_ranks_of_named(index, support, judge, unfitted, block, blind, kept) for block in blocks]
    if sum(map(len, ranks)) < FIT_MENTIONS or not width:
        return unfitted
    best = among_nearest(len(concepts))
    shares = (np.concatenate(ranks) < best).mean(0)
    weight = WEIGHTS[int(np.flatnonzero(shares >= (1 - PRICE) * shares.max())[-1])]
    named = {f"{w:g}": round(float(share), 4) for w, share in zip(WEIGHTS, shares, strict=True)}
    return replace(unfitted, weight=weight, report={"best": best, "named_among_best": named})


def _ranks_of_named(
    index: Index,
    support: SupportModel,
    judge: ConfidenceModel | None,
    picture: PictureWeight,
    block: np.ndarray,
    blind: Sequence[str],
    kept: np.ndarray,
) -> np.ndarray:
    """How many concepts come before each that the held-out captions name, by each weight: int64 [mentions, weights].

    block: indexed pairs [B].
    """
    anchors, rows = retrieve_held_out(index, block, blind, support.neighbours)
    retrieved = Retrieved(without_repeats(rows.reshape(len(rows), -1)), np.zeros(len(rows), bool))
    archives = gather(anchors, retrieved, index.rows, index.vocabulary.vectors)
    rate = np.log(rate_of_naming(archives, support, judge, anchors, retrieved.rows) + FLOOR)
    seen = (archives.similarity + picture.lift[archives.concept]) / picture.width
    elsewhere = anchors.image_vectors @ index.vocabulary.vectors[picture.proven].T / picture.width
    column = np.full(len(kept), -1)
    column[picture.proven] = np.arange(len(picture.proven))
    weights = np.array(WEIGHTS, np.float32)[:, None]
    found = [np.zeros((0, len(WEIGHTS)), np.int64)]
    for i in range(len(block)):
        entries = np.arange(archives.offsets[i], archives.offsets[i + 1])
        entries = entries[kept[archives.concept[entries]]]
        named = archives.in_caption[entries]
        score = (1 - weights) * rate[entries] + weights * seen[entries]
        mine = score[:, named]
        before = (score[:, None, :] > mine[:, :, None]).sum(2)
        # No caption names the others, so that q orders them: before it are those nearer than what evens the score.
        here = column[archives.concept[entries]]
        others = np.sort(np.delete(elsewhere[i], here[here >= 0]))
        even = (mine - (1 - weights) * np.log(FLOOR)) / weights
        before += len(others) - np.searchsorted(others, even.ravel(), "right").reshape(even.shape)
        found.append(before.T)
    return np.concatenate(found)
