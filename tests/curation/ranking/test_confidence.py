"""Confidence: its parts against scikit-learn, and calibrated in a world whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings
from curation.ranking import confidence as module
from curation.ranking.archives import gather
from curation.ranking.confidence import REPEATED, ConfidenceModel, Entries, confidence, fit_confidence, naming_rate
from curation.ranking.expansion import Retrieved
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.support import fit_support, posterior, retrieve_held_out
from tests.examples import examples

KINDS, THINGS, DIM = 12, 40, 16
OTHERS = 4  # captions of a picture besides the pair's


def test_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(4_000), rng.standard_normal((4_000, 2)), 3 * rng.standard_normal(4_000) - 2])
    y = rng.random(4_000) < 1 / (1 + np.exp(-x @ [-3, 1, 0, 0.5]))
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1_000).fit(x[:, 1:], y)
    got = module._logistic(x, y)
    assert got == pytest.approx([*theirs.intercept_, *theirs.coef_[0]], abs=1e-3)


def test_what_one_feature_tells_for_certain_has_finite_weights() -> None:
    x = np.column_stack([np.ones(100), np.repeat([0.0, 5.0], 50)])
    got = module._logistic(x, x[:, 1] > 1)
    assert np.isfinite(got).all()
    assert got[1] > 1


# No spread, or one that does not drown in the rounding of sums, which tells no order.
SPREADS = st.just(0.0) | st.floats(1e-6, 4)


@examples(50)
@given(st.integers(0, 2**32 - 1), SPREADS, st.floats(-5, 2))
def test_steps_rise_and_lie_near_the_isotonic_regression(seed: int, spread: float, centre: float) -> None:
    rng = np.random.default_rng(seed)
    logit = centre + spread * rng.standard_normal(300)
    y = rng.random(300) < 1 / (1 + np.exp(-logit))
    at, steps = module._rising(logit, y)
    assert (np.diff(at) >= 0).all()
    assert (np.diff(steps) >= 0).all()
    assert ((steps >= 0) & (steps <= 1)).all()
    theirs = IsotonicRegression().fit(logit, y).predict(logit)
    ours = np.interp(logit, at, steps)
    # as near to y as theirs, but for what bins and the pools' doubt cost
    assert np.mean((ours - y) ** 2) <= np.mean((theirs - y) ** 2) + 0.05


def world(folder: Path, pictures: int = 3_000, others: int = OTHERS, seed: int = 0) -> Any:
    """Pictures of kinds, of which each shows what its kind holds by chance; a caption names a third of what is shown.

    Returns the index and what is shown, bool [pictures, THINGS].
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, KINDS, pictures)
    holds = rng.random((KINDS, THINGS)) ** 4
    shown = rng.random((pictures, THINGS)) < holds[kind]
    total = pictures * (1 + others)
    picture = np.concatenate([np.arange(pictures), np.repeat(np.arange(pictures), others)])
    named = shown[picture] & (rng.random((total, THINGS)) < 1 / 3)
    centres = rng.standard_normal((KINDS, DIM))

    def near(kinds: np.ndarray) -> np.ndarray:
        vectors = centres[kinds] + 0.5 * rng.standard_normal((len(kinds), DIM))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    owner, ids = np.nonzero(named)
    texts = rng.standard_normal((THINGS, DIM)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    text_vectors, image_vectors = near(kind[picture]), near(kind)
    seen = np.concatenate([image_vectors, text_vectors[pictures:]])
    rows = CaptionRows(
        np.concatenate([[0], np.cumsum(named.sum(1))]),
        ids.astype(np.int32),
        pair_similarity(texts, ids, seen, owner),
        np.arange(1, total + 1).astype(np.uint64),
        (picture.astype(np.uint64) + np.uint64(1)) << np.uint64(24),
        image_vectors,
        text_vectors,
    )
    nearest = {}
    for name, vectors in (("images", image_vectors), ("captions", text_vectors)):
        build(folder / f"{name}.faiss", vectors, "Flat")
        nearest[name] = NearestRows(folder / f"{name}.faiss", vectors, SearchSettings(), gpu=False)
    return SimpleNamespace(rows=rows, vocabulary=Words(texts), **nearest), shown


class Words:
    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)


def judged(index: Any, model: ConfidenceModel, pairs: np.ndarray) -> tuple[Entries, np.ndarray]:
    anchors, found = retrieve_held_out(index, pairs, ("mixed",), 40)
    rows = found[:, 0]
    archives = gather(anchors, Retrieved(rows, np.zeros(len(pairs), bool)), index.rows, index.vocabulary.vectors)
    left = ~archives.in_caption
    entries = Entries(archives.anchor[left], archives.concept[left], archives.support[left])
    return entries, confidence(model, anchors, rows, entries)


