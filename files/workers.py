"""Worker processes that end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

from files.errors import CocuError
from files.locks import Held, all_held, watch
from files.remote_folders import RemoteCopy, all_copies, know

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerPool:
    """A pool of spawned processes; a forked one would inherit threads of this process in an unknown state.

    start: called once in every worker, with `arguments`. Workers do not see Ctrl-C: this process ends them. They write
    only where the folders stand that this process holds when the pool is made.
    """

    def __init__(
        self, processes: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
    ) -> None:
        self.processes = processes
        self._pool = ProcessPoolExecutor(
            processes, get_context("spawn"), initializer=_start, initargs=(start, arguments, all_held(), all_copies())
        )
        self._workers: set[BaseProcess] = set()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`function` of every item, in order. Raises CocuError when a worker dies."""
        with self._alive():
            return [future.result() for future in self._begun(function, items)]

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of every item, as they are done. Raises CocuError when a worker dies."""
        with self._alive():
            for future in as_completed(self._begun(function, items)):
                yield future.result()

    def _begun(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Future[Result]]:
        with _interrupts_blocked():  # workers start here, and inherit it
            others = set(active_children()) - self._workers
            futures = [self._pool.submit(function, item) for item in items]
            self._workers |= set(active_children()) - others
        return futures

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            raise died(self.processes) from error

    def close(self, at_once: bool = False) -> None:
        """End the workers; at once, or when they are done with what they have begun."""
        if at_once:
            for worker in self._workers:
                worker.terminate()
        self._pool.shutdown(cancel_futures=True)


def begin(function: Callable[..., None], *arguments: Any, daemon: bool = True) -> BaseProcess:
    """A spawned process of `function`, with what `WorkerPool` says of its own, and one thread for NumPy's products.

    daemon: ended where this one ends without ending it; one that is not may begin processes of its own.
    """
    process = get_context("spawn").Process(
        target=_start, args=(function, arguments, all_held(), all_copies()), daemon=daemon
    )
    with _interrupts_blocked(), _one_thread():
        process.start()
    return process


def died(processes: int) -> CocuError:
    """The error for one of so many workers that is gone."""
    return CocuError(
        f"one of {processes} worker processes died, maybe for want of memory; run the same command again, "
        "with fewer --workers"
    )


@contextmanager
def closing_pool(processes: int) -> Iterator[WorkerPool]:
    """A pool for the block; an error ends the workers at once."""
    pool = WorkerPool(processes)
    try:
        yield pool
    except BaseException:
        pool.close(at_once=True)
        raise
    pool.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """What is started inside the block finds, before it loads NumPy, that it is one of several that compute."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    start: Callable[..., None] | None,
    arguments: tuple[Any, ...],
    held: tuple[Held, ...],
    copies: tuple[RemoteCopy, ...],
) -> None:
    watch(held)
    know(copies)
    Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    # A worker that waits for work holds both ends of its queue, and would never hear that nobody is left to send any.
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
