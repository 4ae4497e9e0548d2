"""Ranking by support: how likely a caption of the picture names the concept, judged by the captions retrieved for it.

The paper's ranking asks how well a concept fits the picture against the other pictures that it was retrieved with, and
leaves unused how many of the retrieved captions name it. That count is the stronger signal (docs/curation-quality.md).
With n captions retrieved, s(c) of them naming c, the score is the posterior mean of the rate at which captions of such
a picture name c, under a Beta prior of strength kappa:

    score(c) = (s(c) + kappa m(c)) / (n + kappa)
    m(c)     = pi(c) exp(mu z(c) - mu^2 / 2)             the prior mean, for this picture
    z(c)     = (t(c)·v(x) - mean) / deviation            picture_statistics.py

pi(c) is the share of indexed captions that name c. Were z normal with variance 1 both over all pictures and over those
whose caption names c, with mean mu over the latter, exp(...) would be the likelihood ratio of z. mu is that mean over
the indexed pairs, and kappa maximises the likelihood of the indexed pairs' own captions when those are held out. So
nothing is tuned to pictures with known content.

A concept whose score is no higher than pi(c) has no support: the picture makes it no likelier than the corpus does. The
ranking `support` leaves such concepts out, `posterior` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather
from curation.ranking.expansion import EXPANSIONS, Retrieved, by_picture_alone, expand, without_repeats
from curation.ranking.own_captions import is_own, second_captions
from curation.ranking.picture_statistics import PictureStatistics
from files.npy import wide_rows

if TYPE_CHECKING:
    from curation.index.caption_rows import CaptionRows
    from curation.index.opened import Index

LADDER = (8, 16, 32, 64, 128, 256, 512, 1024)
# The fewest captions of the ladder are taken that are about as good as the best number, by the loss.
AS_GOOD = 1.005
# Retrieved where there are too few pairs to fit anything.
FEW_NEIGHBOURS = 8
FIT_PAIRS = 2_000
# Where so many pairs' pictures have a second caption in the index, of this many looked at, the fit asks with that.
SECOND_PAIRS = 500
LOOKED_AT = 10 * FIT_PAIRS
FIT_BLOCK = 500
FIT_SEED = 0
KAPPAS = 2.0 ** np.arange(-2, 10, 0.5)
# Fewer held-out mentions than this say nothing about kappa.
FIT_MENTIONS = 50
DEFAULT_KAPPA = 16.0
# Guards of the normal approximation in its tails; the likelihood ratio is extrapolated no further.
Z_LIMITS = (-3.0, 6.0)
HIGHEST_PRIOR = 0.9


@dataclass(frozen=True)
class SupportModel:
    """prior float32 [C]: pi(c). statistics give z. mu, kappa as above.

    neighbours: captions to retrieve by each expansion, given or fitted.
    report: what the fit saw, for the manifest.
    """

    prior: np.ndarray
    statistics: PictureStatistics
    mu: float
    neighbours: int
    kappa: float = DEFAULT_KAPPA
    report: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        fitted = {"neighbours": self.neighbours, "mu": round(self.mu, 4), "kappa": round(self.kappa, 4)}
        return fitted | (self.report or {})


def picture_prior(model: SupportModel, similarity: np.ndarray, concept: np.ndarray | slice) -> np.ndarray:
    """m(c), float32 [..., P]: how likely a caption names c, by t(c)·v(x) alone. concept: ids [P], or a slice."""
    z = np.clip(model.statistics.z(similarity, concept), *Z_LIMITS)
    return np.minimum(model.prior[concept] * np.exp(model.mu * z - model.mu**2 / 2), HIGHEST_PRIOR)


def posterior(archives: Archives, model: SupportModel) -> np.ndarray:
    """Scores float32 [P]: probabilities that a caption of the picture names the concept."""
    retrieved = archives.retrieved[archives.anchor]
    prior = picture_prior(model, archives.similarity, archives.concept)
    score = (archives.support + model.kappa * prior) / (retrieved + model.kappa)
    return score.astype(np.float32)


def has_support(archives: Archives, score: np.ndarray, model: SupportModel) -> np.ndarray:
    """bool [P]: whether the picture makes the concept likelier than the corpus does."""
    return score > model.prior[archives.concept]


def fit_support(
    index: Index, statistics: PictureStatistics, expansions: Sequence[str], neighbours: int = 0
) -> SupportModel:
    """Fit mu and kappa on the indexed pairs; kappa on a seeded sample whose own captions are held out.

    neighbours: how many captions each expansion retrieves; 0 takes the number of `LADDER` under which the held-out
    captions are likeliest, for the more captions there are, the more of them are about pictures like this one. Fewer
    are taken where they are `AS_GOOD`.

    The own caption must not take part in the retrieval: it tells what it names. Where the index holds second captions
    of enough pictures, those ask in its place; else the picture alone does, which differs from an expansion by both.
    """
    rows = index.rows
    own, z = statistics.z_named(rows)
    # pi(c) is of the captions that can be retrieved
    pictures = all(EXPANSIONS[name].pictures for name in expansions)
    named, total = (own, rows.images) if pictures else (rows.concept_ids, len(rows))
    prior = (np.bincount(named, minlength=len(index.vocabulary)) / max(1, total)).astype(np.float32)
    mu = float(np.clip(z, *Z_LIMITS).mean()) if len(z) else 0.0
    model = SupportModel(prior, statistics, mu, neighbours or FEW_NEIGHBOURS)
    return _fit_kappa(index, model, expansions, (neighbours,) if neighbours else LADDER)


@dataclass(frozen=True)
class HeldOut:
    """Entries of held-out archives, and what the concepts outside of them sum up to. P entries, one row a pair.

    support, retrieved, prior float [P]: s(c), n, m(c). named bool [P]. elsewhere float [P]: the sum of m over the
    concepts that are no entry of the pair's archive, at its first entry, and 0 at the others.
    """

    support: np.ndarray
    retrieved: np.ndarray
    prior: np.ndarray
    named: np.ndarray
    elsewhere: np.ndarray

    def loss(self, kappa: float, pairs: int) -> float:
        """Minus the log-likelihood of what the held-out captions name and leave unnamed, per pair."""
        p = np.clip((self.support + kappa * self.prior) / (self.retrieved + kappa), 1e-6, 1 - 1e-6)
        # concepts that nobody names: log(1 - p) = -p, for p is small
        rest = kappa * self.elsewhere / (self.retrieved + kappa)
        return -float((np.where(self.named, np.log(p), np.log1p(-p)) - rest).sum()) / max(1, pairs)


def _fit_kappa(index: Index, model: SupportModel, expansions: Sequence[str], ladder: Sequence[int]) -> SupportModel:
    sample, second = _held_out_sample(index.rows, by_picture_alone(expansions) != tuple(expansions))
    asked_by = "second captions" if second is not None else "pictures"
    asked = expansions if second is not None else by_picture_alone(expansions)
    blocks = [slice(start, start + FIT_BLOCK) for start in range(0, len(sample), FIT_BLOCK)]
    deepest = [
        retrieve_held_out(index, sample[block], asked, max(ladder), None if second is None else second[block])
        for block in blocks
    ]
    everywhere = [whole_prior(model, anchors.image_vectors) for anchors, _ in deepest]
    fits: list[tuple[float, int, float]] = []  # loss, neighbours, kappa
    for neighbours in ladder:
        parts = [
            _held_out(index, model, anchors, without_repeats(rows[:, :, :neighbours].reshape(len(rows), -1)), whole)
            for (anchors, rows), whole in zip(deepest, everywhere, strict=True)
        ]
        if not parts or sum(part.named.sum() for part in parts) < FIT_MENTIONS:
            return model
        joined = HeldOut(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, parts), strict=True)))
        fits.append(min((joined.loss(kappa, len(sample)), neighbours, kappa) for kappa in KAPPAS.tolist()))
    _, neighbours, kappa = next(fit for fit in fits if fit[0] <= AS_GOOD * min(fits)[0])
    losses = {str(neighbours): round(loss, 4) for loss, neighbours, _ in fits}
    report = {"fitted_on_pairs": len(sample), "asked_by": asked_by, "loss_by_neighbours": losses}
    return replace(model, neighbours=neighbours, kappa=kappa, report=report)


def _held_out_sample(rows: CaptionRows, by_text: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Pairs to hold out, ascending int64 [B], and rows of second captions of theirs [B]; None where there are few."""

    def drawn(most: int) -> np.ndarray:
        return np.random.default_rng(FIT_SEED).choice(rows.images, min(most, rows.images), replace=False)

    if by_text:
        pairs = drawn(LOOKED_AT)
        second = second_captions(rows, pairs)
        chosen = np.flatnonzero(second >= 0)[:FIT_PAIRS]
        if len(chosen) >= SECOND_PAIRS:
            chosen = chosen[np.argsort(pairs[chosen])]
            return pairs[chosen], second[chosen]
    return np.sort(drawn(FIT_PAIRS)), None


