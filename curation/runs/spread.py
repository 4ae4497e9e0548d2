"""Shards over processes: who drives holds the queue and alone commits; a shard whose worker died is handed to another.

A worker asks for a shard when it is ready for one, so that a slow or late one holds up nobody; it keeps nothing of its
own, and what it wrote of a shard when it died is written over.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from curation.reading.shards import Shard
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from files.saying import say
from files.workers import begin

Done = tuple[Mapping[str, Any], Sequence[Reject]]
Advance = Callable[[int, float], None]
# What does a shard, telling of the pairs it is through with; and what makes one, in the process that it is for.
Work = Callable[[Shard, Advance], Done]
Make = Callable[[], AbstractContextManager[Work]]

ATTEMPTS = 3  # of a shard whose workers die


def spread(
    shards: Sequence[Shard], make: Make, processes: int, advance: Advance
) -> Iterator[tuple[Shard, Done | CocuError]]:
    """Each shard with what `work` gives, or why it cannot be had, as they are done, by so many processes.

    make: can be pickled. Raises what `make` raises in a process, and CocuError where none can be begun.
    """
    queue = deque(shards)
    attempts = dict.fromkeys((shard.name for shard in shards), 0)
    makings = pickle.dumps(make)
    team: dict[Connection, tuple[BaseProcess, Shard | None]] = {}
    leaving: list[BaseProcess] = []

    def hire() -> None:
        end, other = get_context("spawn").Pipe()
        team[end] = begin(_serve, other, makings), None
        other.close()

    try:
        for _ in range(min(processes, len(shards))):
            hire()
        while team:
            for end in wait(list(team)):
                assert isinstance(end, Connection)
                process, shard = team[end]
                try:
                    kind, told = end.recv()
                except (EOFError, OSError):  # it is dead
                    del team[end]
                    process.join()
                    if shard is None:
                        raise CocuError(
                            "a worker process died before its first shard, maybe for want of memory; run the same "
                            "command again, with fewer --processes"
                        ) from None
                    attempts[shard.name] += 1
                    if attempts[shard.name] < ATTEMPTS:
                        say(f"a worker process died at {shard.url}; another one does it")
                        queue.appendleft(shard)
                    else:
                        yield shard, CocuError(f"{shard.url}: {ATTEMPTS} worker processes died at it")
                    if queue:
                        hire()
                    continue
                if kind == "advance":
                    advance(*told)
                    continue
                if kind == "broken":
                    raise told
                if kind == "done":
                    assert shard is not None
                    yield shard, told
                next_one = queue.popleft() if queue else None
                if next_one is None:
                    del team[end]
                    end.close()  # it ends when it hears that
                    leaving.append(process)
                else:
                    team[end] = process, next_one
                    end.send(next_one)
        for process in leaving:
            process.join()
    finally:
        for process in (*leaving, *(process for process, _ in team.values())):
            process.kill()
            process.join()
        for end in team:
            end.close()


def share_of_threads(processes: int) -> None:
    """In one of so many processes: no more threads for arrays than its share of what one alone would take."""
    import faiss
    import torch

    threads = max(1, torch.get_num_threads() // processes)
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)


def _serve(driver: Connection, makings: bytes) -> None:
    try:
        with pickle.loads(makings)() as work:
            driver.send(("ready", None))
            while True:
                shard = driver.recv()
                try:
                    told = work(shard, lambda pairs, weight=0.0: driver.send(("advance", (pairs, weight))))
                except MisuseError:
                    raise
                except CocuError as error:
                    told = error
                driver.send(("done", told))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        try:
            driver.send(("broken", error))
        except (pickle.PicklingError, TypeError, AttributeError):
            driver.send(("broken", RuntimeError(f"{type(error).__name__}: {error}")))
