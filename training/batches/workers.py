"""Worker processes that make parts of batches, and the thread that joins batches ahead of time."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue as ProcessQueue
from multiprocessing.synchronize import Event, Lock
from queue import Empty, Full, Queue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from files.errors import CocuError
from files.pictures import DECODING
from training.batches.batch import Batch, Part, SampleCounts
from training.batches.pair_maker import Made, PairMaker
from training.shards.files import ShardFiles
from training.shards.order import SHARD
from training.shards.stream import Stream

PARTS_AHEAD = 2  # for each worker
BATCHES_AHEAD = 2
LOOK_UP_SECONDS = 0.5  # from a wait, for signals
CLOSE_SECONDS = 5.0  # that workers have to end by themselves


class Crew:
    """The processes that work for one loader. closing: set when they are no longer needed."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.closing: Event = multiprocessing.Event()
        self.lone: Lock = multiprocessing.Lock()  # of who decodes what takes more than its part of the room
        self.processes: list[BaseProcess] = []

    def kill(self) -> None:
        """End them whatever they do: one that is stopped hears no other signal."""
        for process in self.processes:
            process.kill()

    def end(self) -> None:
        """The same, and wait for it: after an error, which holds torch's iterator, they would wait for ever."""
        self.kill()
        for process in self.processes:
            process.join(CLOSE_SECONDS)


def make_parts(
    streams: Mapping[int, Stream],
    files: ShardFiles,
    maker: PairMaker,
    size: int,
    crew: Crew,
    counts: Mapping[int, SampleCounts],
) -> Iterator[Part]:
    """Parts of `size` places each in the order of their stream, made by the crew; without workers by this process.

    Of several streams, by their numbers, the one that has fallen behind is next. counts, of each stream, are kept up to
    date. Raises CocuError when a shard cannot be had, a process dies, or nothing is usable.
    """
    on_their_way: deque[tuple[int, dict[str, Any], int, set[int]]] = deque()
    pairs = dict.fromkeys(streams, 0)  # of each stream, made or on their way

    def take() -> Iterator[np.ndarray]:
        while True:
            number = min(pairs, key=pairs.__getitem__)
            stream = streams[number]
            position = stream.position()
            places = stream.take(size)
            if not len(places):
                return
            pairs[number] += len(places)
            on_their_way.append((number, position, stream.taken, set(places[:, SHARD].tolist())))
            yield places

    workers = crew.workers
    batches: DataLoader[Made | _Unshared] = DataLoader(
        maker,  # type: ignore[arg-type]
        sampler=take(),
        batch_size=None,
        collate_fn=_shared,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=PARTS_AHEAD if workers else None,
        worker_init_fn=partial(_begin_worker, crew.closing, crew.lone, workers),
        generator=torch.Generator(),  # of its own: the run's random state is the model's
    )
    made = iter(batches)
    crew.processes += getattr(made, "_workers", [])  # torch has no other name for them
    while (one := _next(made, workers)) is not None:
        number, position, taken, shards = on_their_way.popleft()
        streams[number].read(taken)
        pairs[number] -= one.count - len(one.good)
        counted = counts[number]
        counted.add(one, shards, len(files.shards))
        for shard, (fault, lost) in files.faults.items():
            name = files.shards[shard].name
            counted.broken_shards[name], counted.lost_pairs[name] = fault, lost
        yield Part(number, position, one)


def _next(made: Iterator[Made | _Unshared], workers: int) -> Made | None:
    threads = torch.get_num_threads()
    if not workers:  # one thread, as in workers, so that sums come out the same to the last bit
        torch.set_num_threads(1)
    try:
        one = next(made, None)
        if isinstance(one, _Unshared):
            raise _broken(str(one))
        return one
    except (RuntimeError, EOFError, OSError) as error:  # the last two: it died while it handed something over
        reason = str(error) or type(error).__name__
        if not workers or (isinstance(error, RuntimeError) and not any(sign in reason for sign in _SIGNS)):
            raise
        raise _broken(reason) from error
    finally:
        if not workers:
            torch.set_num_threads(threads)


