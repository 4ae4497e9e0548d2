"""Confidence: how likely another caption of the picture names what its own caption leaves out.

Scores rank the concepts of one picture. Whether to believe a claim at all is asked across pictures, and of the claims
that are news: the probability that a caption names c, given that the own one does not. It is what several people say of
one picture that tells it, so it is fitted to indexed pairs whose pictures have other captions in the index: the own
caption asks, all of its picture's are left out of what is retrieved, and the others tell whether c is there. Nobody
names all that there is: of being *in the picture* the confidence is rather a lower bound.

    confidence = steps(w · (1, log share, log prior, likeness))

share: of the pictures retrieved, any caption of which names c (picture_captions.py), or of the captions where pictures
have but one. prior: of all indexed captions. likeness: of the picture to those whose captions name c (witness.py).
w is a logistic regression, steps a rising function that mends its form. No score takes part: any ranking's concepts
can be asked for.

Of one picture's concepts the captions retrieved tell more than the pictures do, so that the order within a picture has
a regression of its own, the *naming rate*, with the log of support.py's posterior beside these: the ranking by evidence
takes it (evidence.py). Claims of different pictures it orders worse.

Where pictures have one caption only, that one is held out in place of the others, retrieval asks with the picture
alone, and a second caption that would not name what the first leaves out is allowed for by `REPEATED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.ranking.archives import gather
from curation.ranking.expansion import Retrieved, by_picture_alone, without_repeats
from curation.ranking.picture_captions import PictureCaptions, group_captions, pictures_of, share_of_pictures, texts_of
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.support import (
    FIT_BLOCK,
    FIT_MENTIONS,
    FIT_PAIRS,
    FIT_SEED,
    SECOND_PAIRS,
    SupportModel,
    posterior,
    retrieve_held_out,
)
from curation.ranking.witness import Witness, fit_witness

if TYPE_CHECKING:
    from curation.index.caption_rows import CaptionRows
    from curation.index.opened import Index
    from curation.ranking.anchor import Anchors

# Shares, priors and posteriors so small are as good as none.
LEAST = 1e-3, 1e-6, 1e-4
# How much less likely another caption names c once the own one is known to leave it out, at the same evidence:
# measured where pictures have five captions (docs/curation-quality.md).
REPEATED = 0.7
BINS = 100
DIAGRAM = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class ConfidenceModel:
    """weights float64 [F]; steps_at, steps float64 [S]: knots of the rising function, between which it is linear.

    prior float32 [C]. captions: None where pictures have one caption. diagram: how it fared on pairs that it was not
    fitted to, rows of (mean confidence, share named, entries). naming float64 [F + 1]: weights of the naming rate; None
    where no posterior was fitted.
    """

    weights: np.ndarray
    steps_at: np.ndarray
    steps: np.ndarray
    prior: np.ndarray
    witness: Witness
    captions: PictureCaptions | None
    diagram: tuple[tuple[float, float, int], ...]
    report: dict[str, Any]
    naming: np.ndarray | None = None

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        names = ("constant", "share", "prior", "likeness", "posterior")
        weights = dict(zip(names, self.weights.round(4).tolist(), strict=False))
        naming = {} if self.naming is None else {"naming": dict(zip(names, self.naming.round(4).tolist(), strict=True))}
        return {"weights": weights, **naming, **self.report, "diagram": [list(row) for row in self.diagram]}


@dataclass(frozen=True)
class Entries:
    """P (anchor, concept) entries to judge: anchor int64, concept int32, support int32: captions that name it.

    posterior float32: support.py's; None where it is not asked for.
    """

    anchor: np.ndarray
    concept: np.ndarray
    support: np.ndarray
    posterior: np.ndarray | None = None


def confidence(model: ConfidenceModel, anchors: Anchors, rows: np.ndarray, entries: Entries) -> np.ndarray:
    """float32 [P], of entries that the anchors' own captions do not name. rows int64 [B, L]: retrieved, -1 for none."""
    logit = _evidence(model.prior, model.witness, model.captions, anchors, rows, entries) @ model.weights
    return np.interp(logit, model.steps_at, model.steps).astype(np.float32)


