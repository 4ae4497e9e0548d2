"""A shard in blocks of pairs, which bound the memory of embedding; what pairs name; what is counted of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.languages import language_of
from curation.concepts.listed import keep_listed
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, read_captions, read_pairs
from files.rejects import Reject

BLOCK_PAIRS = 1024
BLOCK_BYTES = 128 << 20


@dataclass
class Seconds:
    """Seconds of the parts of the stage; of parts that processes share, those of all of them."""

    read: float = 0.0
    concepts: float = 0.0
    encode: float = 0.0
    forward: float = 0.0
    write: float = 0.0


@dataclass
class ShardResult:
    """What one shard gave. checksum: of the pairs in order; tells later whether the shard is still the same."""

    pairs: int = 0
    cut_captions: int = 0
    checksum: int = 0
    rejects: list[Reject] = field(default_factory=list)
    seconds: Seconds = field(default_factory=Seconds)

    def add(self, other: ShardResult) -> None:
        """Count what a part of the shard gave; its pairs and their checksum are the caller's."""
        self.cut_captions += other.cut_captions
        self.rejects += other.rejects
        for name, value in vars(other.seconds).items():
            setattr(self.seconds, name, getattr(self.seconds, name) + value)

    def record(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "pairs": self.pairs,
            "cut_captions": self.cut_captions,
            "checksum": self.checksum,
            "seconds": vars(self.seconds),
        }


def blocks_of(shard: Shard, options: CaptionOptions | None, result: ShardResult) -> Iterator[list[Pair]]:
    """The pairs of a shard `in_blocks`; options None: captions without pictures. Raises what `read_pairs` raises."""
    return in_blocks(read_captions(shard) if options is None else read_pairs(shard, options), result)


def in_blocks(pairs: Iterable[Pair | Reject], result: ShardResult) -> Iterator[list[Pair]]:
    """Blocks of at most `BLOCK_PAIRS` pairs and about `BLOCK_BYTES` bytes; `result` gets the rejects among them."""
    block: list[Pair] = []
    held = 0
    start = time.perf_counter()
    for pair in pairs:
        if isinstance(pair, Reject):
            result.rejects.append(pair)
            continue
        block.append(pair)
        held += len(pair.image) + sum(len(caption) for caption in pair.captions)
        if len(block) == BLOCK_PAIRS or held >= BLOCK_BYTES:
            result.seconds.read += time.perf_counter() - start
            yield block
            block, held = [], 0
            start = time.perf_counter()
    result.seconds.read += time.perf_counter() - start
    if block:
        yield block


@dataclass(frozen=True)
class Encoded:
    """Good pairs of a block in order, their concepts, and what gives their vectors, float16 [pairs, D], once they are
    there. counted: what of it `ShardResult.add` adds to that of the shard. computed: then, seconds of an accelerator
    for them.
    """

    pairs: list[Pair]
    concepts: list[list[str]]
    texts: Callable[[], np.ndarray]
    pictures: Callable[[], np.ndarray]
    counted: ShardResult = field(default_factory=ShardResult)
    computed: Callable[[], float] = float


@dataclass(frozen=True)
class Naming:
    """What names the concepts of pairs: an extractor, and the only concepts to keep, if there are such."""

    extractor: ConceptExtractor
    vocabulary: frozenset[str] | None = None

    def concepts(self, pairs: Sequence[Pair], result: ShardResult) -> list[list[str]]:
        """Concepts of each pair, those of all its captions; `result` counts captions that were cut, and seconds."""
        start = time.perf_counter()
        options = self.extractor.options
        heads_first = language_of(options.language).heads_first
        captions = [caption for pair in pairs for caption in pair.captions]
        result.cut_captions += sum(len(caption) > options.max_chars for caption in captions)
        found = iter(self.extractor.extract(captions))
        concepts: list[list[str]] = []
        for pair in pairs:
            merged = dict.fromkeys(concept for _ in pair.captions for concept in next(found))
            listed = keep_listed(merged, self.vocabulary, heads_first) if self.vocabulary else merged
            concepts.append(list(dict.fromkeys(listed)))
        result.seconds.concepts += time.perf_counter() - start
        return concepts

    def texts(self, pairs: Iterable[Pair]) -> list[str]:
        """What of each pair is embedded as its text: its first caption, cut."""
        return [pair.captions[0][: self.extractor.options.max_chars] for pair in pairs]
