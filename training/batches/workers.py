"""Worker processes that make parts of batches, and the thread that joins batches ahead of time."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from multiprocessing.synchronize import Event
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch.utils.data import DataLoader

from files.errors import CocuError
from training.batches.batch import Batch, Part, SampleCounts
from training.batches.pair_maker import Made, PairMaker
from training.shards.files import ShardFiles
from training.shards.stream import Stream

PARTS_AHEAD = 2  # for each worker
BATCHES_AHEAD = 2


def make_parts(
    stream: Stream, files: ShardFiles, maker: PairMaker, size: int, workers: int, closing: Event, counts: SampleCounts
) -> Iterator[Part]:
    """Parts of `size` places each in the order of the stream, made by so many processes; 0: by this one.

    counts is kept up to date. Raises CocuError when a shard cannot be had, a process dies, or nothing is usable.
    """
    on_their_way: deque[tuple[dict[str, Any], int]] = deque()

    def take() -> Iterator[np.ndarray]:
        while True:
            position = stream.position()
            places = stream.take(size)
            if not len(places):
                return
            on_their_way.append((position, stream.taken))
            yield places

    batches: DataLoader[Made] = DataLoader(
        maker,  # type: ignore[arg-type]
        sampler=take(),
        batch_size=None,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=PARTS_AHEAD if workers else None,
        worker_init_fn=partial(_begin_worker, closing),
        generator=torch.Generator(),  # of its own: the run's random state is the model's
    )
    made = iter(batches)
    while (one := _next(made, workers)) is not None:
        position, taken = on_their_way.popleft()
        stream.read(taken)
        counts.add(one)
        for number, fault in files.faults.items():
            counts.broken_shards[files.shards[number].name] = fault
        yield Part(position, one)


def _next(made: Iterator[Made], workers: int) -> Made | None:
    threads = torch.get_num_threads()
    if not workers:  # one thread, as in workers, so that sums come out the same to the last bit
        torch.set_num_threads(1)
    try:
        return next(made, None)
    except (RuntimeError, EOFError, OSError) as error:  # the last two: it died while it handed something over
        if not workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        reason = str(error) or type(error).__name__
        raise CocuError(
            f"a process that reads the data ended unexpectedly ({reason}); often memory or shared memory (/dev/shm) "
            "has run out: try fewer workers"
        ) from error
    finally:
        if not workers:
            torch.set_num_threads(threads)


def _as_it_is(made: Made) -> Made:
    return made


def _begin_worker(closing: Event, _: int) -> None:
    """Leave signals to the main process, and keep libjpeg's remarks on odd pictures out of its terminal.

    A scheduler that pre-empts a job signals all of its processes, but a last checkpoint may need the workers still.
    """

    def end_if_closing(*_: object) -> None:
        if closing.is_set():
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_if_closing)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)


class Ahead:
    """Batches joined ahead of time in a thread; without workers one at a time, when asked for.

    The workers are the thread's: in the main thread torch would raise the error of a dead one amid any other work.
    """

    def __init__(self, batches: Iterator[Batch], workers: int, closing: Event) -> None:
        self._batches, self._closing = batches, closing
        self._queue: Queue[Batch | BaseException] = Queue(BATCHES_AHEAD)
        self._thread = Thread(target=self._fill, name="batches", daemon=True) if workers else None
        if self._thread is not None:
            _OPEN.add(self)
            self._thread.start()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Batch:
        """The next batch. Raises what the making of it has raised."""
        if self._thread is None:
            return next(self._batches)
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._queue.put(item)  # for whoever asks again
            raise item
        return item

    def close(self) -> None:
        """End thread and workers."""
        self._closing.set()
        while self._thread is not None and self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except Empty:
                self._thread.join(0.02)
        self._batches = iter(())
        _OPEN.discard(self)

    def _fill(self) -> None:
        batches, self._batches = self._batches, iter(())  # the thread's own, so that the workers end with it
        try:
            for batch in batches:
                self._put(batch)
                if self._closing.is_set():
                    return
            self._put(StopIteration())
        except BaseException as error:
            self._put(error)

    def _put(self, item: Batch | BaseException) -> None:
        while not self._closing.is_set():
            try:
                return self._queue.put(item, timeout=0.2)
            except Full:
                continue


# Workers have to know that a signal is meant for them before multiprocessing ends them at the exit.
_OPEN: WeakSet[Ahead] = WeakSet()


@atexit.register
def _close_all() -> None:
    for ahead in list(_OPEN):
        ahead.close()
