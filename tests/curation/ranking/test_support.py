"""The support ranking against plain loops of its formulas, and on worlds whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.index.identity import picture_hashes
from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings
from curation.index.opened import Index
from curation.index.vocabulary import Vocabulary
from curation.ranking import support
from curation.ranking.archives import Archives, gather
from curation.ranking.expansion import Retrieved
from curation.ranking.own_captions import is_own, second_captions
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.relevance import RankingContext, rank
from curation.ranking.seeds import seeds_of
from curation.ranking.selection import select
from curation.ranking.support import (
    AS_GOOD,
    HIGHEST_PRIOR,
    KAPPAS,
    LADDER,
    Z_LIMITS,
    SupportModel,
    fit_support,
    has_support,
    posterior,
    retrieve_held_out,
    whole_prior,
)
from tests.curation.small_index import small_index


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """600 pairs in 12 scenes: each scene's captions name 3 of its 4 concepts; concept 0 is named at random."""
    folder = tmp_path_factory.mktemp("support")
    rng = np.random.default_rng(0)
    scenes, pairs, dim, concepts = 12, 600, 32, 49
    centres = rng.standard_normal((scenes, dim))
    scene = rng.integers(0, scenes, pairs)
    vectors = centres[scene] + 0.4 * rng.standard_normal((pairs, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    named = [
        sorted({*(1 + 4 * s + rng.choice(4, 3, replace=False)), *([0] if rng.random() < 0.3 else [])}) for s in scene
    ]
    texts = np.concatenate([rng.standard_normal((1, dim)), np.repeat(centres, 4, 0)])
    texts = texts + 0.3 * rng.standard_normal(texts.shape)
    texts = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in named])])
    ids = np.concatenate(named).astype(np.int32)
    owner = np.repeat(np.arange(pairs), np.diff(offsets))
    hashes = np.arange(1, pairs + 1).astype(np.uint64)
    similarity = pair_similarity(texts, ids, vectors, owner)
    rows = CaptionRows(offsets, ids, similarity, hashes, hashes, vectors, vectors)
    build(folder / "one.faiss", vectors, "Flat")
    nearest = NearestRows(folder / "one.faiss", vectors, SearchSettings(), gpu=False)
    import pyarrow as pa

    vocabulary = Vocabulary(pa.array([f"c{i}" for i in range(concepts)]), np.bincount(ids, minlength=concepts), texts)
    return Index(folder, {}, vocabulary, rows, nearest, nearest)


def fitted(index: Index, expansions: list[str], neighbours: int = 0) -> SupportModel:
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    return fit_support(index, statistics, expansions, neighbours)


def held_out_archives(index: Index, block: np.ndarray, expansions: list[str], neighbours: int) -> Archives:
    """Archives of indexed pairs, their own captions not retrieved; `in_caption` tells what these name."""
    anchors, rows = retrieve_held_out(index, block, expansions, neighbours)
    retrieved = Retrieved(rows.reshape(len(block), -1), np.zeros(len(block), bool))
    return gather(anchors, retrieved, index.rows, index.vocabulary.vectors)


def test_scores_are_those_of_the_formula(index):
    model = fitted(index, ["mixed"], 20)
    block = np.arange(40)
    archives = held_out_archives(index, block, ["mixed"], 20)
    score = posterior(archives, model)
    pictures = index.rows.image_vectors.astype(np.float64)
    for entry in range(0, len(score), 7):
        c, x = int(archives.concept[entry]), int(block[archives.anchor[entry]])
        share = sum(c in index.rows.concept_ids[a:b] for a, b in _bounds(index)) / 600
        products = pictures @ index.vocabulary.vectors[c]
        z = (products[x] - products.mean()) / products.std(ddof=1)
        z = min(max(z, Z_LIMITS[0]), Z_LIMITS[1])
        prior = min(share * math.exp(model.mu * z - model.mu**2 / 2), HIGHEST_PRIOR)
        wanted = (archives.support[entry] + model.kappa * prior) / (20 + model.kappa)
        assert score[entry] == pytest.approx(wanted, abs=2e-4)
        assert bool(has_support(archives, score, model)[entry]) == (score[entry] > np.float32(share))


