"""What feeds an accelerator: processes that read, decode, parse and tokenise, so that this one only runs the towers.

One process reads shards in their order and deals out portions of batches; others make pixels, tokens and concepts of
them. Pixels come in shared memory, in as many slots as may be on their way: a portion is dealt out when one is free,
which bounds memory and says how far ahead reading is. What is made comes back in any order and is taken in that of
reading, so that batches, and all that is written, are those of one process.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Lock
from typing import Any

import numpy as np
from PIL import Image

from curation.encoding.encoder import Encoder
from curation.encoding.prepared import OnDevice, Preparation, joined
from curation.index.blocks import Encoded, Naming, Seconds, ShardResult, blocks_of
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard
from files.errors import CocuError
from files.pictures import DECODING, BadPicture
from files.rejects import Reject
from files.shared_pages import SharedPages, kept
from files.workers import begin, died

# Pairs that are dealt out at once, at the most: little for a worker that is behind, enough to cost nothing.
PORTION_PAIRS = 64
# Portions on their way, for each worker: the one that it is at, and one that waits for its turn.
PORTIONS_AHEAD = 2


@dataclass
class Portion:
    """Pairs of a shard in a row: from the reader with their pictures, from a worker with what the towers need instead.

    number: in the order of reading. slot: where its pixels are to lie. places: of pairs whose pictures are good; bad:
    the others. tokens [pairs, L], pixels [places, H, W, 3]; lengths [places]: of the bytes that lie there in place of
    pixels, for the device to decode, or 0. ends_batch, ends_block: whether it is the last of a batch,
    of a block. weight: about its part of `shard.size`. counted: what reading and parsing tell of it.
    """

    number: int
    shard: str
    slot: int
    pairs: list[Pair]
    with_pictures: bool
    ends_batch: bool
    ends_block: bool
    weight: float
    counted: ShardResult
    places: Sequence[int] = ()
    bad: Sequence[Reject] = ()
    concepts: Sequence[list[str]] = ()
    tokens: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Done:
    """After the last portion of a shard. counted: since that; error: why the rest of it cannot be had."""

    number: int
    shard: str
    counted: ShardResult
    error: CocuError | None = None


class Feed:
    """The processes that make ready the shards of `tasks`, in this order, for an encoder, and then those that are asked
    for. A context manager.

    tasks: shards with where their captions are; None: of captions without pictures.
    """

    def __init__(
        self, tasks: Sequence[tuple[Shard, CaptionOptions | None]], encoder: Encoder, naming: Naming, workers: int
    ) -> None:
        preparation = encoder.preparation
        batch = encoder.batch_size
        portion = -(-batch // -(-batch // PORTION_PAIRS))
        blank = Image.new("RGB", (encoder.image_size, encoder.image_size))
        self.picture = np.asarray(preparation.transform(blank)).shape
        shape = (PORTIONS_AHEAD * (workers + 1), portion, *self.picture)
        self._pages = SharedPages(int(np.prod(shape)))
        self._slots = _slots(self._pages, shape)
        self._come: dict[int, Portion | Done] = {}
        self._next = 0
        context = get_context("spawn")
        jobs, dealt = context.Pipe(duplex=False)
        wanted, self._free = context.Pipe(duplex=False)
        asked, self._asked = context.Pipe(duplex=False)
        naming = replace(naming, extractor=naming.extractor.single())
        makings = kept(pickle.dumps((preparation, naming)))  # unpickled where what goes wrong can be told
        self._turn, self._lone = context.Lock(), context.Lock()
        self._ends: list[Connection] = []
        self._processes: list[BaseProcess] = []
        fresh = [(replace(shard), options) for shard, options in tasks]  # without readers, which may hold what is open
        self._begin(_read, fresh, asked, batch, portion, dealt, wanted)
        for _ in range(workers):
            self._begin(_make, makings, jobs, self._turn, self._lone, self._pages, shape, workers)
        for end in (jobs, dealt, wanted, asked):
            end.close()  # so that the others hear when one of them is gone
        for slot in range(shape[0]):
            self._free.send(slot)

    def _begin(self, function: Callable[..., None], *arguments: Any) -> None:
        end, other = get_context("spawn").Pipe(duplex=False)
        self._processes.append(begin(_told, function, other, *arguments))
        other.close()
        self._ends.append(end)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for end in (*self._ends, self._free, self._asked):
            end.close()

    def ask(self, shard: Shard, options: CaptionOptions | None) -> None:
        """One more shard; few at a time, as one that is asked for waits in a pipe."""
        with contextlib.suppress(OSError):  # the reader is dead, as will be noticed
            self._asked.send((replace(shard), options))

    def portions(self, shard: str) -> Iterator[Portion | Done]:
        """The portions of a shard, and that it is done; what is left of earlier shards is passed over.

        The pixels of a portion are there until the next is asked for. Raises what reading the shard raises, and
        CocuError when a process dies.
        """
        while True:
            item = self._take()
            if isinstance(item, Portion):
                try:
                    if item.shard == shard:
                        item.pixels = self._slots[item.slot, : len(item.places)]
                        yield item
                finally:
                    with contextlib.suppress(OSError):  # the reader is dead, as will be noticed
                        self._free.send(item.slot)
            elif item.shard == shard:
                if item.error is not None:
                    raise item.error
                yield item
                return

    def _take(self) -> Portion | Done:
        while self._next not in self._come:
            for end in wait(self._ends):
                assert isinstance(end, Connection)
                try:
                    item = end.recv()
                except (EOFError, OSError) as error:
                    raise died(len(self._processes)) from error
                if isinstance(item, MemoryError):
                    raise died(len(self._processes)) from item
                if isinstance(item, BaseException):
                    raise item
                self._come[item.number] = item
        self._next += 1
        return self._come.pop(self._next - 1)


def encoded_blocks(
    feed: Feed, shard: Shard, encoder: Encoder, advance: Callable[[int, float], None]
) -> Iterator[Encoded]:
    """The blocks of a shard through the towers: batch after batch of pictures, after the last of a block its texts."""
    room = np.empty((encoder.batch_size, *feed.picture), np.uint8)
    block = _Block(encoder, room)
    for portion in feed.portions(shard.name):
        start, forward = time.perf_counter(), encoder.seconds
        block.add(portion)
        block.counted.seconds.encode += time.perf_counter() - start
        block.counted.seconds.forward += encoder.seconds - forward
        if isinstance(portion, Portion):
            advance(len(portion.pairs), portion.weight)
        if isinstance(portion, Done) or portion.ends_block:
            yield block.encoded()
            block = _Block(encoder, room)


class _Block:
    """What has come of a block. room: for the pixels of a batch that comes in several portions."""

    def __init__(self, encoder: Encoder, room: np.ndarray) -> None:
        self.encoder, self.counted, self.room, self.waiting = encoder, ShardResult(), room, 0
        self.pairs: list[Pair] = []
        self.concepts: list[list[str]] = []
        self.bad: list[Reject] = []
        self.pictures: list[OnDevice] = []
        self.tokens: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []
        self.broken: set[int] = set()

    def add(self, portion: Portion | Done) -> None:
        """Take a portion, and begin what can be begun."""
        self.counted.add(portion.counted)
        if isinstance(portion, Done):
            return
        self.bad += portion.bad
        self.pairs += [portion.pairs[i] for i in portion.places]
        self.concepts += [portion.concepts[i] for i in portion.places]
        self.tokens.append(portion.tokens[portion.places])
        if portion.with_pictures:
            pixels = portion.pixels
            self.lengths.append(portion.lengths)
            if self.waiting or not portion.ends_batch:
                end = self.waiting + len(pixels)
                self.room[self.waiting : end] = pixels
                pixels, self.waiting = self.room[:end], end
            if portion.ends_batch:
                self._begin(pixels, np.concatenate(self.lengths))
                self.waiting, self.lengths = 0, []

    def _begin(self, pixels: np.ndarray, lengths: np.ndarray) -> None:
        """The last pairs are a batch."""
        if not len(pixels):
            return
        begun, bad = self.encoder.begin_pictures(pixels, lengths)
        self.pictures.append(begun)
        first = len(self.pairs) - len(pixels)
        self.broken |= {first + i for i in bad}
        self.bad += [Reject(self.pairs[first + i].key, str(reason)) for i, reason in bad.items()]

    def encoded(self) -> Encoded:
        """All of it."""
        self.counted.rejects += self.bad
        kept = [i for i in range(len(self.pairs)) if i not in self.broken]
        texts = self.encoder.begin_tokens(np.concatenate(self.tokens)[kept]) if kept else OnDevice([])
        pictures = joined(self.pictures)
        pairs, concepts = [self.pairs[i] for i in kept], [self.concepts[i] for i in kept]
        computed = lambda: texts.seconds() + pictures.seconds()  # noqa: E731
        return Encoded(pairs, concepts, texts.fetch, pictures.fetch, self.counted, computed)


# In the processes.


def _told(function: Callable[..., None], told: Connection, *arguments: Any) -> None:
    """`function`, whose errors are told to the process that feeds."""
    try:
        function(told, *arguments)
    except BaseException as error:
        with contextlib.suppress(OSError):  # nobody is left to hear it
            try:
                told.send(error)
            except (pickle.PicklingError, TypeError, AttributeError):
                told.send(RuntimeError(f"{type(error).__name__}: {error}"))
        raise SystemExit(1) from None


def _read(
    told: Connection,
    tasks: Sequence[tuple[Shard, CaptionOptions | None]],
    asked: Connection,
    batch: int,
    size: int,
    dealt: Connection,
    wanted: Connection,
) -> None:
    number = 0
    for shard, options in chain(tasks, iter(asked.recv, None)):  # never ends: it would be taken for dead
        counted, error = ShardResult(), None
        try:
            for block in blocks_of(shard, options, counted):
                for pairs, ends_batch, ends_block in _cut(block, batch, size):
                    weight = shard.reader.weight(pairs) if options else len(pairs)
                    slot = wanted.recv()
                    known = (options is not None, ends_batch, ends_block, weight, _taken(counted))
                    dealt.send(Portion(number, shard.name, slot, pairs, *known))
                    number += 1
        except CocuError as problem:
            error = problem
        told.send(Done(number, shard.name, _taken(counted), error))
        number += 1


def _cut(block: Sequence[Pair], batch: int, size: int) -> Iterator[tuple[list[Pair], bool, bool]]:
    """A block in batches in portions, with whether they are the last of their batch, of the block."""
    for first in range(0, len(block), batch):
        end = min(first + batch, len(block))
        for i in range(first, end, size):
            yield list(block[i : min(i + size, end)]), i + size >= end, i + size >= end == len(block)


def _taken(counted: ShardResult) -> ShardResult:
    """What has been counted, which is then counted anew."""
    taken = replace(counted)
    counted.rejects, counted.seconds = [], Seconds()
    return taken


def _make(
    told: Connection,
    makings: SharedPages,
    jobs: Connection,
    turn: Lock,
    lone: Lock,
    pages: SharedPages,
    shape: tuple[int, ...],
    workers: int,
) -> None:
    DECODING.share(workers, lone)
    preparation: Preparation
    naming: Naming
    preparation, naming = pickle.loads(makings.bytes)
    slots = _slots(pages, shape)
    while True:
        with turn:
            try:
                raw = jobs.recv_bytes()
            except EOFError:  # the reader is dead, as who feeds hears, too
                return
        portion: Portion = pickle.loads(raw)
        told.send(_made(portion, preparation, naming, slots[portion.slot]))


def _made(portion: Portion, preparation: Preparation, naming: Naming, pixels: np.ndarray) -> Portion:
    places: list[int] = []
    lengths: list[int] = []
    bad: list[Reject] = []
    for i, pair in enumerate(portion.pairs):
        found = preparation.pixels_into(pixels[len(places)], pair.image) if portion.with_pictures else 0
        if isinstance(found, BadPicture):
            bad.append(Reject(pair.key, str(found)))
            continue
        places.append(i)
        lengths.append(found)
    concepts = naming.concepts(portion.pairs, portion.counted)
    tokens = preparation.tokens(naming.texts(portion.pairs))
    pairs = [replace(pair, image=b"") for pair in portion.pairs] if portion.with_pictures else portion.pairs
    of_bytes = np.array(lengths, np.int64)
    made = replace(portion, pairs=pairs, places=places, bad=bad, lengths=of_bytes)
    return replace(made, concepts=concepts, tokens=tokens)


def _slots(pages: SharedPages, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(pages.bytes, np.uint8).reshape(shape)
