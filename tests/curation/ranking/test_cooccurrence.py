"""What captions name together, against plain counts over captions and over pairs of captions of one picture."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.ranking import cooccurrence
from curation.ranking.cooccurrence import (
    ALSO_CALLED,
    BEYOND_CHANCE,
    LEAST_TOGETHER,
    MOST_NAMED,
    also_called,
    named_together,
)
from tests.curation.small_index import rows_of
from tests.examples import examples

CONCEPTS = 6


captions = st.lists(st.sets(st.integers(0, CONCEPTS - 1)), min_size=1, max_size=30)


@pytest.fixture(autouse=True, params=[None, 3])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(cooccurrence, "_ROWS", request.param)
        monkeypatch.setattr(cooccurrence, "_PAIRS", 4)


@given(captions, st.integers(1, 3))
@examples(150)
def test_pairs_named_together_are_those_of_plain_counts(named: list[set[int]], modulus: int) -> None:
    found = named_together(rows_of(named), CONCEPTS, lambda a, b: (a + b) % modulus == 0)
    one, other = (np.array(ids) for ids in zip(*itertools.product(range(CONCEPTS), repeat=2), strict=True))
    for a, b, held in zip(one.tolist(), other.tolist(), found.holds(one, other).tolist(), strict=True):
        both = sum(a in ids and b in ids for ids in named)
        chance = sum(a in ids for ids in named) * sum(b in ids for ids in named) / len(named)
        together = a != b and both >= LEAST_TOGETHER and both > BEYOND_CHANCE * chance
        assert held == (together and (a + b) % modulus == 0)


def test_a_pile_of_words_tells_nothing_of_two_of_them() -> None:
    pile = set(range(MOST_NAMED + 1))
    found = named_together(rows_of([pile, pile, {1, 2}, {1, 2}, *[{5}] * 9]), MOST_NAMED + 1, lambda a, b: a == a)
    assert found.keys.tolist() == [1 * (MOST_NAMED + 1) + 2]


@given(st.lists(st.tuples(st.sets(st.integers(0, CONCEPTS - 1)), st.integers(0, 4)), min_size=1, max_size=30))
@examples(150)
def test_what_is_also_called_its_tail_is_that_of_plain_counts(captions: list[tuple[set[int], int]]) -> None:
    rows = rows_of([ids for ids, _ in captions], [picture for _, picture in captions])
    pairs = [(4, 1), (0, 1), (0, 3), (5, 0)]  # a phrase of two tails, a tail of two phrases, and one that is both
    found = also_called(rows, *np.array(pairs).T)
    for (phrase, tail), used in zip(pairs, found.tolist(), strict=True):
        again = otherwise = 0
        for (i, (one, picture)), (j, (other, same)) in itertools.product(enumerate(captions), repeat=2):
            if i != j and picture == same != 0 and phrase in one:
                again += phrase in other
                otherwise += tail in other and phrase not in other
        assert used == (otherwise >= LEAST_TOGETHER and otherwise >= ALSO_CALLED * again)


def test_of_very_many_pictures_some_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "MOST_PICTURES", 2)
    both_ways = [{0}, {1}]
    rows = rows_of(both_ways * 5, [5, 5, 1, 1, 2, 2, 3, 3, 4, 4])
    assert also_called(rows, np.array([0]), np.array([1])).all()
    strangers = rows_of(both_ways * 2 + [{0}, {2}] * 3, [7, 7, 8, 8, 1, 1, 2, 2, 3, 3])
    assert not also_called(strangers, np.array([0]), np.array([1])).any()
