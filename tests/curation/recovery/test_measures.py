"""Figures of a ranking, against the same figures written as plain loops."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from curation.recovery.measures import PairCounts, count_pairs, count_shuffled, most_frequent, score_ranked, summarise

KS = (1, 2, 3, 8)


@dataclass(frozen=True)
class World:
    """archives: per pair its concepts, best first, each with whether the caption names it."""

    archives: list[list[tuple[int, bool]]]
    names_object: list[int]
    present: np.ndarray
    large: np.ndarray
    gaps: np.ndarray
    captioned: np.ndarray

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        flat = [(p, c, own) for p, archive in enumerate(self.archives) for c, own in archive]
        pair, concept, own = (np.array(column) for column in zip(*flat, strict=True)) if flat else (
            np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool),
        )  # fmt: skip
        return pair, concept, ~own.astype(bool)

    def truth(self) -> dict[str, Any]:
        return {
            "names_object": np.array(self.names_object),
            "gaps": self.gaps,
            "present": self.present,
            "present_strict": self.large,
            "captioned": self.captioned,
        }


@st.composite
def worlds(draw: st.DrawFn) -> World:
    n_pairs, n_objects = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    n_concepts = draw(st.integers(1, 14))

    def mask() -> np.ndarray:
        cells = st.lists(st.booleans(), min_size=n_objects, max_size=n_objects)
        return np.array(draw(st.lists(cells, min_size=n_pairs, max_size=n_pairs)))

    archive = st.lists(st.tuples(st.integers(0, n_concepts - 1), st.booleans()), unique_by=lambda row: row[0])
    present = mask()
    large, captioned = present & mask(), mask()
    return World(
        archives=draw(st.lists(archive, min_size=n_pairs, max_size=n_pairs)),
        names_object=draw(st.lists(st.integers(-1, n_objects - 1), min_size=n_concepts, max_size=n_concepts)),
        present=present,
        large=large,
        gaps=large & ~captioned,
        captioned=captioned,
    )


def plain_figures(world: World, ks: tuple[int, ...] = KS) -> dict[str, Any]:
    """The oracle: one pair after another, one concept after another."""
    figures: dict[str, Any] = {}
    found, gaps = dict.fromkeys(ks, 0), 0
    named, right, large, new, right_new = (dict.fromkeys(ks, 0) for _ in range(5))
    precisions: list[float] = []
    for p, archive in enumerate(world.archives):
        recovered = [world.names_object[c] for c, own in archive if not own]
        wanted = {o for o in range(world.gaps.shape[1]) if world.gaps[p, o]}
        gaps += len(wanted)
        for k in ks:
            found[k] += len(wanted & set(recovered[:k]))
            for o in recovered[:k]:
                if o >= 0:
                    named[k] += 1
                    right[k] += bool(world.present[p, o])
                    large[k] += bool(world.large[p, o])
                    if not world.captioned[p, o]:
                        new[k] += 1
                        right_new[k] += bool(world.present[p, o])
        if wanted:
            ranked = list(dict.fromkeys(o for o in recovered if o >= 0))
            total = 0.0
            for place, o in enumerate(ranked, 1):
                if o in wanted:
                    total += len(wanted & set(ranked[:place])) / place
            precisions.append(total / len(wanted))
    ratio = lambda a, b: a / b if b else math.nan  # noqa: E731
    figures["recall"] = [ratio(found[k], gaps) for k in ks]
    figures["precision"] = [ratio(right[k], named[k]) for k in ks]
    figures["precision_new"] = [ratio(right_new[k], new[k]) for k in ks]
    figures["precision_strict"] = [ratio(large[k], named[k]) for k in ks]
    figures["map"] = ratio(sum(precisions), len(precisions))
    figures["gaps"] = (gaps, len(precisions))
    return figures


@given(worlds(), st.randoms(use_true_random=False))
def test_figures_equal_plain_loops(world: World, random: Any) -> None:
    pair, concept, recovered = world.rows()
    # Pairs may be interleaved as long as the rows of each stay in order.
    slots = pair.tolist()
    random.shuffle(slots)
    order = np.argsort(np.argsort(slots, kind="stable"), kind="stable")
    mixed = [column[order] for column in (pair, concept, recovered)]
    scores = score_ranked(mixed[0], mixed[1], recovered=mixed[2], ks=KS, resamples=10, **world.truth())
    plain = plain_figures(world)
    for name in ("precision_new", "recall", "precision", "precision_strict"):
        assert [f.value for f in getattr(scores, name)] == pytest.approx(plain[name], nan_ok=True)
    assert scores.mean_average_precision.value == pytest.approx(plain["map"], nan_ok=True)
    assert (scores.gaps, scores.pairs_with_gaps) == plain["gaps"]
    assert scores.pairs == len(world.archives)


@given(worlds())
def test_objects_equal_plain_loops(world: World) -> None:
    pair, concept, recovered = world.rows()
    counts = count_pairs(pair, concept, recovered=recovered, **world.truth())
    for o in range(world.gaps.shape[1]):
        best = [o in [world.names_object[c] for c, own in archive if not own][:8] for archive in world.archives]
        assert counts.object_gaps[o] == world.gaps[:, o].sum()
        assert counts.object_recovered[o] == sum(best & world.gaps[:, o])
        assert counts.object_false_alarms[o] == sum(best & ~world.present[:, o])


@given(worlds())
def test_average_precision_agrees_with_scikit_learn(world: World) -> None:
    pair, concept, recovered = world.rows()
    counts = count_pairs(pair, concept, recovered=recovered, **world.truth())
    for p, archive in enumerate(world.archives):
        objects = (world.names_object[c] for c, own in archive if not own)
        ranked = list(dict.fromkeys(o for o in objects if o >= 0))
        relevant = [bool(world.gaps[p, o]) for o in ranked]
        if not any(relevant):
            assert counts.average_precision[p] == 0
            continue
        theirs = average_precision_score(relevant, -np.arange(len(ranked)))
        # scikit-learn divides by the relevant ones in the ranking, we by all there are
        expected = theirs * sum(relevant) / world.gaps[p].sum()
        assert counts.average_precision[p] == pytest.approx(expected)


def test_a_case_by_hand() -> None:
    # objects: 0 person, 1 dog, 2 ball. Concepts: 0 man, 1 boy, 2 puppy, 3 ball, 4 grass.
    scores = score_ranked(
        np.zeros(5, int),
        np.array([4, 0, 2, 1, 3]),  # grass, man (in the caption), puppy, boy, ball
        recovered=np.array([True, False, True, True, True]),
        names_object=np.array([0, 0, 1, 2, -1]),
        gaps=np.array([[False, True, True]]),
        present=np.array([[True, True, True]]),
        present_strict=np.array([[False, True, True]]),
        captioned=np.array([[True, False, False]]),
        ks=(1, 2, 3, 4),
    )
    assert [f.value for f in scores.recall] == [0, 0.5, 0.5, 1]
    assert [f.value for f in scores.precision][1:] == [1, 1, 1]
    assert math.isnan(scores.precision[0].value)  # grass names no object
    assert [f.value for f in scores.precision_strict][1:] == [1, 0.5, pytest.approx(2 / 3)]
    assert [f.value for f in scores.precision_new][1:] == [1, 1, 1]  # the boy is no news
    # objects in order: dog (a gap), person (not), ball (a gap)
    assert scores.mean_average_precision.value == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert scores.object_k == 4


def test_no_pair_and_no_gap_give_no_figure_and_no_warning() -> None:
    for n_pairs in (0, 3):
        none = np.zeros((n_pairs, 2), dtype=bool)
        empty = np.zeros(0, dtype=int)
        with np.errstate(all="raise"):
            scores = score_ranked(empty, empty, names_object=np.array([0, 1]), gaps=none, present=none)
        assert all(math.isnan(f.value) and math.isnan(f.low) for f in scores.recall)
        assert math.isnan(scores.mean_average_precision.high)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ks": (0, 1)},
        {"ks": ()},
        {"present": np.zeros((2, 1), bool)},
        {"captioned": np.zeros((2, 1), bool)},
        {"recovered": np.zeros(4, bool)},
        {"concept": np.zeros(4, int)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    good = {
        "pair": np.zeros(3, int),
        "concept": np.zeros(3, int),
        "names_object": np.zeros(1, int),
        "gaps": np.zeros((1, 1), bool),
        "present": np.zeros((1, 1), bool),
    }
    with pytest.raises(ValueError, match=r"\w"):
        score_ranked(**(good | wrong))


def _coins(n_pairs: int, share: float) -> PairCounts:
    """Each pair has one gap, recovered in the first `share` of them."""
    hit = np.arange(n_pairs) < share * n_pairs
    return count_pairs(
        np.arange(n_pairs),
        np.where(hit, 0, 1),
        names_object=np.array([0, -1]),
        gaps=np.ones((n_pairs, 1), bool),
        present=np.ones((n_pairs, 1), bool),
        ks=(1,),
    )


def test_interval_has_the_width_of_the_binomial() -> None:
    n, share = 400, 0.3
    figure = summarise([_coins(n, share)])[0].recall[0]
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    assert figure.value == pytest.approx(share)
    assert figure.low == pytest.approx(share - half, abs=0.1 * half)
    assert figure.high == pytest.approx(share + half, abs=0.1 * half)


def test_interval_is_a_point_where_all_pairs_agree_and_repeats_with_its_seed() -> None:
    same = summarise([_coins(50, 1.0)])[0].recall[0]
    assert (same.value, same.low, same.high) == (1, 1, 1)
    once, again, other = (summarise([_coins(997, 0.5)], seed=s)[0].recall[0] for s in (1, 1, 2))
    assert once == again
    assert once != other


def test_rankings_summarised_together_or_alone_have_equal_figures() -> None:
    a, b = _coins(60, 0.2), _coins(60, 0.7)
    together, alone = summarise([a, b]), [summarise([a])[0], summarise([b])[0]]
    for one, other in zip(together, alone, strict=True):
        assert one.recall == other.recall
        assert one.precision == other.precision


def test_random_order_tends_to_its_expectation() -> None:
    n_pairs, n_objects, shuffles, k = 400, 4, 100, 3
    rng = np.random.default_rng(5)
    names_object = rng.integers(-1, n_objects, 30)
    archives = [rng.permutation(30)[: rng.integers(0, 12)] for _ in range(n_pairs)]
    present = rng.random((n_pairs, n_objects)) < 0.5
    gaps = present & (rng.random(present.shape) < 0.5)
    pair = np.repeat(np.arange(n_pairs), [len(archive) for archive in archives])
    truth = {"names_object": names_object, "gaps": gaps, "present": present}
    counts = count_shuffled(pair, np.concatenate(archives), shuffles=shuffles, ks=(k, 99), **truth)
    found = right = 0.0
    for p, archive in enumerate(archives):
        objects, drawn = names_object[archive].tolist(), min(k, len(archive))
        for o in np.flatnonzero(gaps[p]):
            found += 1 - comb(len(objects) - objects.count(o), drawn) / comb(len(objects), drawn)
        right += sum(present[p, o] for o in objects if o >= 0) * drawn / max(len(objects), 1)
    # A pair gives 0 to k, so its variance is at most (k/2)^2; five deviations of the mean.
    tolerance = 5 * (k / 2) * math.sqrt(n_pairs / shuffles)
    assert tolerance < 0.2 * found
    assert counts.found[:, 0].sum() == pytest.approx(found, abs=tolerance)
    assert counts.right[:, 0].sum() == pytest.approx(right, abs=tolerance)


@given(worlds())
def test_random_order_of_the_whole_archive_is_the_archive(world: World) -> None:
    pair, concept, recovered = world.rows()
    arguments = {"recovered": recovered, "ks": (100,), **world.truth()}
    shuffled = count_shuffled(pair, concept, shuffles=3, **arguments)
    whole = count_pairs(pair, concept, **arguments)
    np.testing.assert_allclose(shuffled.found, whole.found)
    np.testing.assert_allclose(shuffled.right, whole.right)


@given(worlds(), st.data())
def test_most_frequent_equals_plain_loops(world: World, data: st.DataObject) -> None:
    n = len(world.names_object)
    counts = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    n_pairs = len(world.archives)
    depths = data.draw(st.lists(st.integers(0, n + 2), min_size=n_pairs, max_size=n_pairs))
    pair, concept, recovered = world.rows()
    got = most_frequent(np.array(counts), pair[~recovered], concept[~recovered], np.array(depths))
    by_count = sorted(range(n), key=lambda c: (-counts[c], c))
    wanted = []
    for p, archive in enumerate(world.archives):
        own = {c for c, named in archive if named}
        wanted += [(p, c) for c in by_count if c not in own][: depths[p]]
    assert list(zip(*map(np.ndarray.tolist, got), strict=True)) == wanted


def test_a_million_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    n_pairs, depth, n_objects = 60_000, 17, 80
    pair = np.repeat(np.arange(n_pairs), depth)
    present = rng.random((n_pairs, n_objects)) < 0.04
    start = time.process_time()
    score_ranked(
        pair,
        rng.integers(0, 5_000, len(pair)),
        recovered=rng.random(len(pair)) < 0.9,
        names_object=rng.integers(-1, n_objects, 5_000),
        gaps=present & (rng.random(present.shape) < 0.5),
        present=present,
        resamples=200,
    )
    # CPU time of all threads; far above what it takes, for slow machines
    assert time.process_time() - start < 15
