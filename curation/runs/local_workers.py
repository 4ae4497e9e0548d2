"""Workers that are processes of this machine, each at the end of a pipe, with a GPU of its own where there is one."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

from curation.reading.shards import Shard
from curation.runs.spread import Seat
from files.errors import CocuError, MisuseError
from files.machine import cores
from files.workers import begin

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def local_workers(gpus: Sequence[int | None], makings: bytes, shards: int) -> Iterator[LocalWorkers]:
    """A worker for each of `gpus`, by its number among those that this process sees, or None; fewer for few shards."""
    workers = LocalWorkers(makings, Seat(len(gpus), cores()))
    try:
        for gpu in gpus[:shards]:
            workers.hire(gpu)
        yield workers
    finally:
        workers.end()


class LocalWorkers:
    """`Workers` (spread.py)."""

    def __init__(self, makings: bytes, seat: Seat) -> None:
        self._makings, self._seat = makings, seat
        self._team: dict[str, tuple[BaseProcess, Connection]] = {}
        self._gpus: dict[str, int | None] = {}

    def hire(self, gpu: int | None) -> None:
        """Begin one more, which sees no GPU but this one; None: as this process does."""
        end, other = get_context("spawn").Pipe()
        # What feeds a GPU are processes of the worker's own, which no daemonic one may have.
        process = begin(_serve, other, self._makings, self._seat, seen_alone(gpu), daemon=gpu is None)
        other.close()
        name = named(process.pid)
        self._team[name], self._gpus[name] = (process, end), gpu

    @property
    def count(self) -> int:
        """How many live."""
        return len(self._team)

    def told(self) -> Sequence[tuple[str, str, Any]]:
        """What they tell, once some do."""
        ends = {end: name for name, (_, end) in self._team.items()}
        found = []
        for end in wait(list(ends)):
            assert isinstance(end, Connection)
            try:
                kind, told = end.recv()
            except (EOFError, OSError):
                kind, told = "dead", ""
            if kind in ("dead", "broken"):
                process, _ = self._team.pop(ends[end])
                process.join()
                end.close()
                told = told or _ended(process.exitcode)
            found.append((ends[end], kind, told))
        return found

    def give(self, name: str, shard: Shard) -> None:
        """A shard for one."""
        try:
            self._team[name][1].send(shard)
        except OSError:  # it is dead, as is heard next
            return

    def replace(self, name: str) -> None:
        """Another one with the GPU of one that is dead."""
        self.hire(self._gpus[name])

    def end(self) -> None:
        """End them at once."""
        for process, _ in self._team.values():
            process.kill()
        for process, end in self._team.values():
            process.join()
            end.close()


def named(pid: int | None = None) -> str:
    """What a process of this machine, by default this one, is called in messages and records."""
    return f"process {pid or os.getpid()} on {socket.gethostname()}"


def seen_alone(gpu: int | None) -> str | None:
    """What CUDA_VISIBLE_DEVICES says to whom is to see one GPU alone, by its number among those that are seen here."""
    seen = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return None if gpu is None else seen[gpu] if seen else str(gpu)


def _ended(code: int | None) -> str:
    return (
        f"killed by signal {-code}, maybe for want of memory" if code is not None and code < 0 else f"it ended {code}"
    )


def _serve(driver: Connection, makings: bytes, seat: Seat, gpu: str | None) -> None:
    if gpu is not None:
        os.environ[VISIBLE] = gpu  # before anything looks for one
    try:
        with pickle.loads(makings)(seat) as work:
            driver.send(("ready", None))
            next_shard = _ahead(driver, work) if hasattr(work, "soon") else driver.recv
            while (shard := next_shard()) is not None:
                try:
                    told = work(shard, lambda pairs, weight=0.0: driver.send(("advance", (pairs, weight))))
                except MisuseError:
                    raise
                except CocuError as error:
                    told = error
                driver.send(("done", (shard.name, told)))
                driver.send(("ready", None))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        driver.send(("broken", sendable(error)))


def _ahead(driver: Connection, work: Any) -> Callable[[], Shard | None]:
    """What waits for the next shard, while `work` hears of the one after; asks for that."""
    come: SimpleQueue[Shard | None] = SimpleQueue()

    def listen() -> None:
        try:
            while True:
                shard = driver.recv()
                work.soon(shard)
                come.put(shard)
        except (EOFError, OSError):
            come.put(None)

    driver.send(("ready", None))
    Thread(target=listen, daemon=True).start()
    return come.get


def sendable(error: Exception) -> Exception:
    """An error as it can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
