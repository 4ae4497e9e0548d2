"""Shard -> `embeddings/SHARD.parquet`: key, caption, concepts and the two unit vectors of every good pair."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.languages import language_of
from curation.concepts.listed import keep_listed
from curation.encoding.encoder import Encoder
from curation.reading.captioned_tables import table_key
from curation.reading.pairs import CaptionOptions, Pair, checksum_of
from curation.reading.shards import Shard, read_captions, read_pairs
from curation.runs.each_shard import ShardStage, each_shard
from curation.runs.parquet_parts import vectors_to_arrow
from curation.runs.prefetch import ahead
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from files.atomic import atomic
from files.pictures import BadPicture
from files.rejects import Reject

BLOCK_PAIRS = 1024
BLOCK_BYTES = 128 << 20


@dataclass
class Seconds:
    """Wall seconds of the parts of the stage."""

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

    def record(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "pairs": self.pairs,
            "cut_captions": self.cut_captions,
            "checksum": self.checksum,
            "seconds": vars(self.seconds),
        }


def schema(dim: int) -> pa.Schema:
    """Columns of an embeddings file. `image` names the picture that the caption belongs to, null where unknown."""
    vector = pa.list_(pa.float16(), dim)
    return pa.schema(
        [
            ("key", pa.string()),
            ("image", pa.string()),
            ("caption", pa.string()),
            ("concepts", pa.list_(pa.string())),
            ("image_vec", vector),
            ("text_vec", vector),
        ]
    )


def embed_all(
    folder: RunFolder,
    shards: Sequence[Shard],
    extra: Sequence[Shard],
    encoder: Encoder,
    extractor: ConceptExtractor,
    captions: CaptionOptions,
    vocabulary: frozenset[str] | None,
) -> None:
    """Embed the shards that are not done: those of pairs, then those of captions alone.

    Raises CocuError for those that cannot be had, after all others.
    """

    def embed(options: CaptionOptions | None, shard: Shard, bar: Progress) -> tuple[dict[str, Any], list[Reject]]:
        out = folder.path / "embeddings" / f"{shard.name}.parquet"
        result = embed_shard(shard, out, encoder, extractor, options, vocabulary, bar.advance)
        return result.record(), result.rejects

    pairs = ShardStage("embed pairs", "pairs", shards, partial(embed, captions))
    each_shard(folder, "read", (pairs, ShardStage("embed extra captions", "captions", extra, partial(embed, None))))


def embed_shard(
    shard: Shard,
    out: Path,
    encoder: Encoder,
    extractor: ConceptExtractor,
    options: CaptionOptions | None,
    vocabulary: frozenset[str] | None = None,
    advance: Callable[[int, float], None] = lambda pairs, weight: None,
) -> ShardResult:
    """Embed the pairs of a shard into `out`, block by block; with options None, captions without pictures.

    Concepts and pictures of a block are worked one after the other on a CPU, where they would only take the cores
    from each other; with a GPU the next block is read and parsed while this one is encoded.

    advance: called after each batch of pictures with their number and about their part of `shard.size`.
    """
    result = ShardResult()
    pairs_in = read_captions(shard) if options is None else read_pairs(shard, options)
    blocks = _parsed(_blocks(pairs_in, result), extractor, vocabulary, result)
    if encoder.device.type == "cuda":
        blocks = ahead(blocks)
    columns = schema(encoder.dim)
    with atomic(out) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for pairs, concepts in blocks:
            start, forward = time.perf_counter(), encoder.seconds
            if options is None:
                kept, image_vectors = list(range(len(pairs))), pa.nulls(len(pairs), columns.field("image_vec").type)
            else:
                kept, image_vectors = _encode_pictures(pairs, encoder, result, shard, advance)
            texts = [pairs[i].captions[0] for i in kept]
            text_vectors = encoder.encode_texts([text[: extractor.options.max_chars] for text in texts])
            result.seconds.encode += time.perf_counter() - start
            result.seconds.forward += encoder.seconds - forward
            start = time.perf_counter()
            if kept:
                keys = [pairs[i].key for i in kept]
                images = [(pairs[i].picture if options else table_key(pairs[i].image.decode())) or None for i in kept]
                named = [concepts[i] for i in kept]
                arrays = [pa.array(c, t) for c, t in zip((keys, images, texts, named), columns.types, strict=False)]
                arrays += [image_vectors, vectors_to_arrow(text_vectors)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=columns))
            result.pairs += len(kept)
            for i, text in zip(kept, texts, strict=True):
                if options is None:
                    result.checksum = zlib.crc32(text.encode(), result.checksum)
                else:
                    result.checksum = checksum_of(pairs[i].checksum, result.checksum)
            result.seconds.write += time.perf_counter() - start
            if options is None:
                advance(len(pairs), len(pairs))
    return result


def _blocks(pairs: Iterable[Pair | Reject], result: ShardResult) -> Iterator[list[Pair]]:
    """Blocks of at most `BLOCK_PAIRS` pairs and about `BLOCK_BYTES` bytes: what bounds the memory of the stage."""
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


def _parsed(
    blocks: Iterable[list[Pair]],
    extractor: ConceptExtractor,
    vocabulary: frozenset[str] | None,
    result: ShardResult,
) -> Iterator[tuple[list[Pair], list[list[str]]]]:
    heads_first = language_of(extractor.options.language).heads_first
    for pairs in blocks:
        start = time.perf_counter()
        captions = [caption for pair in pairs for caption in pair.captions]
        result.cut_captions += sum(len(caption) > extractor.options.max_chars for caption in captions)
        found = iter(extractor.extract(captions))
        concepts: list[list[str]] = []
        for pair in pairs:
            merged = dict.fromkeys(concept for _ in pair.captions for concept in next(found))
            concepts.append(
                list(dict.fromkeys(keep_listed(merged, vocabulary, heads_first))) if vocabulary else list(merged)
            )
        result.seconds.concepts += time.perf_counter() - start
        yield pairs, concepts


def _encode_pictures(
    pairs: Sequence[Pair], encoder: Encoder, result: ShardResult, shard: Shard, advance: Callable[[int, float], None]
) -> tuple[list[int], pa.Array | None]:
    """(places of the pairs whose pictures are good, their vectors)."""
    kept: list[int] = []
    vectors: list[np.ndarray] = []
    counted = 0
    for i, (key, found) in enumerate(encoder.encode_pictures((pair.key, pair.image) for pair in pairs)):
        if isinstance(found, BadPicture):
            result.rejects.append(Reject(key, str(found)))
        else:
            kept.append(i)
            vectors.append(found)
        if i + 1 - counted == encoder.batch_size or i + 1 == len(pairs):
            advance(i + 1 - counted, shard.reader.weight(pairs[counted : i + 1]))
            counted = i + 1
    return kept, vectors_to_arrow(np.stack(vectors)) if vectors else None
