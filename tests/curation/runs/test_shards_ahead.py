"""Making ahead: all groups of each shard in order, the next begun early, whatever becomes of one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import active_count

import pytest

from curation.reading.shards import Shard
from curation.runs.shards_ahead import ShardsAhead
from files.errors import CocuError

SHARDS = [Shard(name, f"/data/{name}.tar", 1) for name in "abcd"]


class Made:
    """Three groups a shard; "b" breaks after one."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def __call__(self, shard: Shard, tally: list[int]) -> Iterator[str]:
        for number in range(3):
            self.begun.append(f"{shard.name}{number}")
            if (shard.name, number) == ("b", 1):
                raise CocuError("b: broken")
            tally.append(number)
            yield f"{shard.name}{number}"


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def ahead(made: Made) -> Iterator[ShardsAhead[str, list[int]]]:
    before = active_count()
    ahead: ShardsAhead[str, list[int]] = ShardsAhead(made, list)
    yield ahead
    ahead.close()
    assert active_count() == before


def wait_for(made: Made, group: str) -> None:
    end = time.monotonic() + 30
    while group not in made.begun and time.monotonic() < end:
        time.sleep(0.001)
    assert group in made.begun


def test_each_shard_has_its_groups_and_its_tally(ahead: ShardsAhead[str, list[int]]) -> None:
    for shard in (SHARDS[0], SHARDS[2], SHARDS[0], SHARDS[3]):  # some that nobody told of, and after others that were
        ahead.soon(SHARDS[2])
        with ahead.of(shard) as (tally, groups):
            assert list(groups) == [f"{shard.name}{number}" for number in range(3)]
        assert tally == [0, 1, 2]
        assert isinstance(tally, list)


def test_the_next_one_is_begun_while_the_last_groups_are_worked_at(
    ahead: ShardsAhead[str, list[int]], made: Made
) -> None:
    for shard in (SHARDS[0], SHARDS[2], SHARDS[3]):
        ahead.soon(shard)
    with ahead.of(SHARDS[0]) as (_, groups):
        assert [next(groups), next(groups)] == ["a0", "a1"]
        wait_for(made, "c1")  # of which nothing is taken: one waits, and one is made
        time.sleep(0.05)
        assert made.begun == ["a0", "a1", "a2", "c0", "c1"]
        assert list(groups) == ["a2"]


def test_one_that_breaks_or_is_given_up_costs_no_other(ahead: ShardsAhead[str, list[int]], made: Made) -> None:
    for shard in SHARDS:
        ahead.soon(shard)
    with ahead.of(SHARDS[0]) as (_, groups):
        assert next(groups) == "a0"
    with ahead.of(SHARDS[1]) as (_, groups):
        assert next(groups) == "b0"
        with pytest.raises(CocuError, match="b: broken"):
            next(groups)
    for shard in SHARDS[2:]:
        with ahead.of(shard) as (_, groups):
            assert list(groups) == [f"{shard.name}{number}" for number in range(3)]


def test_it_ends_in_the_middle(ahead: ShardsAhead[str, list[int]], made: Made) -> None:
    ahead.soon(SHARDS[0])
    wait_for(made, "a1")
