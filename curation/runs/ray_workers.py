"""Workers that are actors of a Ray cluster, whose machines share the folders with this one, and have cocu installed.
Remote folders they share by their address.

Ray begins them and brings messages; it repeats nothing. As many as are asked for are begun on each machine that is in
the cluster, or joins it.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from curation.reading.shards import Shard
from curation.runs.local_workers import sendable
from curation.runs.spread import Done, Seat, Work
from files.errors import CocuError, MisuseError
from files.ray_cluster import joined, machines, only_on, why_dead
from files.remote_folders import RemoteCopy, all_copies, copies_here
from files.saying import say

LOOK = 1.0  # seconds between looks at who is in the cluster
LATE = 60.0  # seconds in which workers may begin without a word
Usual = Callable[[int, float], int]  # processes on a machine of so many cores and bytes of memory
MOST_DEATHS = 3  # in a row of workers at one place, none of which did a shard: no other is begun there


class Hand:
    """In the process of a worker: makes its `Work`, and does shards one by one, all in one thread."""

    def __init__(self, folder: str) -> None:
        self._folder, self._held = folder, ExitStack()
        self._work: Work | None = None
        self._soon: Callable[[Shard], None] | None = None
        self._thread, self._turn = ThreadPoolExecutor(1), Lock()

    def make(self, makings: bytes, seat: Seat, copies: tuple[RemoteCopy, ...] = ()) -> tuple[str, Any]:
        """What is told when it is ready, and for how many shards at a time. copies: the driver's, of remote folders."""
        return self._thread.submit(self._make, makings, seat, copies).result()

    def _make(self, makings: bytes, seat: Seat, copies: tuple[RemoteCopy, ...]) -> tuple[str, Any]:
        try:
            self._held.enter_context(copies_here(copies))
            if not Path(self._folder).is_dir():
                raise CocuError(f"{self._folder}: is not there; machines of an engine must share it, by this name")
            os.chdir(self._folder)  # names of files may be relative
            self._work = self._held.enter_context(pickle.loads(makings)(seat))
        except Exception as error:
            return "broken", sendable(error)
        self._soon = getattr(self._work, "soon", None)
        return "ready", 2 if self._soon else 1

    def do(self, shard: Shard) -> tuple[str, Any, tuple[int, float]]:
        """What is told of a shard, and of the pairs that it is through with."""
        with self._turn:
            if self._soon:
                self._soon(shard)
            found = self._thread.submit(self._do, shard)
        return found.result()

    def _do(self, shard: Shard) -> tuple[str, Any, tuple[int, float]]:
        assert self._work is not None
        pairs, weight = 0, 0.0

        def advance(more: int, size: float = 0.0) -> None:
            nonlocal pairs, weight
            pairs, weight = pairs + more, weight + size

        found: Done | CocuError
        try:
            found = self._work(shard, advance)
        except MisuseError as error:
            return "broken", error, (pairs, weight)
        except CocuError as error:
            found = error
        except Exception as error:
            return "broken", sendable(error), (pairs, weight)
        return "done", (shard.name, found), (pairs, weight)


@contextmanager
def ray_workers(
    address: str | None,
    device: str,
    processes: int | None,
    gpus: int | None,
    makings: bytes,
    shards: int,
    usual: Usual = lambda cores, memory: 1,
) -> Iterator[RayWorkers]:
    """Workers on all machines of the cluster: on each so many processes, or one a GPU, or as usual for its size."""
    with joined(address) as ray:
        workers = RayWorkers(ray, device == "cuda", processes, gpus, makings, usual)
        try:
            yield workers
        finally:
            workers.end()


