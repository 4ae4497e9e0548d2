"""Batches for training: stream, decoding, augmentation, concepts and tokens put together.

The order of samples is made here, in the main process (training/shards/stream.py); worker processes make arrays of some
samples at a time, and batches are joined from those in order. So the batches of a rank are the same for any number of
workers, a broken pair lets the next move up instead of leaving a gap, and the position after a batch says exactly which
sample comes next, whatever has been read ahead.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from files.errors import MisuseError
from training.batches.augment import Augmentation
from training.batches.batch import Batch, Counts, join_parts
from training.batches.pair_maker import ConceptChoice, PairMaker
from training.batches.raw_pairs import NO_CONCEPTS
from training.batches.workers import Ahead, make_parts
from training.shards.files import ShardFiles
from training.shards.found import Source, find_data
from training.shards.order import Slot
from training.shards.stream import Stream

# What workers make at once: little enough for a small /dev/shm, enough that handing it over costs nothing.
PART_BYTES = 4 << 20


class Loader:
    """Endless batches of one rank; an iterator. Raises MisuseError for data or arguments that cannot be used.

    sources: names of shards, or `Source`s with weights (training/shards/found.py). batch_size: of this rank.
    concepts: none, caption, curated-top or curated-cluster (concepts.py). augment: none, light or deit (augment.py);
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
        self._ahead: Ahead | None = None
        self._closed = False

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
        """The next batch. Raises CocuError when a shard cannot be had, a worker dies, or no sample is usable."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._ahead is None:
            closing = multiprocessing.Event()
            parts = make_parts(self._stream, self._files, self._maker, self._part, self._workers, closing, self.counts)
            self._ahead = Ahead(join_parts(parts, self.batch_size, pin=self._pin), self._workers, closing)
        batch = next(self._ahead)
        self._state = batch.position
        return batch

    def close(self) -> None:
        """End the workers and remove temporary copies of shards."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead, self._closed = None, True
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
        parts = make_parts(stream, files, maker, part, workers, closing, Counts() if counts is None else counts)
        ahead = Ahead(join_parts(parts, batch_size, pin=pin_memory, keep_last=True), workers, closing)
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


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise MisuseError(f"{name}: {value}; give 1 or more")
