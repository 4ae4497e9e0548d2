"""Concept draws against the probabilities that the paper states, computed by enumeration."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import permutations, product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tests.examples import examples
from training.batches.concepts import MODES, ConceptArchive, draw, listed, parse_concepts

NAMES = ["grass", "sky", "dog", "ball", "tree", "park", "fence", "man"]
DRAWS = 30_000
# A right sampler fails one test in ten thousand.
LEAST_P = 1e-4


def archive(scores: Sequence[float], clusters: Sequence[int] | None, named: Sequence[bool] = ()) -> ConceptArchive:
    named = [*named, *[False] * (len(scores) - len(named))]
    return ConceptArchive(NAMES[: len(scores)], list(scores), named, None if clusters is None else list(clusters))


def softmax(values: Sequence[float], temperature: float) -> np.ndarray:
    e = np.exp(np.array(values) / temperature)
    return e / e.sum()


def stated(of: ConceptArchive, count: int, temperature: float) -> dict[frozenset[str], float]:
    """Probability of every set: clusters drawn one after the other without replacement, then one concept of each."""
    groups: dict[int, list[int]] = {}
    for i, cluster in enumerate(of.clusters or []):
        groups.setdefault(cluster, []).append(i)
    numbers = list(groups)
    means = [float(np.mean([of.scores[i] for i in groups[c]])) for c in numbers]
    first = dict(zip(numbers, softmax(means, temperature), strict=True))
    found: dict[frozenset[str], float] = {}
    for order in permutations(numbers, count):
        p, left = 1.0, 1.0
        for cluster in order:
            p *= first[cluster] / left
            left -= first[cluster]
        for members in product(*(groups[c] for c in order)):
            q = p
            for cluster, member in zip(order, members, strict=True):
                q *= softmax([of.scores[i] for i in groups[cluster]], temperature)[groups[cluster].index(member)]
            key = frozenset(of.names[i] for i in members)
            found[key] = found.get(key, 0.0) + q
    return found


def assert_follows(drawn: Counter[frozenset[str]], expected: dict[frozenset[str], float]) -> None:
    assert sum(expected.values()) == pytest.approx(1)
    assert set(drawn) <= set(expected)
    keys = sorted(expected, key=lambda k: expected[k], reverse=True)
    count = drawn.total()
    common = [k for k in keys if expected[k] * count >= 5]  # what the test can be trusted with
    rare = [k for k in keys if expected[k] * count < 5]
    seen = [drawn[k] for k in common] + [sum(drawn[k] for k in rare)] * bool(rare)
    due = [expected[k] * count for k in common] + [sum(expected[k] for k in rare) * count] * bool(rare)
    assert chisquare(seen, due).pvalue > LEAST_P


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize(
    ("scores", "clusters", "count"),
    [
        ([1.9, 1.7, 1.2, 0.9, 0.8, 0.3, 0.2, 0.1], [0, 1, 0, 2, 3, 1, 2, 0], 3),
        ([0.9, 0.6, 0.5, 0.1], [0, 1, 2, 3], 3),
        ([2.0, 1.0, 0.0, -1.0, -3.0], [0, 0, 0, 1, 1], 2),
        ([1.0, 0.5, 0.4], [0, 0, 1], 1),
    ],
)
def test_cluster_guided_draws_follow_the_paper(
    scores: list[float], clusters: list[int], count: int, temperature: float
) -> None:
    of, random = archive(scores, clusters), Random(7)
    drawn = Counter(frozenset(draw("curated-cluster", of, count, random, temperature)) for _ in range(DRAWS))
    assert_follows(drawn, stated(of, count, temperature))


def test_with_fewer_clusters_than_wanted_every_cluster_gives_one_before_any_gives_two() -> None:
    of, random = archive([1.0, 0.8, 0.5, 0.2], [0, 0, 0, 1]), Random(3)
    drawn = [draw("curated-cluster", of, 3, random) for _ in range(DRAWS)]
    assert all("ball" in names and len(set(names)) == 3 for names in drawn)
    # One of the three of cluster 0 in the first round, one of the two left in the second.
    expected: dict[frozenset[str], float] = {}
    for first, second in permutations(range(3), 2):
        p = softmax(of.scores[:3], 1)[first]
        rest = [i for i in range(3) if i != first]
        p *= softmax([of.scores[i] for i in rest], 1)[rest.index(second)]
        key = frozenset({"ball", NAMES[first], NAMES[second]})
        expected[key] = expected.get(key, 0.0) + p
    assert_follows(Counter(map(frozenset, drawn)), expected)


def test_the_baseline_draws_nouns_of_the_caption_uniformly() -> None:
    of, random = archive([5.0, 1, 1, 1, 0, 0], None, [True, False, True, True, False, True]), Random(5)
    drawn = Counter(frozenset(draw("caption", of, 2, random)) for _ in range(DRAWS))
    nouns = ["grass", "dog", "ball", "park"]
    assert_follows(drawn, {frozenset({a, b}): 1 / 6 for a in nouns for b in nouns if a < b})
    assert sorted(draw("caption", of, 9, random)) == sorted(nouns)


def test_the_released_way_takes_the_best() -> None:
    of = archive([3, 2, 1, 0], [0, 0, 0, 1])
    assert draw("curated-top", of, 3, Random(0)) == ["grass", "sky", "dog"]


@examples(200)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans()), max_size=8),
    st.integers(1, 5),
    st.sampled_from(MODES),
    st.floats(1e-3, 1e3),
    st.integers(0, 9),
)
def test_any_archive_gives_different_concepts_of_its_own(
    entries: list[tuple[float, int, bool]], count: int, mode: str, temperature: float, seed: int
) -> None:
    of = archive([e[0] for e in entries], [e[1] for e in entries], [e[2] for e in entries])
    drawn = draw(mode, of, count, Random(seed), temperature)
    able = sum(of.in_caption) if mode == "caption" else len(of)
    assert len(drawn) == len(set(drawn)) == min(count, able)
    assert set(drawn) <= set(of.names)
    assert drawn == draw(mode, of, count, Random(seed), temperature)
    if mode == "curated-cluster":
        cluster = dict(zip(of.names, of.clusters or [], strict=True))
        assert len({cluster[name] for name in drawn}) == min(count, len(set(cluster.values())))


def member(*concepts: dict[str, object], version: object = 1) -> bytes:
    return json.dumps({"version": version, "concepts": concepts}).encode()


GOOD = {"concept": "grass", "score": 0.5, "cluster": 0, "in_caption": False}


def test_a_good_member_is_read() -> None:
    read = parse_concepts(member(GOOD, GOOD | {"concept": "dog", "score": 0, "cluster": 1, "in_caption": True}))
    assert read == ConceptArchive(["grass", "dog"], [0.5, 0], [False, True], [0, 1])
    assert parse_concepts(member({k: v for k, v in GOOD.items() if k != "cluster"})).clusters is None
    empty = parse_concepts(member())
    assert [draw(mode, empty, 3, Random(0)) for mode in MODES] == [[], [], []]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "Expecting value"),
        (b"\x80abc", "decode"),
        (b"[]", "not as it should be"),
        (b"3", "not as it should be"),
        (b"[" * 100_000, "not as it should be"),
        (member(version=2), "version 2; this reads 1"),
        (b'{"version": 1}', "concepts"),
        (b'{"version": 1, "concepts": 7}', "not as it should be"),
        (member(GOOD | {"concept": None}), "no text"),
        (member(GOOD | {"concept": ""}), "no text"),
        (member(GOOD | {"score": "0.5"}), "no finite number"),
        (member(GOOD | {"score": True}), "no finite number"),
        (member(GOOD | {"score": float("nan")}), "no finite number"),
        (member(GOOD | {"score": -(10**400)}), "no finite number"),
        (member(GOOD | {"score": 1.7e308}), "no finite number below 1e"),
        (member().replace(b"[]", b'[{"concept": "dog", "score": ' + b"1" * 5000 + b"}]"), "limit"),
        (member(GOOD | {"cluster": 0.5}), "no whole number"),
        (member(GOOD, {"concept": "dog", "score": 0.1, "in_caption": True}), "cluster"),
    ],
)
def test_a_broken_member_is_refused_with_the_reason(data: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_concepts(data)


def test_clusters_are_needed_to_draw_by_them() -> None:
    with pytest.raises(ValueError, match="without clusters"):
        draw("curated-cluster", archive([1, 2, 3, 4], None), 3, Random(0))
    with pytest.raises(ValueError, match="curated-kluster"):
        draw("curated-kluster", archive([1], [0]), 3, Random(0))


def test_a_list_is_the_best_of_it_with_scores_that_are_made_weights() -> None:
    of = archive([1.7, 0.6, 0.004, -3.0], [0, 0, 1, 1], [False, True, False, True])
    assert listed("curated-cluster", of, 3) == [("grass", 1.0), ("sky", 0.6), ("dog", 0.01)]
    assert listed("curated-top", of, 9) == [("grass", 1.0), ("sky", 0.6), ("dog", 0.01), ("ball", 0.01)]
    assert listed("caption", of, 9) == [("sky", 0.6), ("ball", 0.01)]
    assert listed("caption", archive([0.5], None), 9) == []
