"""Ranking by support: how likely a caption of the picture names the concept, judged by the captions retrieved for it.

The paper's ranking asks how well a concept fits the picture against the other pictures that it was retrieved with, and
leaves unused how many of the retrieved captions name it. That count is the stronger signal (docs/curation-quality.md).
With n captions retrieved, s(c) of them naming c, the score is the posterior mean of the rate at which captions of such
a picture name c, under a Beta prior of strength kappa:

    score(c) = (s(c) + kappa m(c)) / (n + kappa)
    m(c)     = pi(c) exp(mu z(c) - mu^2 / 2)             the prior mean, for this picture
    z(c)     = (t(c)·v(x) - mean) / deviation            of t(c)·v over the indexed pictures

pi(c) is the share of indexed captions that name c. Were z normal with variance 1 both over all pictures and over those
whose caption names c, with mean mu over the latter, exp(...) would be the likelihood ratio of z. mu is that mean over
the indexed pairs, and kappa maximises the likelihood of the indexed pairs' own captions when those are held out. So
nothing is tuned to pictures with known content.

A concept whose score is no higher than pi(c) has no support: the picture makes it no likelier than the corpus does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.archives import Anchors, Archives, Retrieved, expand, gather

if TYPE_CHECKING:
    from curation.index import Index

FIT_PAIRS = 2_000
FIT_BLOCK = 500
FIT_SEED = 0
STATISTICS_PICTURES = 50_000
KAPPAS = 2.0 ** np.arange(-2, 10, 0.5)
# Fewer held-out mentions than this say nothing about kappa.
FIT_MENTIONS = 50
DEFAULT_KAPPA = 16.0
# Guards of the normal approximation in its tails; the likelihood ratio is extrapolated no further.
Z_LIMITS = (-3.0, 6.0)
HIGHEST_PRIOR = 0.9


@dataclass(frozen=True)
class SupportModel:
    """prior float32 [C]: pi(c). centre, spread float32 [C]: mean and deviation of t(c)·v. mu, kappa as above.

    report: what the fit saw, for the manifest.
    """

    prior: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    mu: float
    kappa: float = DEFAULT_KAPPA
    report: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {"mu": round(self.mu, 4), "kappa": round(self.kappa, 4), **(self.report or {})}


def picture_prior(archives: Archives, model: SupportModel) -> np.ndarray:
    """m(c), float32 [P]: how likely a caption names c, by the picture's similarity alone."""
    concept = archives.concept
    z = np.clip((archives.similarity - model.centre[concept]) / model.spread[concept], *Z_LIMITS)
    return np.minimum(model.prior[concept] * np.exp(model.mu * z - model.mu**2 / 2), HIGHEST_PRIOR)


def posterior(archives: Archives, model: SupportModel) -> np.ndarray:
    """Scores float32 [P]: probabilities that a caption of the picture names the concept."""
    retrieved = archives.retrieved[archives.anchor]
    score = (archives.support + model.kappa * picture_prior(archives, model)) / (retrieved + model.kappa)
    return score.astype(np.float32)


def has_support(archives: Archives, score: np.ndarray, model: SupportModel) -> np.ndarray:
    """bool [P]: whether the picture makes the concept likelier than the corpus does."""
    return score > model.prior[archives.concept]


def fit_support(index: Index, expansions: Sequence[str], neighbours: int) -> SupportModel:
    """Fit mu and kappa on the indexed pairs; kappa on a seeded sample whose own captions are held out."""
    rows = index.rows
    pictured = rows.offsets[rows.images]
    # pi(c) is of the captions that can be retrieved
    searched = (rows.concept_ids[:pictured], rows.images) if tuple(expansions) == ("image",) else None
    named, total = searched or (rows.concept_ids, len(rows))
    prior = (np.bincount(named, minlength=len(index.vocabulary)) / max(1, total)).astype(np.float32)
    centre, spread = similarity_statistics(index.vocabulary.vectors, rows.image_vectors)
    own = rows.concept_ids[:pictured]
    z = (rows.similarity[:pictured] - centre[own]) / spread[own]
    model = SupportModel(prior, centre, spread, float(np.clip(z, *Z_LIMITS).mean()) if len(z) else 0.0)
    return _fit_kappa(index, model, expansions, neighbours)


