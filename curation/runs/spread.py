"""Shards over workers: who drives holds the queue and alone commits; a shard whose worker died is handed to another.

A worker is given a shard when it is ready for one, so that a slow or late one holds up nobody; it keeps nothing of its
own, and what it wrote of a shard when it died is written over. Workers are processes of this machine
(local_workers.py), or of those of a Ray cluster (ray_workers.py).
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from curation.reading.shards import Shard
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from files.saying import say

Done = tuple[Mapping[str, Any], Sequence[Reject]]
Advance = Callable[[int, float], None]


class Work(Protocol):
    """What does a shard, telling of the pairs it is through with.

    It may have a method `soon`, told of each shard as it comes, in the order of the work, maybe by another thread: then
    the next one comes while one is worked at.
    """

    def __call__(self, shard: Shard, advance: Advance, /) -> Done:
        """Its record, and rejects. Raises CocuError where it cannot be had."""


# Told of each attempt that failed: the shard, the worker's name, and why.
Failed = Callable[[Shard, str, str], None]

ATTEMPTS = 3  # of a shard whose workers die


@dataclass(frozen=True)
class Seat:
    """Where a worker is: one of so many on a machine of so many cores."""

    processes: int
    cores: int

    def share(self, workers: int | None) -> int:
        """Its share of so many threads or processes, or of one for each core."""
        return max(1, (workers or self.cores) // self.processes)

    def share_of_threads(self) -> None:
        """In the worker: no more threads for arrays than its share of what one alone would take.

        PyTorch, which takes a second to load, is told of them when it is loaded, if it is.
        """
        import faiss

        threads = max(1, faiss.omp_get_max_threads() // self.processes)
        faiss.omp_set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(max(1, torch.get_num_threads() // self.processes))


# What makes a `Work`, in the process that it is for.
Make = Callable[[Seat], AbstractContextManager[Work]]


class Workers(Protocol):
    """Workers, each of a name, that have begun to make their `Work`."""

    @property
    def count(self) -> int:
        """How many live, or are on their way."""

    def told(self) -> Sequence[tuple[str, str, Any]]:
        """What workers tell, (name, kind, what), once some do; none after a while in which none did.

        "ready" for one shard more; "advance": the arguments of `Advance`; "done": a shard's name, and what was made of
        it, or its CocuError; "broken": the exception that ended it; "dead": why.
        """

    def give(self, name: str, shard: Shard) -> None:
        """A shard for one that is ready; one that is dead tells so."""

    def replace(self, name: str) -> None:
        """Have another one in the place of one that is dead, if the place is still there."""


# Begins workers for so many shards, of a pickled `Make`; they end with the block.
Gather = Callable[[bytes, int], AbstractContextManager[Workers]]


def spread(
    shards: Sequence[Shard],
    make: Make,
    gather: Gather,
    advance: Advance,
    failed: Failed = lambda shard, worker, error: None,
) -> Generator[tuple[Shard, Done | CocuError], None, None]:
    """Each shard with what `work` gives, or why it cannot be had, as they are done.

    make: can be pickled. Raises what `make` or `work` raises in a worker, but for a CocuError of `make`, which costs
    that worker alone, and CocuError when no worker is left.
    """
    if not shards:
        return
    queue = deque(shards)
    attempts: Counter[str] = Counter()
    busy: dict[str, dict[str, Shard]] = defaultdict(dict)  # of each worker, the shards that it has, by their names
    idle: list[str] = []
    left = len(shards)
    counted: dict[str, float] = defaultdict(float)  # of each worker, what it has told of the weight of its shard
    why: CocuError | None = None
    with gather(pickle.dumps(make), left) as workers:
        while left:
            outcomes: list[tuple[Shard, Done | CocuError]] = []
            for worker, kind, told in workers.told():
                if kind == "advance":
                    pairs, weight = told
                    counted[worker] += weight
                    advance(pairs, weight)
                elif kind == "ready":
                    idle.append(worker)
                elif kind == "done":
                    name, outcome = told
                    outcomes.append((busy[worker].pop(name), outcome))
                    advance(0, outcomes[-1][0].size - counted.pop(worker, 0.0))  # weights are estimates
                    if isinstance(outcome, CocuError):
                        failed(outcomes[-1][0], worker, str(outcome))
                else:
                    advance(0, -counted.pop(worker, 0.0))
                    has = list(busy.pop(worker, {}).values())
                    idle = [name for name in idle if name != worker]
                    if kind == "broken":
                        if has or not isinstance(told, CocuError) or isinstance(told, MisuseError):
                            raise told
                        why = told
                        say(f"{worker} is left out: {told}")
                        continue
                    if not has:
                        say(f"{worker} is gone, before it had a shard: {told}")
                        continue
                    queue.extendleft(reversed(has[1:]))  # it had not begun them
                    shard = has[0]
                    failed(shard, worker, f"the worker is gone: {told}")
                    attempts[shard.name] += 1
                    if attempts[shard.name] < ATTEMPTS:
                        say(f"{worker} is gone: {told}; another one does {shard.url}")
                        queue.appendleft(shard)
                    else:
                        lost = CocuError(f"{shard.url}: {ATTEMPTS} worker processes died at it; the last: {told}")
                        outcomes.append((shard, lost))
                        advance(0, shard.size)
                    workers.replace(worker)
            for worker in list(idle):
                # One more than it is at only where there is one for each.
                if queue and (not busy[worker] or len(queue) >= workers.count):
                    idle.remove(worker)
                    shard = queue.popleft()
                    busy[worker][shard.name] = shard
                    workers.give(worker, shard)
            for outcome in outcomes:
                left -= 1
                yield outcome
            if left and not workers.count:
                raise why or CocuError(
                    "no worker process is left: they died, maybe for want of memory; run the same command again, with "
                    "fewer --processes"
                )
