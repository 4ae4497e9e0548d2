"""Batches for training: stream, decoding, augmentation, concepts and tokens put together.

The order of samples is made here, in the main process (training/shards/stream.py); worker processes make arrays of some
samples at a time, and batches are joined from those in order. So batches are the same for any number of workers, and
those of all ranks together for any number of ranks (training/batches/shares.py), a broken pair lets the next of its
stream move up instead of leaving a gap, and the position after a batch says exactly which sample comes next, whatever
has been read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from files.errors import MisuseError
from training.batches.augment import Augmentation
from training.batches.batch import Batch, SampleCounts, join_parts
from training.batches.pair_maker import ConceptChoice, PairMaker
from training.batches.raw_pairs import NO_CONCEPTS
from training.batches.shares import StreamShare, shares_of
from training.batches.tokens import TextTokenizer, tokenizer_of
from training.batches.workers import Ahead, Crew, make_parts
from training.shards.files import ShardFiles
from training.shards.found import Source, TarShard, find_data
from training.shards.order import Slot
from training.shards.stream import Stream
from training.shards.weights import PairWeights, read_weights

# What workers make at once: little enough for a small /dev/shm, enough that handing it over costs nothing.
PART_BYTES = 4 << 20
LEAST_PART = 16  # pairs, if they are no more bytes than that, of streams that give few to a batch


@dataclass(frozen=True)
class BatchOptions:
    """What training's and validation's batches have in common. Raises MisuseError for what cannot be used.

    batch_size: of this rank. streams: of the order of samples; a divisor of the batch of all ranks. concepts: none,
    caption, curated-top or curated-cluster (concepts.py). tokenizer: of the learner; None: CLIP's. whole_lists: the
    best concepts of each list with their weights, in place of draws. workers: processes; 0 makes all in this one.
    cache: folder that keeps copies of remote shards and indexes of tars from run to run.
    """

    batch_size: int
    image_size: int
    concepts: str = NO_CONCEPTS
    concepts_per_image: int = 3
    concept_temperature: float = 1.0
    whole_lists: bool = False
    context_length: int = 77
    tokenizer: TextTokenizer | None = None
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    streams: int = 1
    workers: int = 0
    pin_memory: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "image_size", "world_size"):
            if getattr(self, name) < 1:
                raise MisuseError(f"{name}: {getattr(self, name)}; give 1 or more")
        if not 0 <= self.rank < self.world_size or self.workers < 0:
            raise MisuseError(
                f"rank {self.rank} of {self.world_size} with {self.workers} workers: there is no such loader"
            )
        batch = self.batch_size * self.world_size
        if self.streams < 1 or batch % self.streams:
            raise MisuseError(f"streams: {self.streams}; give a divisor of the batch of all ranks, {batch}")

    @property
    def shares(self) -> tuple[StreamShare, ...]:
        """What this rank takes of which streams."""
        return shares_of(self.batch_size * self.world_size, self.streams, self.rank, self.world_size)

    def files(self, shards: Sequence[TarShard]) -> ShardFiles:
        """The shards as files."""
        return ShardFiles(shards, self.cache and self.cache / "shards", self.cache and self.cache / "tar-index")

    def maker(self, files: ShardFiles, augmentation: Augmentation, weights: PairWeights | None = None) -> PairMaker:
        """What makes pairs of their samples."""
        choice = ConceptChoice(self.concepts, self.concepts_per_image, self.concept_temperature, self.whole_lists)
        tokenizer = tokenizer_of(self.tokenizer, self.context_length)
        return PairMaker(files, augmentation, choice, tokenizer, self.seed, weights)

    @property
    def part(self) -> int:
        """Samples that a worker makes at once: about PART_BYTES of pixels, in equal parts of what a stream gives."""
        most, pairs = max(1, PART_BYTES // (3 * self.image_size * self.image_size)), self.shares[0].pairs
        least = min(most, LEAST_PART) if self.streams > 1 else 1
        return max(least, -(-pairs // -(-pairs // most)))


class Loader:
    """Endless batches of one rank; an iterator. Raises MisuseError for data or arguments that cannot be used.

    sources: names of shards, or `Source`s with weights (training/shards/found.py). augment: none, light or deit
    (augment.py); True is deit, False is none. shuffle_buffer: samples that are shuffled together, across shards; only
    their places are kept. samples: of all sources, for `steps_per_epoch`; None: counted by reading headers. resume: the
    positions of the streams after a batch of a run with the same data, seed, streams and shuffle buffer; ranks,
    workers, batch size and the rest may differ.
    weights: a table of how likely an epoch sees each pair (training/shards/weights.py). look_up: called now
    and then while a batch of workers is waited for; what it raises ends the wait.
    """

    def __init__(
        self,
        sources: Sequence[str | Source],
        options: BatchOptions,
        *,
        augment: str | bool = "deit",
        crop_scale: tuple[float, float] = (0.08, 1.0),
        interpolation: str = "bicubic",
        shuffle_buffer: int = 10_000,
        samples: int | None = None,
        resume: Mapping[int, dict[str, Any]] | None = None,
        weights: Path | None = None,
        look_up: Callable[[], None] = lambda: None,
    ) -> None:
        if shuffle_buffer < 1:
            raise MisuseError(f"shuffle_buffer: {shuffle_buffer}; give 1 or more")
        level = {True: "deit", False: "none"}[augment] if isinstance(augment, bool) else augment
        augmentation = Augmentation(options.image_size, level, crop_scale, interpolation)
        shards, collections = find_data(sources)
        if weights and len(collections) > 1:
            raise MisuseError("--weights: says how often each pair is seen, and so cannot go with --shares")
        thinned = read_weights(weights, shards) if weights else None
        self.counts = SampleCounts()
        # A stream that other ranks read, too, is counted by one of them.
        self._counts = {share.stream: self.counts if share.counts else SampleCounts() for share in options.shares}
        self._options, self._look_up = options, look_up
        self._samples = thinned.pairs_an_epoch if thinned else samples
        self._files = options.files(shards)
        digest = thinned.digest if thinned else None
        self._streams: dict[int, Stream] = {}
        try:
            self._files.measure(options.workers, beside=options.streams > 1)
            for share in options.shares:
                slot = Slot(options.seed, share.stream, options.streams, shuffle_buffer)
                at = resume[share.stream] if resume else None
                stream = Stream(collections, self._files, slot, position=at and at["stream"], pair_weights=digest)
                stream.take(at["skip"] if at else 0)
                self._streams[share.stream] = stream
        except BaseException:
            self._files.close()
            raise
        self._maker = options.maker(self._files, augmentation, thinned)
        self._state = {
            number: resume[number] if resume else {"stream": stream.position(), "skip": 0}
            for number, stream in self._streams.items()
        }
        self._ahead: Ahead | None = None
        self._closed = False

    @property
    def samples(self) -> int:
        """Samples that an epoch sees. Raises MisuseError where counting them would mean fetching them."""
        if self._samples is None:
            self._samples = self._files.count(self._options.workers)
        return self._samples

    @property
    def steps_per_epoch(self) -> int:
        """Batches of all ranks in which as many samples are seen as there are, at the least 1."""
        return max(1, self.samples // (self._options.batch_size * self._options.world_size))

    def state(self) -> dict[int, dict[str, Any]]:
        """Position of each of its streams after the last batch given out: plain numbers, strings, lists and dicts."""
        return self._state

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        """The next batch. Raises CocuError when a shard cannot be had, a worker dies, or no sample is usable."""
        if self._closed:
            raise RuntimeError("the loader is closed")
        if self._ahead is None:
            o, crew = self._options, Crew(self._options.workers)
            parts = make_parts(self._streams, self._files, self._maker, o.part, crew, self._counts)
            self._ahead = Ahead(join_parts(parts, o.shares, pin=o.pin_memory), crew, self._look_up)
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


def repeated(first: Sequence[str], loader: Loader) -> str:
    """What to say where a run's first batch, by the keys of all ranks, has pairs twice for want of others; or ""."""
    different = len(set(first))
    if different == len(first):
        return ""
    try:
        if loader.samples - loader.counts.bad >= len(first):  # several pairs with one key
            return ""
    except MisuseError:
        pass  # they cannot be counted
    return (
        f"data.batch {len(first):,} is larger than the data: pairs repeat, the first batch has {different:,} different "
        f"ones; give data.batch={different} or less to have each once"
    )


def validation_batches(
    sources: Sequence[str | Source], options: BatchOptions, counts: SampleCounts | None = None
) -> Iterator[Batch]:
    """One pass over the shards in their own order, without augmentation; the last batch may be shorter.

    The same every time, concepts and prompts included, and on every rank. counts: filled with what could not be used.
    """
    shards, collections = find_data(
        [source if isinstance(source, str) else replace(source, weight=None) for source in sources]
    )
    options = replace(options, rank=0, world_size=1, streams=1)
    files = options.files(shards)
    try:
        slot = Slot(options.seed, 0, 1, window=4096, shuffle=False)
        stream = Stream(collections, files, slot, epochs=1)
        maker, crew = options.maker(files, Augmentation(options.image_size, "none")), Crew(options.workers)
        counts = SampleCounts() if counts is None else counts
        parts = make_parts({0: stream}, files, maker, options.part, crew, {0: counts})
        batches = join_parts(parts, options.shares, pin=options.pin_memory, keep_last=True)
        ahead = Ahead(batches, crew)
        try:
            yield from ahead
        finally:
            ahead.close()
    finally:
        files.close()