def test_support_leaves_out_what_posterior_keeps(index):
    """Both score alike; what the caption names stays without support, too."""
    archives = held_out_archives(index, np.arange(40), ["mixed"], 20)
    model = fitted(index, ["mixed"], 20)
    context = RankingContext(index.vocabulary, model, np.zeros(40, np.uint64))
    support, whole = rank(archives, "support", context), rank(archives, "posterior", context)
    np.testing.assert_array_equal(support.score, whole.score)
    assert not whole.gone.any()
    unlikely = support.score <= model.prior[archives.concept]
    np.testing.assert_array_equal(support.gone, unlikely & ~archives.in_caption)
    assert 0 < support.gone.sum() < unlikely.sum()


def _bounds(index: Index) -> list[tuple[int, int]]:
    return list(zip(index.rows.offsets[:-1].tolist(), index.rows.offsets[1:].tolist(), strict=True))


def test_mu_is_the_mean_z_of_what_captions_name(index):
    model = fitted(index, ["caption"], 20)
    products = index.rows.image_vectors.astype(np.float64) @ index.vocabulary.vectors.T
    z = (products - products.mean(0)) / products.std(0, ddof=1)
    own = [np.clip(z[i, c], *Z_LIMITS) for i, (a, b) in enumerate(_bounds(index)) for c in index.rows.concept_ids[a:b]]
    assert model.mu == pytest.approx(np.mean(own), abs=1e-3)


def test_kappa_and_neighbours_are_the_likeliest_of_held_out_captions(index):
    """By a plain loop over all concepts of all pairs, named or not, retrieved or not."""
    pictures = index.rows.image_vectors.astype(np.float64)
    products = pictures @ index.vocabulary.vectors.T
    named = np.zeros(products.shape, bool)
    for i, (a, b) in enumerate(_bounds(index)):
        named[i, index.rows.concept_ids[a:b]] = True
    model = fitted(index, ["mixed"])
    z = np.clip((products - products.mean(0)) / products.std(0, ddof=1), *Z_LIMITS)
    prior = np.minimum(named.mean(0) * np.exp(model.mu * z - model.mu**2 / 2), HIGHEST_PRIOR)
    order = np.argsort(-(pictures @ pictures.T), axis=1)[:, 1:]  # the first is the pair itself
    losses = {}
    for neighbours in LADDER:
        support = named[order[:, :neighbours]].sum(1)
        for kappa in KAPPAS:
            p = np.clip((support + kappa * prior) / (min(neighbours, 599) + kappa), 1e-6, 1 - 1e-6)
            losses[neighbours, kappa] = -np.where(named, np.log(p), np.log1p(-p)).sum(1).mean()
    assert losses[model.neighbours, model.kappa] == pytest.approx(min(losses.values()), rel=0.015)
    best = {n: min(loss for (count, _), loss in losses.items() if count == n) for n in LADDER}
    fewest = next(n for n in LADDER if best[n] <= AS_GOOD * min(best.values()))
    assert LADDER.index(model.neighbours) in (LADDER.index(fewest) - 1, LADDER.index(fewest), LADDER.index(fewest) + 1)
    reported = model.describe()["loss_by_neighbours"]
    for neighbours in LADDER:
        wanted = min(loss for (n, _), loss in losses.items() if n == neighbours)
        assert reported[str(neighbours)] == pytest.approx(wanted, rel=0.02)


def test_the_sum_of_the_prior_is_over_all_concepts(index):
    model = fitted(index, ["caption"], 20)
    pictures = np.asarray(index.rows.image_vectors[:100], np.float32)
    products = pictures @ index.vocabulary.vectors.T
    z = np.clip(model.statistics.z(products, slice(None)), *Z_LIMITS)
    prior = np.minimum(model.prior * np.exp(model.mu * z - model.mu**2 / 2), HIGHEST_PRIOR)
    np.testing.assert_allclose(whole_prior(model, pictures), prior.sum(1), rtol=1e-5)


def test_scores_are_calibrated_on_pairs_that_the_fit_did_not_see(index):
    """Of the concepts scored p, about p are named by the held-out caption."""
    model = fitted(index, ["caption"], 20)
    block = np.arange(600)
    archives = held_out_archives(index, block, ["caption"], 20)
    score, named = posterior(archives, model), archives.in_caption
    likely = score > 0.5
    assert likely.sum() > 500
    assert named[likely].mean() == pytest.approx(score[likely].mean(), abs=0.1)


