"""The ranking by evidence against plain loops of its formulas, and the weight of pictures in worlds of known kind."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings
from curation.index.opened import Index
from curation.index.vocabulary import Vocabulary
from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather
from curation.ranking.company import explained
from curation.ranking.confidence import fit_confidence
from curation.ranking.evidence import (
    FIT_PAIRS,
    FIT_SEED,
    FLOOR,
    PRICE,
    WEIGHTS,
    PictureWeight,
    evidence,
    fit_picture_weight,
    has_evidence,
    rate_of_naming,
    with_nearest,
)
from curation.ranking.expansion import Retrieved
from curation.ranking.grounding import proven
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.support import SupportModel, fit_support, posterior, retrieve_held_out

CONCEPTS = 120


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def world(folder: Path, noise: float, seed: int = 0, pairs: int = 500) -> Index:
    """Pictures of 6 of 100 things and captions that name 3 of these; 20 words more name nothing shown, one in ten."""
    rng = np.random.default_rng(seed)
    texts = unit(rng.standard_normal((CONCEPTS, 64)))
    shown = [rng.choice(100, 6, replace=False) for _ in range(pairs)]
    seen = unit(np.stack([texts[things].sum(0) for things in shown]))
    clouded = rng.standard_normal(seen.shape)
    pictures = unit(seen + noise * unit(clouded)).astype(np.float16)
    named = [
        sorted({*things[:3].tolist(), *([int(rng.integers(100, CONCEPTS))] if rng.random() < 0.1 else [])})
        for things in shown
    ]
    captions = unit(np.stack([texts[ids].sum(0) for ids in named])).astype(np.float16)
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in named])])
    ids = np.concatenate(named).astype(np.int32)
    texts = texts.astype(np.float32)
    similarity = pair_similarity(texts, ids, pictures.astype(np.float32), np.repeat(np.arange(pairs), np.diff(offsets)))
    hashes = np.arange(1, pairs + 1).astype(np.uint64)
    rows = CaptionRows(offsets, ids, similarity, hashes, hashes, pictures, captions)
    nearest = []
    for name, vectors in (("images", pictures), ("captions", captions)):
        build(folder / f"{name}.faiss", vectors, "Flat")
        nearest.append(NearestRows(folder / f"{name}.faiss", vectors, SearchSettings(), gpu=False))
    words = pa.array([f"word {i}" for i in range(CONCEPTS)])
    vocabulary = Vocabulary(words, np.bincount(ids, minlength=CONCEPTS), texts)
    return Index(folder, {}, vocabulary, rows, nearest[1], nearest[0])


def fitted(index: Index) -> tuple[SupportModel, PictureWeight]:
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    support = fit_support(index, statistics, ["mixed"], 20)
    return support, fit_picture_weight(index, statistics, support, None, ["mixed"], np.ones(CONCEPTS, bool))


def rate(archives: Archives, support: SupportModel) -> np.ndarray:
    return np.where(archives.support > 0, posterior(archives, support), np.float32(0))


def held_out(index: Index, block: np.ndarray) -> tuple[Archives, Anchors]:
    anchors, rows = retrieve_held_out(index, block, ["caption"], 20)
    retrieved = Retrieved(rows.reshape(len(block), -1), np.zeros(len(block), bool))
    return gather(anchors, retrieved, index.rows, index.vocabulary.vectors), anchors


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return world(tmp_path_factory.mktemp("evidence"), 0.5)


def test_scores_are_those_of_the_formula(index: Index) -> None:
    support, picture = fitted(index)
    picture = replace(picture, weight=0.4)
    archives, anchors = held_out(index, np.arange(30))
    archives = with_nearest(archives, anchors, index.vocabulary.vectors, picture, 12)
    score = evidence(archives, rate(archives, support), picture)
    kept = has_evidence(archives, score, anchors.image_vectors, picture)
    rates = posterior(archives, support)
    sure = set(picture.proven.tolist())
    level = np.mean([index.rows.image_vectors.astype(np.float64).mean(0) @ index.vocabulary.vectors[c] for c in sure])
    typical = index.vocabulary.vectors[sorted(sure)].mean(0)
    for x in range(30):
        entries = range(archives.offsets[x], archives.offsets[x + 1])
        nearness = {}
        for e in entries:
            vector = index.vocabulary.vectors[archives.concept[e]]
            lift = level - index.rows.image_vectors.astype(np.float64).mean(0) @ vector
            nearness[e] = anchors.image_vectors[x] @ vector + (0 if archives.concept[e] in sure else lift)
        for e in entries:
            r = rates[e] if archives.support[e] else 0
            q = math.exp((nearness[e] - max(nearness.values())) / picture.width)
            assert score[e] == pytest.approx((r + FLOOR) ** 0.6 * q**0.4, rel=1e-3)
            q = math.exp((anchors.image_vectors[x] @ typical + picture.width - max(nearness.values())) / picture.width)
            least = FLOOR**0.6 * q**0.4
            assert bool(kept[e]) == (score[e] >= least) or score[e] == pytest.approx(least, rel=1e-3)
    assert 0 < kept.sum() < len(kept)


def test_the_nearest_proven_concepts_join_the_archive(index: Index) -> None:
    _, picture = fitted(index)
    archives, anchors = held_out(index, np.arange(25))
    joined = with_nearest(archives, anchors, index.vocabulary.vectors, picture, 9)
    products = anchors.image_vectors @ index.vocabulary.vectors[picture.proven].T
    for x in range(25):
        before, after = (a.concept[a.offsets[x] : a.offsets[x + 1]].tolist() for a in (archives, joined))
        nearest = picture.proven[np.argsort(-products[x])[:9]].tolist()
        assert after == sorted({*before, *nearest})
    known = {(a, c): e for e, (a, c) in enumerate(zip(archives.anchor, archives.concept, strict=True))}
    assert len(joined.concept) > len(known)
    for e, entry in enumerate(zip(joined.anchor, joined.concept, strict=True)):
        assert joined.similarity[e] == pytest.approx(
            anchors.image_vectors[entry[0]] @ index.vocabulary.vectors[entry[1]], abs=1e-5
        )
        old = known.get(entry)
        assert joined.support[e] == (0 if old is None else archives.support[old])
        assert joined.in_caption[e] == (False if old is None else archives.in_caption[old])
        assert joined.similarity_sum[e] == (0 if old is None else archives.similarity_sum[old])
    np.testing.assert_array_equal(joined.retrieved, archives.retrieved)


def test_no_further_concept_would_be_among_the_best(index: Index) -> None:
    """The best eight of eight candidates more are those of all concepts as candidates."""
    support, picture = fitted(index)
    archives, anchors = held_out(index, np.arange(40))
    found = []
    for count in (8, CONCEPTS):
        joined = with_nearest(archives, anchors, index.vocabulary.vectors, picture, count)
        score = evidence(joined, rate(joined, support), picture)
        parts = np.split(np.arange(len(score)), joined.offsets[1:-1])
        found.append([joined.concept[part[np.argsort(-score[part], kind="stable")[:8]]].tolist() for part in parts])
    assert found[0] == found[1]


def test_empty_archives_and_no_pictures_are_no_trouble(index: Index) -> None:
    support, picture = fitted(index)
    archives, anchors = held_out(index, np.arange(3))
    none = with_nearest(archives, anchors, index.vocabulary.vectors, replace(picture, proven=picture.proven[:0]), 8)
    np.testing.assert_array_equal(none.concept, archives.concept)
    nothing = Archives(
        *(np.zeros(n, t) for n, t in ((4, int), (0, int), (0, np.int32), (0, np.float32), (0, np.int32))),
        *(np.zeros(0, t) for t in (np.float32, np.float32, bool)),
        np.zeros(3, int),
    )
    filled = with_nearest(nothing, anchors, index.vocabulary.vectors, picture, 5)
    assert np.diff(filled.offsets).tolist() == [5, 5, 5]
    assert len(evidence(nothing, rate(nothing, support), picture)) == 0
    assert len(has_evidence(nothing, np.zeros(0, np.float32), anchors.image_vectors, picture)) == 0


def test_the_weight_is_the_largest_that_costs_little(index: Index) -> None:
    """By a plain loop: each concept that a held-out caption names, among all that compete, by each weight."""
    support, picture = fitted(index)
    sample = np.sort(np.random.default_rng(FIT_SEED).choice(500, min(FIT_PAIRS, 500), replace=False))
    archives, anchors = held_out(index, sample)
    rates = np.zeros((len(sample), CONCEPTS))
    rates[archives.anchor, archives.concept] = np.where(archives.support > 0, posterior(archives, support), 0)
    seen = np.zeros((len(sample), CONCEPTS), bool)
    seen[:, picture.proven] = True
    seen[archives.anchor, archives.concept] = True
    nearness = (anchors.image_vectors @ index.vocabulary.vectors.T + picture.lift) / picture.width
    best = 30  # a quarter of them
    shares = []
    for weight in WEIGHTS:
        score = np.where(seen, (1 - weight) * np.log(rates + FLOOR) + weight * nearness, -np.inf)
        ranks = [
            (score[i] > score[i, c]).sum()
            for i, pair in enumerate(sample)
            for c in index.rows.concept_ids[index.rows.offsets[pair] : index.rows.offsets[pair + 1]]
        ]
        shares.append(float((np.array(ranks) < best).mean()))
    assert list(picture.report["named_among_best"].values()) == pytest.approx(shares, abs=2e-3)
    assert picture.report["best"] == best
    enough = [w for w, share in zip(WEIGHTS, shares, strict=True) if share >= (1 - PRICE) * max(shares)]
    assert picture.weight == enough[-1]


def test_what_no_retrieved_caption_names_has_no_rate(index: Index) -> None:
    support, picture = fitted(index)
    archives, anchors = held_out(index, np.arange(20))
    joined = with_nearest(archives, anchors, index.vocabulary.vectors, picture, 9)
    judge = fit_confidence(index, support.statistics, ["mixed"], 20, support)
    rows = np.full((20, 0), -1)
    np.testing.assert_array_equal(rate_of_naming(joined, support, None, anchors, rows), rate(joined, support))
    got = rate_of_naming(joined, support, judge, anchors, rows)
    np.testing.assert_array_equal(got > 0, joined.support > 0)
    assert not np.allclose(got, rate(joined, support), rtol=0.05)


def test_the_weight_follows_what_the_encoder_knows(tmp_path: Path) -> None:
    """A clear view earns the picture nearly all the weight, a clouded one less, and no view hardly any."""
    weights = []
    for noise in (0.0, 3.0, 30.0):
        folder = tmp_path / str(noise)
        folder.mkdir()
        weights.append(fitted(world(folder, noise))[1].weight)
    assert weights[0] == WEIGHTS[-1]
    assert weights[0] >= weights[1] >= weights[2]
    assert weights[2] <= WEIGHTS[2]


def test_words_that_name_nothing_shown_are_not_proven(index: Index) -> None:
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    sure = proven(statistics, index.rows)
    products = index.rows.image_vectors.astype(np.float64) @ index.vocabulary.vectors.T
    z = (products - products.mean(0)) / products.std(0, ddof=1)
    owner = np.repeat(np.arange(500), np.diff(index.rows.offsets))
    company = explained(statistics, index.rows, np.ones(CONCEPTS, bool))
    for c in range(CONCEPTS):
        mine = z[owner[index.rows.concept_ids == c], c]
        most = mine.sum() - len(mine) * company[c]
        wanted = len(mine) > 0 and mine.sum() >= 0.5 * (len(mine) + 1) and mine.sum() >= 3 * math.sqrt(len(mine))
        wanted = wanted and most >= 2 * math.sqrt(len(mine))
        assert sure[c] == wanted
    assert sure[:100].mean() > 0.9
    assert not sure[100:].any()


def test_few_pairs_leave_it_to_captions(tmp_path: Path) -> None:
    _, picture = fitted(world(tmp_path, 0.5, pairs=12))
    assert picture.weight == WEIGHTS[0]
    assert "too few" in picture.because()


def test_what_was_chosen_is_told(index: Index) -> None:
    _, picture = fitted(index)
    shares = picture.report["named_among_best"]
    assert f"picture weight {picture.weight:g} " in picture.because()
    assert f"{shares[f'{picture.weight:g}']:.1%} is among the best 30 of 120 concepts" in picture.because()
    assert picture.describe()["weight"] == picture.weight