FEW_FILES = 256  # what loading and its processes get by with, and more
_OPEN_FILES = ("Too many open files", "ancillary data")  # the second: a file was handed over that had no room
_SIGNS = ("DataLoader worker", *_OPEN_FILES)


def _broken(reason: str) -> CocuError:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if any(sign in reason for sign in _OPEN_FILES):
        why = f"the limit of open files, {limit:,}, is reached: raise it (ulimit -n 4096)"
    else:
        why = (
            "often memory or shared memory (/dev/shm) has run out: make that larger (docker run --shm-size=8g), "
            "or try fewer workers"
        )
        if limit < FEW_FILES:  # where one may end before it can say so
            why = f"the limit of open files, {limit:,}, is low for it: raise it (ulimit -n 4096); or {why}"
    return CocuError(
        f"a process that reads the data ended unexpectedly ({' '.join(reason.split())[:300]}); {why}; "
        "--workers 0 does without"
    )


class _Unshared(str):
    """Why a worker could not hand over what it had made."""


def _shared(made: Made) -> Made | _Unshared:
    """The same with its pixels in shared memory, if a worker made it.

    Not left to the thread that hands things over: what fails there fails in silence, and is waited for in vain.
    """
    if get_worker_info() is None:
        return made
    try:
        whole = made.pixels if len(made.good) == made.count else made.pixels.clone()
        return replace(made, pixels=whole.share_memory_())
    except (RuntimeError, OSError) as error:
        return _Unshared(error)


def _begin_worker(closing: Event, lone: Lock, workers: int, _: int) -> None:
    """Leave signals to the main process, and keep libjpeg's remarks on odd pictures out of its terminal.

    A scheduler that pre-empts a job signals all of its processes, but a last checkpoint may need the workers still.
    """

    DECODING.share(workers, lone)

    def end_if_closing(*_: object) -> None:
        if closing.is_set():
            os._exit(0)

    def end(error: Exception, _: object) -> None:
        os._exit(1)  # what cannot be handed over would be waited for; a death is noticed

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, ConnectionError | EOFError):  # the main process was killed in mid word
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = say
    ProcessQueue._on_queue_feeder_error = staticmethod(end)  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_if_closing)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)


class Ahead:
    """Batches joined ahead of time in a thread; without workers one at a time, when asked for.

    The workers are the thread's: in the main thread torch would raise the error of a dead one amid any other work.
    """

    def __init__(self, batches: Iterator[Batch], crew: Crew, look_up: Callable[[], None] = lambda: None) -> None:
        """look_up: called now and then while a batch is waited for; what it raises ends the wait."""
        self._batches, self._crew, self._look_up = batches, crew, look_up
        self._closing = crew.closing
        self._queue: Queue[Batch | BaseException] = Queue(BATCHES_AHEAD)
        self._thread = Thread(target=self._fill, name="batches", daemon=True) if crew.workers else None
        if self._thread is not None:
            _OPEN.add(self)
            self._thread.start()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Batch:
        """The next batch. Raises what the making of it has raised."""
        if self._thread is None:
            return next(self._batches)
        while True:
            try:
                item = self._queue.get(timeout=LOOK_UP_SECONDS)
                break
            except Empty:
                self._look_up()
            except RuntimeError as error:  # torch's, of a dead worker, if this process loaded data in its main thread
                if not any(sign in str(error) for sign in _SIGNS):
                    raise
                raise _broken(str(error)) from error
        if isinstance(item, BaseException):
            self._queue.put(item)  # for whoever asks again
            raise item
        return item

    def close(self) -> None:
        """End thread and workers, within seconds whatever these do."""
        self._closing.set()
        killed_at = monotonic() + CLOSE_SECONDS
        while self._thread is not None and self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except Empty:
                self._thread.join(0.02)
                if monotonic() > killed_at:
                    self._crew.kill()
        self._crew.end()
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
