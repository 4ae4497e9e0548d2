"""Ranking by support: how likely a caption of the picture names the concept, judged by the captions retrieved for it.

The paper's ranking asks how well a concept fits the picture against the other pictures that it was retrieved with, and
leaves unused how many of the retrieved captions name it. That count is the stronger signal (docs/curation-quality.md).

With n captions retrieved, s(c) of them naming c, and pi(c) the share of all indexed captions that name c,
    q(c) = (s(c) + pi(c)) / (n + 1)
is the posterior mean of the rate at which captions of such pictures name c, the corpus counting as one more caption.
A concept that the retrieved captions name no more often than the corpus does has no support, and scores 0. Otherwise
    score(c) = sigmoid(a + b logit q(c)).
a and b are fitted within the run, on indexed pairs whose own captions are held out, so that the score is the
probability that the pair's own caption names c. Nothing is tuned to pictures with known content.
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
# Fewer held-out mentions than this say nothing; the rate q itself is the score then.
FIT_MENTIONS = 50
NEWTON_STEPS = 25
BINS = 10


@dataclass(frozen=True)
class SupportModel:
    """prior float32 [C]: pi(c). intercept, slope: a and b. report: what the fit saw, for the manifest."""

    prior: np.ndarray
    intercept: float = 0.0
    slope: float = 1.0
    report: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {"intercept": self.intercept, "slope": self.slope, **(self.report or {})}


def rates(archives: Archives, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q(c) and whether c has support, float64 and bool [P]."""
    retrieved = archives.retrieved[archives.anchor]
    expected = prior[archives.concept].astype(np.float64)
    rate = (archives.support + expected) / (retrieved + 1)
    return rate, archives.support > expected * retrieved


def support_scores(archives: Archives, model: SupportModel) -> np.ndarray:
    """Probabilities float32 [P]; 0 where a concept has no support."""
    rate, supported = rates(archives, model.prior)
    odds = model.intercept + model.slope * logit(rate)
    return np.where(supported, 1 / (1 + np.exp(-odds)), 0).astype(np.float32)


def logit(rate: np.ndarray) -> np.ndarray:
    """Log-odds of rates, kept finite."""
    rate = np.clip(rate, 1e-9, 1 - 1e-9)
    return np.log(rate) - np.log1p(-rate)


def fit_support(index: Index, expansions: Sequence[str], neighbours: int) -> SupportModel:
    """Fit the model on a seeded sample of indexed pairs with their own captions held out of what is retrieved."""
    rows = index.rows
    prior = (index.vocabulary.counts / max(1, len(rows))).astype(np.float32)
    plain = SupportModel(prior)
    rng = np.random.default_rng(FIT_SEED)
    sample = np.sort(rng.choice(rows.images, min(FIT_PAIRS, rows.images), replace=False))
    odds, named = [np.zeros(0)], [np.zeros(0, bool)]
    for start in range(0, len(sample), FIT_BLOCK):
        block = sample[start : start + FIT_BLOCK]
        archives = held_out_archives(index, block, expansions, neighbours)
        rate, supported = rates(archives, prior)
        odds.append(logit(rate[supported]))
        named.append(own_concepts(index, block, archives)[supported])
    x, y = np.concatenate(odds), np.concatenate(named)
    if y.sum() < FIT_MENTIONS:
        return plain
    intercept, slope = fit_logistic(x, y)
    if slope <= 0:  # support that tells nothing must not turn the order round
        return plain
    score = 1 / (1 + np.exp(-(intercept + slope * x)))
    report = {
        "fitted_on_pairs": len(sample),
        "fitted_on_concepts": len(y),
        "named": int(y.sum()),
        "reliability": reliability(score, y),
    }
    return SupportModel(prior, round(intercept, 6), round(slope, 6), report)


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
    retrieved = Retrieved(others, found.similarity, np.zeros(len(block), bool))
    return gather(anchors, retrieved, rows, index.vocabulary.vectors)


def own_concepts(index: Index, block: np.ndarray, archives: Archives) -> np.ndarray:
    """bool [P]: whether the anchor's own caption names the entry's concept."""
    rows, size = index.rows, len(index.vocabulary)
    counts = rows.offsets[block + 1] - rows.offsets[block]
    owner = np.repeat(np.arange(len(block)), counts)
    place = np.repeat(rows.offsets[block] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    own = owner * size + rows.concept_ids[place]
    return np.isin(archives.anchor * size + archives.concept, own)


def fit_logistic(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of y (bool [N]) on x (float [N]), by Newton's method."""
    features = np.stack([np.ones_like(x), x], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-features @ weights))
        # the ridge is far below any data: it only keeps a separable sample finite
        gradient = features.T @ (y - p) - 1e-6 * weights
        hessian = (features * (p * (1 - p))[:, None]).T @ features + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])


def reliability(score: np.ndarray, named: np.ndarray, bins: int = BINS) -> list[dict[str, float]]:
    """Calibration: in each tenth of [0, 1], how many scores, their mean, and the share that came true."""
    which = np.minimum((score * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    safe = np.maximum(count, 1)
    mean = np.bincount(which, score, bins) / safe
    share = np.bincount(which, named, bins) / safe
    return [
        {"entries": int(n), "score": round(float(m), 4), "named": round(float(s), 4)}
        for n, m, s in zip(count, mean, share, strict=True)
        if n
    ]
