"""Shards over workers: who drives holds the queue and alone commits; a shard whose worker died is handed to another.

A worker is given a shard when it is ready for one, so that a slow or late one holds up nobody; it keeps nothing of its
own, and what it wrote of a shard when it died is written over. Workers are processes of this machine
(local_workers.py), or of those of a Ray cluster (ray_workers.py).
"""

from __future__ import annotations

import os
import pickle
from collections import Counter, deque
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
# What does a shard, telling of the pairs it is through with.
Work = Callable[[Shard, Advance], Done]
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
        """In the worker: no more threads for arrays than its share of what one alone would take."""
        import faiss
        import torch

        threads = max(1, torch.get_num_threads() // self.processes)
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)


# What makes a `Work`, in the process that it is for.
Make = Callable[[Seat], AbstractContextManager[Work]]


class Workers(Protocol):
    """Workers, each of a name, that have begun to make their `Work`."""

    @property
    def count(self) -> int:
        """How many live, or are on their way."""

    def told(self) -> Sequence[tuple[str, str, Any]]:
        """What workers tell, (name, kind, what), once some do; none after a while in which none did.

        "ready" for a shard; "advance": the arguments of `Advance`; "done": what was made of the shard, or its
        CocuError; "broken": the exception that ended it; "dead": why.
        """

    def give(self, name: str, shard: Shard) -> None:
        """A shard for one that is ready, or done with another; one that is dead tells so."""

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
    busy: dict[str, Shard] = {}
    idle: list[str] = []
    left = len(shards)
    why: CocuError | None = None
    with gather(pickle.dumps(make), left) as workers:
        while left:
            outcomes: list[tuple[Shard, Done | CocuError]] = []
            for worker, kind, told in workers.told():
                if kind == "advance":
                    advance(*told)
                    continue
                shard = busy.pop(worker, None)
                if kind == "broken":
                    if shard is not None or not isinstance(told, CocuError) or isinstance(told, MisuseError):
                        raise told
                    why = told
                    say(f"{worker} is left out: {told}")
                elif kind != "dead":
                    idle.append(worker)
                    if shard is not None:
                        outcomes.append((shard, told))
                        if isinstance(told, CocuError):
                            failed(shard, worker, str(told))
                elif shard is None:
                    idle = [name for name in idle if name != worker]
                    say(f"{worker} is gone, before it had a shard: {told}")
                else:
                    failed(shard, worker, f"the worker is gone: {told}")
                    attempts[shard.name] += 1
                    if attempts[shard.name] < ATTEMPTS:
                        say(f"{worker} is gone: {told}; another one does {shard.url}")
                        queue.appendleft(shard)
                    else:
                        lost = CocuError(f"{shard.url}: {ATTEMPTS} worker processes died at it; the last: {told}")
                        outcomes.append((shard, lost))
                    workers.replace(worker)
            while queue and idle:
                worker = idle.pop(0)
                busy[worker] = queue.popleft()
                workers.give(worker, busy[worker])
            for outcome in outcomes:
                left -= 1
                yield outcome
            if left and not workers.count:
                raise why or CocuError(
                    "no worker process is left: they died, maybe for want of memory; run the same command again, with "
                    "fewer --processes"
                )


def cores() -> int:
    """Of this process's machine, those that it may use."""
    return len(os.sched_getaffinity(0))
