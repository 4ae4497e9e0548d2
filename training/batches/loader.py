"""Batches for training: stream, decoding, augmentation, concepts and tokens put together.

The order of samples is made here, in the main process (training/shards/stream.py); worker processes make arrays of some
samples at a time, and batches are joined from those in order. So the batches of a rank are the same for any number of
workers, a broken pair lets the next move up instead of leaving a gap, and the position after a batch says exactly which
sample comes next, whatever has been read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from files.errors import MisuseError
from training.batches.augment import Augmentation
from training.batches.batch import Batch, SampleCounts, join_parts
from training.batches.pair_maker import ConceptChoice, PairMaker
from training.batches.raw_pairs import NO_CONCEPTS
from training.batches.tokens import TextTokenizer, tokenizer_of
from training.batches.workers import Ahead, Crew, make_parts
from training.shards.files import ShardFiles
from training.shards.found import Source, TarShard, find_data
from training.shards.order import Slot
from training.shards.stream import Stream
from training.shards.weights import PairWeights, read_weights

# What workers make at once: little enough for a small /dev/shm, enough that handing it over costs nothing.
PART_BYTES = 4 << 20


@dataclass(frozen=True)
class BatchOptions:
    """What training's and validation's batches have in common. Raises MisuseError for what cannot be used.

    batch_size: of this rank. concepts: none, caption, curated-top or curated-cluster (concepts.py). tokenizer: of the
    learner; None: CLIP's. workers: processes; 0 makes all in this one. cache: folder that keeps copies of remote shards
    and indexes of tars from run to run.
    """

    batch_size: int
    image_size: int
    concepts: str = NO_CONCEPTS
    concepts_per_image: int = 3
    concept_temperature: float = 1.0
    context_length: int = 77
    tokenizer: TextTokenizer | None = None
    seed: int = 0
    rank: int = 0
    world_size: int = 1
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

    def files(self, shards: Sequence[TarShard]) -> ShardFiles:
        """The shards as files."""
        return ShardFiles(shards, self.cache and self.cache / "shards", self.cache and self.cache / "tar-index")

    def maker(self, files: ShardFiles, augmentation: Augmentation, weights: PairWeights | None = None) -> PairMaker:
        """What makes pairs of their samples."""
        choice = ConceptChoice(self.concepts, self.concepts_per_image, self.concept_temperature)
        tokenizer = tokenizer_of(self.tokenizer, self.context_length)
        return PairMaker(files, augmentation, choice, tokenizer, self.seed, weights)

    @property
    def part(self) -> int:
        """Samples that a worker makes at once: about PART_BYTES of pixels, in equal parts of a batch."""
        most = max(1, PART_BYTES // (3 * self.image_size * self.image_size))
        return -(-self.batch_size // -(-self.batch_size // most))


class Loader:
    """Endless batches of one rank; an iterator. Raises MisuseError for data or arguments that cannot be used.

    sources: names of shards, or `Source`s with weights (training/shards/found.py). augment: none, light or deit
    (augment.py); True is deit, False is none. shuffle_buffer: samples that are shuffled together, across shards; only
    their places are kept. samples: of all sources, for `steps_per_epoch`; None: counted by reading headers. resume: the
    position of a batch of a run with the same data, seed, ranks and shuffle buffer; workers, batch size and the rest
    may differ. weights: a table of how likely an epoch sees each pair (training/shards/weights.py). look_up: called now
    and then while a batch of workers is waited for; what it raises ends the wait.
    """

    def __init__(
        self,
        sources: Sequence[str | Source],
        options: BatchOptions,
        *,
        augment: str | bool = "deit",
        crop_scale: tuple[float, float] = (0.08, 1.0),
        shuffle_buffer: int = 10_000,
        samples: int | None = None,
        resume: dict[str, Any] | None = None,
        weights: Path | None = None,
        look_up: Callable[[], None] = lambda: None,
    ) -> None:
        if shuffle_buffer < 1:
            raise MisuseError(f"shuffle_buffer: {shuffle_buffer}; give 1 or more")
        level = {True: "deit", False: "none"}[augment] if isinstance(augment, bool) else augment
        augmentation = Augmentation(options.image_size, level, crop_scale)
        shards, collections = find_data(sources)
        if weights and len(collections) > 1:
            raise MisuseError("--weights: says how often each pair is seen, and so cannot go with --shares")
        thinned = read_weights(weights, shards) if weights else None
        self.counts = SampleCounts()
        self._options, self._look_up = options, look_up
        self._samples = thinned.pairs_an_epoch if thinned else samples
        self._files = options.files(shards)
        try:
            slot = Slot(options.seed, options.rank, options.world_size, shuffle_buffer)
            at, digest = resume and resume["stream"], thinned.digest if thinned else None
            self._stream = Stream(collections, self._files, slot, position=at, pair_weights=digest)
            self._stream.take(resume["skip"] if resume else 0)
        except BaseException:
            self._files.close()
            raise
        self._maker = options.maker(self._files, augmentation, thinned)
        self._state = resume or {"stream": self._stream.position(), "skip": 0}
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
            o, crew = self._options, Crew(self._options.workers)
            parts = make_parts(self._stream, self._files, self._maker, o.part, crew, self.counts)
            self._ahead = Ahead(join_parts(parts, o.batch_size, pin=o.pin_memory), crew, self._look_up)
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

    The same every time, concepts and prompts included. Of several ranks each gets a part, by bytes of the shards, so
    that their numbers of batches may differ. counts: filled with what could not be used.
    """
    shards, collections = find_data([source if isinstance(source, str) else Source(source.names) for source in sources])
    files = options.files(shards)
    try:
        slot = Slot(options.seed, options.rank, options.world_size, window=4096, shuffle=False)
        stream = Stream(collections, files, slot, epochs=1)
        maker, crew = options.maker(files, Augmentation(options.image_size, "none")), Crew(options.workers)
        counts = SampleCounts() if counts is None else counts
        parts = make_parts(stream, files, maker, options.part, crew, counts)
        batches = join_parts(parts, options.batch_size, pin=options.pin_memory, keep_last=True)
        ahead = Ahead(batches, crew)
        try:
            yield from ahead
        finally:
            ahead.close()
    finally:
        files.close()