def _arrays(part: HeldOut) -> tuple[np.ndarray, ...]:
    return part.support, part.retrieved, part.prior, part.named, part.elsewhere


def _held_out(index: Index, model: SupportModel, anchors: Anchors, rows: np.ndarray, everywhere: np.ndarray) -> HeldOut:
    """Of the captions retrieved, rows int64 [B, L], for anchors of which `everywhere` is the whole prior."""
    archives = gather(anchors, Retrieved(rows, np.zeros(len(rows), bool)), index.rows, index.vocabulary.vectors)
    prior = picture_prior(model, archives.similarity, archives.concept)
    inside = np.bincount(archives.anchor, prior, len(anchors))
    elsewhere = np.zeros(len(prior))
    some = np.diff(archives.offsets) > 0
    elsewhere[archives.offsets[:-1][some]] = np.maximum(everywhere - inside, 0)[some]
    retrieved = archives.retrieved[archives.anchor]
    return HeldOut(archives.support, retrieved, prior, archives.in_caption, elsewhere)


def whole_prior(model: SupportModel, pictures: np.ndarray) -> np.ndarray:
    """Sum over all concepts of m(c), float64 [B], for pictures float32 [B, D]."""
    total = np.zeros(len(pictures))
    for start in range(0, len(pictures), 64):
        part = slice(start, start + 64)
        total[part] = picture_prior(model, pictures[part] @ model.statistics.concepts.T, slice(None)).sum(1)
    return total


