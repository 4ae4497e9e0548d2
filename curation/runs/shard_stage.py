"""A stage of work over shards, as `each_shard` does it and a trial tries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from curation.reading.pairs import Pair
from curation.reading.shards import Shard
from curation.runs.spread import Make, Work
from files.rejects import Reject


@dataclass(frozen=True)
class ShardStage:
    """One stage. name, unit: what its progress is called and counts.

    work: does a shard, tells of the pairs it is through with and of their part of its size, and gives the record of it
    to keep and the rejects. make: makes such a one in another process. For a trial (trial.py) pairs: reads those of a
    shard; or known: says how many it has.
    """

    name: str
    unit: str
    shards: Sequence[Shard]
    work: Work
    make: Make | None = None
    pairs: Callable[[Shard], Iterator[Pair | Reject]] | None = None
    known: Callable[[Shard], int] | None = None