class RayWorkers:
    """`Workers` (spread.py)."""

    def __init__(
        self, ray: Any, on_gpus: bool, processes: int | None, gpus: int | None, makings: bytes, usual: Usual
    ) -> None:
        self._ray, self._on_gpus, self._processes, self._gpus, self._usual = ray, on_gpus, processes, gpus, usual
        self._makings = ray.put(makings)
        self._hand = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2)(Hand)
        # Of each worker: the machine, how many are there, and how many GPUs they have.
        self._places: dict[str, tuple[dict[str, Any], int, int]] = {}
        self._actors: dict[str, Any] = {}
        self._asked: dict[Any, str] = {}  # what is not answered yet, of whom
        self._machines: set[str] = set()
        self._deaths: dict[str, int] = {}
        self._looked, self._waits, self._silent_since = 0.0, False, time.monotonic()
        self._look()

    @property
    def count(self) -> int:
        """How many live, or are on their way; one that is waited for, where none of the machines of before is there."""
        return len(self._actors) or int(not self._machines.intersection(one["NodeID"] for one in self._alive()))

    def told(self) -> Sequence[tuple[str, str, Any]]:
        """What they tell, once some do, or after a while nothing."""
        self._look()
        if not self._asked:
            self._wait_for_machines()
        ready, _ = self._ray.wait(list(self._asked), timeout=LOOK) if self._asked else ([], [])
        self._tell_of_late_ones(bool(ready))
        found: list[tuple[str, str, Any]] = []
        for answer in ready:
            name = self._asked.pop(answer, "")
            if not name:  # it is known to be dead
                continue
            try:
                kind, told, *advanced = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                kind, told, advanced = "dead", why_dead(error), []
                self._deaths[name] = self._deaths.get(name, 0) + 1
            if kind in ("dead", "broken"):
                self._ray.kill(self._actors.pop(name))
                self._asked = {other: whose for other, whose in self._asked.items() if whose != name}
            found += [(name, "advance", advance) for advance in advanced]
            if kind == "ready":
                found += [(name, kind, None)] * told
                continue
            found.append((name, kind, told))
            if kind == "done":
                self._deaths.pop(name, None)
                found.append((name, "ready", None))
        return found

    def give(self, name: str, shard: Shard) -> None:
        """A shard for one."""
        self._asked[self._actors[name].do.remote(shard)] = name

    def replace(self, name: str) -> None:
        """Another one in the place of one that is dead, if its machine is still there."""
        machine, *_ = self._places[name]
        if machine["NodeID"] in {one["NodeID"] for one in self._alive()} and self._deaths[name] < MOST_DEATHS:
            self._hire(name)

    def end(self) -> None:
        """End them at once."""
        for actor in self._actors.values():
            self._ray.kill(actor)

    def _alive(self) -> list[dict[str, Any]]:
        return machines(self._ray, "GPU" if self._on_gpus else "CPU")

    def _look(self) -> None:
        """Begin workers on machines that have joined."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        for machine in self._alive():
            if machine["NodeID"] not in self._machines:
                self._machines.add(machine["NodeID"])
                has = machine["Resources"]
                gpus = min(int(has["GPU"]), self._gpus or 1 << 30) if self._on_gpus else 0
                processes = self._processes or gpus or self._usual(int(has.get("CPU", 0)), has.get("memory", 0.0))
                for number in range(processes):
                    name = f"worker {number + 1} of {machine['NodeManagerAddress']} ({machine['NodeID'][:6]})"
                    self._places[name] = machine, processes, min(gpus, processes)
                    self._hire(name)

    def _wait_for_machines(self) -> None:
        if not self._waits:
            say("--engine ray: no machine of the cluster can take workers; waiting for one to join it")
        self._waits = True
        time.sleep(LOOK)

    def _tell_of_late_ones(self, answered: bool) -> None:
        if answered:
            self._silent_since = float("inf")  # those that work may be silent for long
        elif time.monotonic() - self._silent_since > LATE:
            self._silent_since = float("inf")
            say(f"--engine ray: waiting for {len(self._actors)} workers; they load, or the cluster is busy with others")

    def _hire(self, name: str) -> None:
        machine, processes, gpus = self._places[name]
        cpus = machine["Resources"].get("CPU", 0.0)  # none where a machine of GPUs brings none
        seat = Seat(processes, max(1, int(cpus)))
        # As a process of the driver's own machine: one alone takes the cores, and several share them.
        threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(seat.cores)), "OPENBLAS_NUM_THREADS": "1"}
        actor = self._hand.options(
            num_cpus=cpus // processes or cpus / processes,
            num_gpus=1 / -(-processes // gpus) if gpus else 0,
            scheduling_strategy=only_on(machine),
            runtime_env={"env_vars": threads},
        ).remote(os.getcwd())
        self._actors[name] = actor
        self._asked[actor.make.remote(self._makings, seat, all_copies())] = name