def retrieve_held_out(
    index: Index, block: np.ndarray, expansions: Sequence[str], neighbours: int, second: np.ndarray | None = None
) -> tuple[Anchors, np.ndarray]:
    """Indexed pairs [B] as anchors, and the rows [B, expansions, L] retrieved for them, the own captions left out.

    second: rows of captions that ask in place of their own.
    """
    rows = index.rows
    counts = rows.offsets[block + 1] - rows.offsets[block]
    place = np.repeat(rows.offsets[block] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    anchors = Anchors(
        wide_rows(rows.image_vectors, block),
        wide_rows(rows.text_vectors, block),
        block,
        np.asarray(rows.text_hash[block]),
        np.asarray(rows.image_hash[block]),
        np.asarray(rows.concept_ids[place]),
        counts,
        None if rows.sketch is None else np.asarray(rows.sketch[block]),
    )
    asking = anchors.take(np.arange(len(block)))  # knows nothing of what the own caption names
    if second is not None:
        asking = replace(asking, text_vectors=wide_rows(rows.text_vectors, second))
    found = [expand(asking, [name], neighbours, index.images, index.captions, rows).rows for name in expansions]
    stacked = np.stack(found, axis=1)
    flat = stacked.reshape(len(block), -1)
    return anchors, np.where(is_own(anchors, flat, rows), -1, flat).reshape(stacked.shape)
