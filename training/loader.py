"""Batches for training: stream, decoding, augmentation, concepts and tokens put together.

The order of samples is made here, in the main process (training/stream.py); worker processes make arrays of some
samples at a time, and batches are joined from those in order. So the batches of a rank are the same for any number of
workers, a broken pair lets the next move up instead of leaving a gap, and the position after a batch says exactly which
sample comes next, whatever has been read ahead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch.utils.data import DataLoader

from training.augment import Augmentation
from training.batches import Batch, Counts, Part, join_parts
from training.errors import MisuseError, TrainingError
from training.pairs import NO_CONCEPTS, ConceptChoice, Made, PairMaker
from training.shard_files import ShardFiles
from training.shard_order import Slot
from training.shards import Source, find_data
from training.stream import Stream

# What workers make at once: little enough for a small /dev/shm, enough that handing it over costs nothing.
PART_BYTES = 4 << 20
PARTS_AHEAD = 2  # for each worker
BATCHES_AHEAD = 2


class Loader:
    """Endless batches of one rank; an iterator. Raises MisuseError for data or arguments that cannot be used.

    sources: names of shards, or `Source`s with weights (training/shards.py). batch_size: of this rank. concepts: none,
    caption, curated-top or curated-cluster (training/concepts.py). augment: none, light or deit (training/augment.py);
    True is deit, False is none. shuffle_buffer: samples that are shuffled together, across shards; only their places
    are kept. workers: processes; 0 makes everything in this one. samples: of all sources, for `steps_per_epoch`; None:
    counted by reading headers. cache: folder that keeps copies of remote shards and indexes of tars from run to run.
    resume: the position of a batch of a run with the same data, seed, ranks and shuffle buffer; workers, batch size and
    the rest may differ.
    """

    def __init__(
        self,
        sources: Sequence[str | Source],
        *,
        batch_size: int,
        image_size: int,
        concepts: str = NO_CONCEPTS,
        concepts_per_image: int = 3,
        concept_temperature: float = 1.0,
        context_length: int = 77,
        augment: str | bool = "deit",
        crop_scale: tuple[float, float] = (0.08, 1.0),
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        shuffle_buffer: int = 10_000,
        samples: int | None = None,
        pin_memory: bool = False,
        cache: Path | None = None,
        resume: dict[str, Any] | None = None,
    ) -> None:
        _check(batch_size=batch_size, image_size=image_size, world_size=world_size, shuffle_buffer=shuffle_buffer)
        if not 0 <= rank < world_size or workers < 0:
            raise MisuseError(f"rank {rank} of {world_size} with {workers} workers: there is no such loader")
        level = {True: "deit", False: "none"}[augment] if isinstance(augment, bool) else augment
        augmentation = Augmentation(image_size, level, crop_scale)
        choice = ConceptChoice(concepts, concepts_per_image, concept_temperature)
        shards, collections = find_data(sources)
        self.counts = Counts()
        self.batch_size, self.world_size = batch_size, world_size
        self._workers, self._pin, self._samples = workers, pin_memory, samples
        self._files = ShardFiles(shards, cache and cache / "shards", cache and cache / "tar-index")
        try:
            slot = Slot(seed, rank, world_size, shuffle_buffer)
            self._stream = Stream(collections, self._files, slot, position=resume and resume["stream"])
            self._stream.take(resume["skip"] if resume else 0)
        except BaseException:
            self._files.close()
            raise
        self._maker = PairMaker(self._files, augmentation, choice, context_length, seed)
        self._part = part_size(batch_size, image_size)
        self._state = resume or {"stream": self._stream.position(), "skip": 0}
        self._ahead: _Ahead | None = None

    @property
    def samples(self) -> int:
        """Samples of all sources together. Raises MisuseError where counting them would mean fetching them."""
        if self._samples is None:
            self._samples = self._files.count(self._workers)
        return self._samples

    @property
    def steps_per_epoch(self) -> int:
        """Batches of all ranks in which as many samples are seen as there are, at the least 1."""
        return max(1, self.samples // (self.batch_size * self.world_size))

    def state(self) -> dict[str, Any]:
        """Position after the last batch given out: plain numbers, strings, lists and dicts."""
        return self._state

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        """The next batch. Raises TrainingError when a shard cannot be had, a worker dies, or no sample is usable."""
        if self._ahead is None:
            closing = multiprocessing.Event()
            parts = _parts(self._stream, self._files, self._maker, self._part, self._workers, closing, self.counts)
            self._ahead = _Ahead(join_parts(parts, self.batch_size, pin=self._pin), self._workers, closing)
        batch = next(self._ahead)
        self._state = batch.position
        return batch

    def close(self) -> None:
        """End the workers and remove temporary copies of shards."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None
        self._files.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def validation_batches(
    sources: Sequence[str | Source],
    *,
    batch_size: int,
    image_size: int,
    concepts: str = NO_CONCEPTS,
    concepts_per_image: int = 3,
    concept_temperature: float = 1.0,
    context_length: int = 77,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
    cache: Path | None = None,
    counts: Counts | None = None,
) -> Iterator[Batch]:
    """One pass over the shards in their own order, without augmentation; the last batch may be shorter.

    The same every time, concepts and prompts included. Of several ranks each gets a part, by bytes of the shards, so
    that their numbers of batches may differ. counts: filled with what could not be used.
    """
    _check(batch_size=batch_size, image_size=image_size, world_size=world_size)
    shards, collections = find_data([source if isinstance(source, str) else Source(source.names) for source in sources])
    files = ShardFiles(shards, cache and cache / "shards", cache and cache / "tar-index")
    try:
        slot = Slot(seed, rank, world_size, window=4096, shuffle=False)
        stream = Stream(collections, files, slot, epochs=1)
        choice = ConceptChoice(concepts, concepts_per_image, concept_temperature)
        maker = PairMaker(files, Augmentation(image_size, "none"), choice, context_length, seed)
        part, closing = part_size(batch_size, image_size), multiprocessing.Event()
        parts = _parts(stream, files, maker, part, workers, closing, Counts() if counts is None else counts)
        ahead = _Ahead(join_parts(parts, batch_size, pin=pin_memory, keep_last=True), workers, closing)
        try:
            yield from ahead
        finally:
            ahead.close()
    finally:
        files.close()


def part_size(batch_size: int, image_size: int) -> int:
    """Samples that a worker makes at once: about PART_BYTES of pixels, in equal parts of a batch."""
    most = max(1, PART_BYTES // (3 * image_size * image_size))
    return -(-batch_size // -(-batch_size // most))


def _parts(
    stream: Stream, files: ShardFiles, maker: PairMaker, size: int, workers: int, closing: Event, counts: Counts
) -> Iterator[Part]:
    """Parts of so many places in the order of the stream, made by worker processes."""
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
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        reason = str(error) or type(error).__name__
        raise TrainingError(
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


class _Ahead:
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

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Batch:
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
_OPEN: WeakSet[_Ahead] = WeakSet()


@atexit.register
def _close_all() -> None:
    for ahead in list(_OPEN):
        ahead.close()


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise MisuseError(f"{name}: {value}; give 1 or more")