def naming_rate(model: ConfidenceModel, anchors: Anchors, rows: np.ndarray, entries: Entries) -> np.ndarray:
    """float32 [P]: how likely another caption names the concept, for the order within a picture. rows as above."""
    assert model.naming is not None, "naming rates need a fitted posterior"
    assert entries.posterior is not None, "naming rates need the posterior of the entries"
    told = _evidence(model.prior, model.witness, model.captions, anchors, rows, entries)
    logit = told @ model.naming[:-1] + model.naming[-1] * np.log(entries.posterior + LEAST[2])
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def fit_confidence(
    index: Index,
    statistics: PictureStatistics,
    expansions: Sequence[str],
    neighbours: int,
    support: SupportModel | None = None,
) -> ConfidenceModel | None:
    """Fit to the indexed pairs, on half of a seeded sample; the other half gives the diagram. None of too few pairs.

    support: gives the posterior; None fits no naming rate.
    """
    rows = index.rows
    pictures = pictures_of(rows)
    texts = texts_of(rows, pictures)
    drawn = np.random.default_rng(FIT_SEED).permutation(rows.images)
    told = drawn[texts[pictures[drawn]] > 1][:FIT_PAIRS]
    by_others = len(told) >= SECOND_PAIRS
    sample = np.sort(told if by_others else drawn[:FIT_PAIRS])
    prior = (np.bincount(rows.concept_ids, minlength=len(index.vocabulary)) / max(1, len(rows))).astype(np.float32)
    captions = group_captions(rows, pictures, texts)
    asked = expansions if by_others else by_picture_alone(expansions)
    # a pair's own picture must not bear witness of what its own caption names
    witness = fit_witness(statistics, rows, None if by_others else sample)
    evidence, told, named, half = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, bool)]
    for start in range(0, len(sample), FIT_BLOCK):
        block = sample[start : start + FIT_BLOCK]
        anchors, found = retrieve_held_out(index, block, asked, neighbours)
        flat = without_repeats(found.reshape(len(block), -1))
        archives = gather(anchors, Retrieved(flat, np.zeros(len(block), bool)), rows, index.vocabulary.vectors)
        judged = ~archives.in_caption if by_others else np.ones(len(archives.concept), bool)
        entries = Entries(archives.anchor[judged], archives.concept[judged], archives.support[judged])
        evidence.append(_evidence(prior, witness, captions, anchors, flat, entries))
        told.append(np.zeros(judged.sum()) if support is None else posterior(archives, support)[judged])
        others = _named_by_others(index, pictures, block, entries) if by_others else archives.in_caption
        named.append(others)
        half.append((entries.anchor + start) % 2 == 0)
    x, y, fitted = np.concatenate(evidence), np.concatenate(named), np.concatenate(half)
    if min(y[fitted].sum(), y[~fitted].sum()) < FIT_MENTIONS:
        return None
    weights, naming = _logistic(x[fitted], y[fitted]), None
    if support is not None:
        both = np.column_stack([x, np.log(np.concatenate(told) + LEAST[2])])
        naming = _logistic(both[fitted], y[fitted])
    factor = 1.0 if by_others else REPEATED
    at, steps = _rising(x[fitted] @ weights, y[fitted])
    diagram = _diagram(np.interp(x[~fitted] @ weights, at, steps), y[~fitted])
    report = {
        "fitted_on_pairs": len(sample),
        "named_by": "other captions" if by_others else "the own caption, held out",
        "factor": factor,
        "captions_of_a_picture": round(float(texts[pictures[sample]].mean()), 2),
    }
    if not by_others:
        witness = fit_witness(statistics, rows)
    return ConfidenceModel(weights, at, factor * steps, prior, witness, captions, diagram, report, naming)


def indexed_captions(rows: CaptionRows) -> PictureCaptions | None:
    """The indexed captions by their pictures, as `ConfidenceModel` has them."""
    pictures = pictures_of(rows)
    return group_captions(rows, pictures, texts_of(rows, pictures))


def _evidence(
    prior: np.ndarray,
    witness: Witness,
    captions: PictureCaptions | None,
    anchors: Anchors,
    rows: np.ndarray,
    entries: Entries,
) -> np.ndarray:
    """Float64 [P, 4], as in the formula above."""
    if captions is None:
        share = entries.support / ((rows >= 0).sum(1) + 1)[entries.anchor]
    else:
        share = share_of_pictures(captions, rows, anchors.rows, entries.anchor, entries.concept)
    logs = np.log(share + LEAST[0]), np.log(prior[entries.concept] + LEAST[1])
    likeness = witness.likeness(anchors.image_vectors, entries.anchor, entries.concept)
    return np.stack([np.ones(len(share)), *logs, likeness], axis=1)


def _named_by_others(index: Index, pictures: np.ndarray, block: np.ndarray, entries: Entries) -> np.ndarray:
    """bool [P]: whether a caption of the pair's picture names the concept; the own one names none of these."""
    rows, count = index.rows, len(index.vocabulary)
    place = np.full(pictures.max() + 1, -1)
    place[pictures[block]] = np.arange(len(block))
    mine = np.flatnonzero(place[pictures] >= 0)
    sizes = np.diff(rows.offsets)[mine]
    where = np.arange(sizes.sum()) + np.repeat(rows.offsets[mine] - (np.cumsum(sizes) - sizes), sizes)
    keys = np.repeat(place[pictures[mine]], sizes) * count + rows.concept_ids[where]
    return np.isin(entries.anchor * count + entries.concept, keys)


def _logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights [F] of the logistic regression of y on x [P, F], by Newton's steps; all but the first held to 0 a bit."""
    ridge = np.eye(x.shape[1])
    ridge[0, 0] = 1e-9
    share = y.mean()
    weights = np.zeros(x.shape[1])
    weights[0] = np.log(share / (1 - share))
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge, x.T @ (y - p) - ridge @ weights)
        # far from the best point a whole step may lead away
        weights = weights + step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _rising(logit: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the function that rises with the logit and is nearest to y: pools of neighbours that would fall."""
    edges = np.linspace(logit.min(), logit.max(), BINS + 1)[1:-1]
    bins = np.searchsorted(edges, logit, "right")
    count = np.bincount(bins, minlength=BINS).astype(float)
    pools: list[list[float]] = []  # entries, sum of logits, named
    for part in zip(count, np.bincount(bins, logit, BINS), np.bincount(bins, y, BINS), strict=True):
        if not part[0]:
            continue
        pools.append(list(part))
        while len(pools) > 1 and pools[-2][2] * pools[-1][0] >= pools[-1][2] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    counts, logits, named = np.array(pools).T
    # one more of each: a pool of few is not sure of itself
    return logits / counts, np.maximum.accumulate((named + y.mean()) / (counts + 1))


def _diagram(confidence: np.ndarray, named: np.ndarray) -> tuple[tuple[float, float, int], ...]:
    bins = np.clip(np.searchsorted(DIAGRAM, confidence, "right") - 1, 0, len(DIAGRAM) - 2)
    return tuple(
        (round(float(confidence[one].mean()), 4), round(float(named[one].mean()), 4), int(one.sum()))
        for one in (bins == i for i in range(len(DIAGRAM) - 1))
        if one.any()
    )
