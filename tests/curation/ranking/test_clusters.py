"""k-means over archives: the invariants, and how tight its clusters are beside scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import plain_loop as oracle
from curation.ranking import clusters
from curation.ranking.clusters import Clusterer, kmeans
from curation.ranking.seeds import uniform
from tests.curation.small_index import unit
from tests.examples import examples

VECTORS = unit(np.random.default_rng(3), 300, 24).astype(np.float32)


def blocks(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    concept = [np.sort(rng.choice(300, size, replace=False)) for size in sizes]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    seeds = rng.integers(0, 2**63, len(sizes)).astype(np.uint64)
    return offsets, np.concatenate([*concept, []]).astype(np.int32), seeds


@pytest.fixture(params=["table", "no table"])
def clusterer(request, monkeypatch) -> Clusterer:
    """With the table of all products, and without, as for large vocabularies."""
    if request.param == "no table":
        monkeypatch.setattr(clusters, "TABLE_BYTES", 0)
    return Clusterer(VECTORS)


def test_there_are_half_as_many_clusters_as_concepts_and_none_is_empty(clusterer):
    sizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 23, 24, 40, 150, 300]
    offsets, concept, seeds = blocks(sizes)
    labels = clusterer.cluster(offsets, concept, seeds)
    for i, size in enumerate(sizes):
        own = labels[offsets[i] : offsets[i + 1]]
        wanted = size if size <= 2 else (size + 1) // 2
        assert sorted(set(own.tolist())) == list(range(wanted))
        # numbered by first appearance
        assert [label for j, label in enumerate(own) if label not in own[:j]] == list(range(wanted))


@examples(40)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 99), st.randoms())
def test_an_archives_clusters_depend_on_it_alone(sizes, seed, random):
    clusterer = Clusterer(VECTORS)
    offsets, concept, seeds = blocks(sizes, seed)
    together = np.split(clusterer.cluster(offsets, concept, seeds), offsets[1:-1])
    order = list(range(len(sizes)))
    random.shuffle(order)
    parts = [concept[offsets[i] : offsets[i + 1]] for i in order]
    mixed_offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    mixed = clusterer.cluster(mixed_offsets, np.concatenate(parts), seeds[order])
    for place, i in enumerate(order):
        alone = clusterer.cluster(np.array([0, sizes[i]]), concept[offsets[i] : offsets[i + 1]], seeds[i : i + 1])
        np.testing.assert_array_equal(together[i], alone)
        np.testing.assert_array_equal(together[i], mixed[mixed_offsets[place] : mixed_offsets[place + 1]])


def test_memory_is_bounded_by_the_batch_and_changes_nothing(monkeypatch):
    offsets, concept, seeds = blocks([13] * 200)
    whole = Clusterer(VECTORS).cluster(offsets, concept, seeds)
    monkeypatch.setattr(clusters, "BATCH_BYTES", 1)
    np.testing.assert_array_equal(Clusterer(VECTORS).cluster(offsets, concept, seeds), whole)


@pytest.mark.parametrize("size", [5, 12, 25, 60])
def test_clusters_are_as_tight_as_scikit_learns(clusterer, size):
    offsets, concept, seeds = blocks([size] * 40, seed=size)
    labels = clusterer.cluster(offsets, concept, seeds)
    mine = theirs = 0.0
    for i in range(40):
        part = slice(offsets[i], offsets[i + 1])
        mine += oracle.inertia(VECTORS[concept[part]], labels[part].tolist())
        theirs += oracle.clusters(concept[part].tolist(), VECTORS, seed=i)[1]
    assert mine < 1.06 * theirs


def test_what_lies_apart_is_found_apart():
    """Six tight groups of two: k-means with six clusters has one good answer."""
    rng = np.random.default_rng(0)
    centres = np.eye(6, 24, dtype=np.float32)
    points = np.repeat(centres, 2, axis=0) + rng.standard_normal((12, 24)).astype(np.float32) * 0.01
    seeds = np.arange(50, dtype=np.uint64)
    labels = Clusterer(points).cluster(np.arange(51) * 12, np.tile(np.arange(12, dtype=np.int32), 50), seeds)
    right = (labels.reshape(50, 12) == np.repeat(np.arange(6), 2)).all(1)
    assert right.mean() > 0.9  # some seedings end in another local optimum


@examples(60)
@given(st.integers(3, 20), st.integers(1, 4), st.integers(0, 99))
def test_equal_points_still_fill_every_cluster(size, distinct, seed):
    rng = np.random.default_rng(seed)
    points = unit(rng, distinct, 8).astype(np.float32)[rng.integers(0, distinct, size)]
    labels = kmeans((points @ points.T)[None], np.array([size]), np.array([seed], np.uint64))[0]
    assert sorted(set(labels.tolist())) == list(range((size + 1) // 2))


def test_the_result_is_a_fixed_point_of_lloyds_iteration():
    offsets, concept, seeds = blocks([15] * 30, seed=8)
    labels = Clusterer(VECTORS).cluster(offsets, concept, seeds)
    for i in range(30):
        part = slice(offsets[i], offsets[i + 1])
        points, own = VECTORS[concept[part]].astype(np.float64), labels[part]
        means = np.stack([points[own == c].mean(0) for c in range(8)])
        distance = ((points[:, None] - means[None]) ** 2).sum(2)
        assert (distance[np.arange(15), own] <= distance.min(1) + 1e-5).all()


def test_uniform_draws_are_uniform_and_differ_by_seed_and_step():
    seeds = np.arange(2000, dtype=np.uint64)
    draws = np.stack([uniform(seeds, step) for step in range(5)])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(draws.std() - 12**-0.5) < 0.01
    assert np.abs(np.corrcoef(draws)[~np.eye(5, dtype=bool)]).max() < 0.08
    np.testing.assert_array_equal(uniform(seeds[:, None], np.arange(5)), draws.T)