@pytest.mark.parametrize("others", [OTHERS, 0])
def test_of_what_is_claimed_with_some_confidence_so_much_is_right(tmp_path: Path, others: int) -> None:
    index, shown = world(tmp_path, others=others)
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    model = fit_confidence(index, statistics, ("mixed",), 40)
    assert model is not None
    assert model.report["named_by"].startswith("other captions" if others else "the own caption")
    assert sum(entries for _, _, entries in model.diagram) > 5_000
    off = [abs(said - was) for said, was, entries in model.diagram if entries > 300]
    assert max(off) < 0.05
    pairs = np.arange(2_500, 3_000)
    entries, got = judged(index, model, pairs)
    # of another caption, or any of four: where shown, a third of them each
    chance = 1 - (2 / 3) ** others if others else REPEATED * 1 / 3 / (1 - 1 / 3) * 2 / 3
    right = shown[pairs[entries.anchor], entries.concept]
    bins = np.digitize(got, np.quantile(got, [0.5, 0.8, 0.95]))
    means = [(got[bins == i].mean(), chance * right[bins == i].mean()) for i in range(4)]
    assert means[-1][0] > 5 * means[0][0]
    for said, was in means:
        assert said == pytest.approx(was, abs=0.06 if others else 0.1)


@pytest.mark.parametrize("others", [OTHERS, 0])
def test_the_naming_rate_orders_the_concepts_of_a_picture(tmp_path: Path, others: int) -> None:
    """By the formula, and no worse than what it is made of; confidence stays as it is without."""
    index, shown = world(tmp_path, others=others)
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    support = fit_support(index, statistics, ["mixed"], 40)
    model = fit_confidence(index, statistics, ("mixed",), 40, support)
    plain = fit_confidence(index, statistics, ("mixed",), 40)
    assert model is not None
    assert plain is not None
    np.testing.assert_array_equal(model.weights, plain.weights)
    assert plain.naming is None
    pairs = np.arange(2_500, 3_000)
    anchors, found = retrieve_held_out(index, pairs, ("mixed",), 40)
    rows = found[:, 0]
    archives = gather(anchors, Retrieved(rows, np.zeros(len(pairs), bool)), index.rows, index.vocabulary.vectors)
    told = posterior(archives, support)
    entries = Entries(archives.anchor, archives.concept, archives.support, told)
    got = naming_rate(model, anchors, rows, entries)
    assert model.naming is not None
    features = module._evidence(model.prior, model.witness, model.captions, anchors, rows, entries)
    logit = np.column_stack([features, np.log(told + module.LEAST[2])]) @ model.naming
    assert got == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)
    right = shown[pairs[archives.anchor], archives.concept]
    left = ~archives.in_caption

    def ordered(score: np.ndarray) -> float:
        areas = []
        for pair in range(len(pairs)):
            mine = left & (archives.anchor == pair)
            if right[mine].any() and not right[mine].all():
                areas.append(roc_auc_score(right[mine], score[mine]))
        return float(np.mean(areas))

    assert ordered(got) >= max(ordered(told), ordered(features[:, 1])) - 0.01


def test_a_copy_of_the_own_caption_is_no_other_caption(tmp_path: Path) -> None:
    index, _ = world(tmp_path, pictures=1_500, others=1)
    rows = index.rows
    named = np.diff(rows.offsets)[: rows.images]
    offsets = np.concatenate([rows.offsets[: rows.images], rows.offsets[rows.images] + np.cumsum([0, *named])])
    ids = rows.concept_ids[: rows.offsets[rows.images]]
    index.rows = replace(
        rows, offsets=offsets, concept_ids=np.tile(ids, 2), similarity=np.tile(rows.similarity[: len(ids)], 2),
        text_hash=np.tile(rows.text_hash[: rows.images], 2),
    )  # fmt: skip
    statistics = PictureStatistics(index.vocabulary.vectors, rows.image_vectors)
    model = fit_confidence(index, statistics, ("mixed",), 20)
    assert model is not None
    assert model.report["named_by"].startswith("the own caption")


def test_too_few_pairs_give_no_probability(tmp_path: Path) -> None:
    index, _ = world(tmp_path, pictures=20, others=1)
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    assert fit_confidence(index, statistics, ("mixed",), 8) is None


def test_the_same_index_gives_the_same_numbers(tmp_path: Path) -> None:
    index, _ = world(tmp_path, pictures=800)
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    one, other = (fit_confidence(index, statistics, ("mixed",), 20) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.describe() == other.describe()
    assert replace(one).steps.tolist() == other.steps.tolist()