def test_the_unnamed_fourth_concept_of_the_scene_comes_first(index):
    """What curation is for: a scene has four concepts, its caption names three."""
    block = np.arange(200)
    archives = held_out_archives(index, block, ["mixed"], 20)
    model = fitted(index, ["mixed"], 20)
    context = RankingContext(index.vocabulary, model, seeds_of([str(i) for i in block], 0))
    hits = 0
    kept = select(archives, rank(archives, "support", context).score, 0, None, archives.in_caption)
    for i in block:
        scene = next(c for c in index.rows.concept_ids[slice(*_bounds(index)[i])] if c) - 1
        wanted = {1 + 4 * (scene // 4) + k for k in range(4)}
        first = kept.entries[kept.offsets[i]]
        hits += int(archives.concept[first]) in wanted
    assert hits / len(block) > 0.9


def test_held_out_rows_know_nothing_of_the_own_caption(tmp_path):
    import pyarrow as pa

    small = small_index(tmp_path)
    vocabulary = Vocabulary(pa.array([f"c{i}" for i in range(25)]), np.ones(25, np.int64), small.concepts)
    index = Index(tmp_path, {}, vocabulary, small.rows, small.captions, small.images)
    block = np.arange(10)
    for expansion in ("image", "caption", "mixed"):
        anchors, rows = retrieve_held_out(index, block, [expansion], 12)
        assert not (rows == block[:, None, None]).any()
        # the anchor itself is the nearest of its picture's neighbours, and is left out; so is another of its own
        own = is_own(anchors, np.where(rows < 0, 0, rows)[:, 0], small.rows)
        assert not (own & (rows[:, 0] >= 0)).any()
        left = (rows >= 0).sum((1, 2))
        assert ((left <= 11) & (left >= 10) if expansion == "image" else left == 12).all()
        own = np.split(anchors.concept_ids, np.cumsum(anchors.concept_counts)[:-1])
        assert [set(ids.tolist()) for ids in own] == small.named[:10]


def with_second_captions(index: Index, count: int) -> Index:
    """The same index with a caption without picture more of each of its first pairs, which says the fourth concept."""
    rows = index.rows
    pairs = rows.images
    named = [rows.concept_ids[a:b].tolist() for a, b in _bounds(index)]
    more = [sorted({1 + 4 * ((ids[-1] - 1) // 4) + k for k in range(4)} - set(ids)) for ids in named[:count]]
    offsets = np.concatenate([rows.offsets, rows.offsets[-1] + np.cumsum([len(ids) for ids in more])])
    ids = np.concatenate([rows.concept_ids, *more]).astype(np.int32)
    texts = np.concatenate([rows.text_vectors, rows.text_vectors[:count]])
    joined = CaptionRows(
        offsets,
        ids,
        np.zeros(len(ids), np.float32),
        np.arange(1, pairs + count + 1).astype(np.uint64),
        picture_hashes([str(i) for i in (*range(pairs), *range(count))]),
        rows.image_vectors,
        texts,
    )
    build(index.path / "two.faiss", texts, "Flat")
    captions = NearestRows(index.path / "two.faiss", texts, SearchSettings(), gpu=False)
    return replace(index, rows=joined, captions=captions)


def test_second_captions_are_those_of_the_same_picture_and_another_text(index):
    two = with_second_captions(index, 100)
    assert second_captions(two.rows, np.arange(200)).tolist() == [600 + i if i < 100 else -1 for i in range(200)]
    two.rows.text_hash[650] = two.rows.text_hash[50]
    assert second_captions(two.rows, np.array([50, 51])).tolist() == [-1, 651]
    assert (second_captions(index.rows, np.arange(600)) == -1).all()


def test_where_pictures_have_second_captions_those_ask(index, monkeypatch):
    """The fit then knows the expansion that it is for; the own caption and the one that asks are both left out."""
    two = with_second_captions(index, 100)
    block = np.arange(20)
    second = second_captions(two.rows, block)
    texts = two.rows.text_vectors.astype(np.float32)
    _, rows = retrieve_held_out(two, block, ["language"], 12, second)
    for x in block:
        order = np.argsort(-(texts @ texts[second[x]]), kind="stable")
        wanted = [row for row in order.tolist() if row not in (x, second[x])][:12]
        np.testing.assert_array_equal(texts[rows[x, 0]], texts[wanted])
        assert not {x, second[x]} & set(rows[x, 0].tolist())
    assert fitted(two, ["mixed"], 20).describe()["asked_by"] == "pictures"  # there are too few
    monkeypatch.setattr(support, "SECOND_PAIRS", 50)
    assert fitted(two, ["mixed"], 20).describe()["asked_by"] == "second captions"
    assert fitted(two, ["mixed"], 20).describe()["fitted_on_pairs"] == 100
    assert fitted(two, ["caption"], 20).describe()["asked_by"] == "pictures"  # which they are asked by in the run, too