def similarity_statistics(concepts: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of t(c)·v over pictures, float32 [C] each, from their mean and covariance.

    concepts: t(c), float32 [C, D]. pictures: v, float16 [M, D], of which at most `STATISTICS_PICTURES` are read.
    """
    if len(pictures) < 2:
        return np.zeros(len(concepts), np.float32), np.ones(len(concepts), np.float32)
    step = -(-len(pictures) // STATISTICS_PICTURES)
    sample = np.asarray(pictures[::step], np.float32)
    covariance = np.cov(sample.T).astype(np.float32)
    variance = np.einsum("cd,cd->c", concepts @ covariance, concepts)
    return concepts @ sample.mean(0), np.sqrt(np.maximum(variance, 1e-8))


def _fit_kappa(index: Index, model: SupportModel, expansions: Sequence[str], neighbours: int) -> SupportModel:
    # The caption's own vector must not take part: it tells what the held-out caption names.
    blind = tuple(dict.fromkeys("image" if name == "image" else "caption" for name in expansions))
    rng = np.random.default_rng(FIT_SEED)
    images = index.rows.images
    sample = np.sort(rng.choice(images, min(FIT_PAIRS, images), replace=False))
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(sample), FIT_BLOCK):
        block = sample[start : start + FIT_BLOCK]
        archives = held_out_archives(index, block, blind, neighbours)
        retrieved = archives.retrieved[archives.anchor]
        parts.append(
            (archives.support, retrieved, picture_prior(archives, model), own_mentions(index, block, archives))
        )
    support, retrieved, prior, named = (np.concatenate(part) for part in zip(*parts, strict=True))
    if named.sum() < FIT_MENTIONS:
        return model

    def loss(kappa: float) -> float:
        p = np.clip((support + kappa * prior) / (retrieved + kappa), 1e-6, 1 - 1e-6)
        return -float(np.mean(np.where(named, np.log(p), np.log1p(-p))))

    losses = [loss(kappa) for kappa in KAPPAS]
    best = int(np.argmin(losses))
    report = {
        "fitted_on_pairs": len(sample),
        "fitted_on_concepts": len(named),
        "named": int(named.sum()),
        "log_loss": round(losses[best], 6),
    }
    return SupportModel(model.prior, model.centre, model.spread, model.mu, float(KAPPAS[best]), report)


def held_out_archives(index: Index, block: np.ndarray, expansions: Sequence[str], neighbours: int) -> Archives:
    """Archives of indexed pairs [B] as if their own captions were unknown: neither retrieved nor added."""
    rows = index.rows
    anchors = Anchors(
        np.asarray(rows.image_vectors[block], np.float32),
        np.asarray(rows.text_vectors[block], np.float32),
        block,
        np.asarray(rows.text_hash[block]),
        np.asarray(rows.image_hash[block]),
        np.zeros(0, np.int32),
        np.zeros(len(block), np.int64),
    )
    found = expand(anchors, expansions, neighbours, index.images, index.captions, rows)
    others = np.where(found.rows == block[:, None], -1, found.rows)
    return gather(anchors, Retrieved(others, np.zeros(len(block), bool)), rows, index.vocabulary.vectors)


def own_mentions(index: Index, block: np.ndarray, archives: Archives) -> np.ndarray:
    """bool [P]: whether the anchor's own caption names the entry's concept."""
    rows, size = index.rows, len(index.vocabulary)
    counts = rows.offsets[block + 1] - rows.offsets[block]
    owner = np.repeat(np.arange(len(block)), counts)
    place = np.repeat(rows.offsets[block] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    return np.isin(archives.anchor * size + archives.concept, owner * size + rows.concept_ids[place])
