"""Shard -> `embeddings/SHARD.parquet`: key, caption, concepts and the two unit vectors of every good pair."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.listed import keep_listed
from curation.encoding.encoder import Encoder
from curation.reading.captioned_tables import caption_rows
from curation.reading.pairs import CaptionOptions, Pair, checked_captions, checksum_of, read_pairs
from curation.reading.shards import Shard
from curation.runs.parquet_parts import vectors_to_arrow
from curation.runs.prefetch import ahead
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from files.addresses import unreachable
from files.atomic import atomic
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture
from files.rejects import Reject
from files.saying import say

BLOCK_PAIRS = 1024
BLOCK_BYTES = 128 << 20
# Bytes of a tar that a pair takes besides its picture: two headers, a caption, padding.
TAR_BYTES = 2_300


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


def embed_shard(
    shard: Shard,
    out: Path,
    encoder: Encoder,
    extractor: ConceptExtractor,
    options: CaptionOptions,
    vocabulary: frozenset[str] | None = None,
    advance: Callable[[int, float], None] = lambda pairs, weight: None,
) -> ShardResult:
    """Embed the pairs of a shard into `out`, block by block.

    Concepts and pictures of a block are worked one after the other on a CPU, where they would only take the cores
    from each other; with a GPU the next block is read and parsed while this one is encoded.

    advance: called after each batch of pictures with their number and about their part of `shard.size`.
    """
    result = ShardResult()
    blocks = _parsed(_blocks(read_pairs(shard, options), result), extractor, vocabulary, result)
    if encoder.device.type == "cuda":
        blocks = ahead(blocks)
    with atomic(out) as temporary, pq.ParquetWriter(temporary, schema(encoder.dim), compression="zstd") as writer:
        for pairs, concepts in blocks:
            start, forward = time.perf_counter(), encoder.seconds
            kept, vectors = _encode_pictures(pairs, encoder, result, _counted(shard, advance))
            texts = [pairs[i].captions[0] for i in kept]
            text_vectors = encoder.encode_texts([text[: extractor.options.max_chars] for text in texts])
            result.seconds.encode += time.perf_counter() - start
            result.seconds.forward += encoder.seconds - forward
            start = time.perf_counter()
            if kept:
                keys = [pairs[i].key for i in kept]
                columns = [keys, keys, texts, [concepts[i] for i in kept]]
                arrays = [pa.array(c, t) for c, t in zip(columns, schema(encoder.dim).types, strict=False)]
                arrays += [vectors_to_arrow(np.stack(vectors)), vectors_to_arrow(text_vectors)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema(encoder.dim)))
            result.pairs += len(kept)
            for i in kept:
                result.checksum = checksum_of(pairs[i].checksum, result.checksum)
            result.seconds.write += time.perf_counter() - start
    return result


def embed_extra_captions(
    shard: Shard,
    out: Path,
    encoder: Encoder,
    extractor: ConceptExtractor,
    vocabulary: frozenset[str] | None = None,
    advance: Callable[[int, float], None] = lambda pairs, weight: None,
) -> ShardResult:
    """Embed captions that have no picture here; their `image_vec` is null."""
    result = ShardResult()
    columns = schema(encoder.dim)
    with atomic(out) as temporary, pq.ParquetWriter(temporary, columns, compression="zstd") as writer:
        for pairs, concepts in _parsed(_blocks(_captions(shard), result), extractor, vocabulary, result):
            start, forward = time.perf_counter(), encoder.seconds
            texts = [pair.captions[0] for pair in pairs]
            vectors = encoder.encode_texts([text[: extractor.options.max_chars] for text in texts])
            result.seconds.encode += time.perf_counter() - start
            result.seconds.forward += encoder.seconds - forward
            arrays = [
                pa.array([pair.key for pair in pairs], pa.string()),
                pa.array([Path(pair.image.decode()).stem or None for pair in pairs], pa.string()),
                pa.array(texts, pa.string()),
                pa.array(concepts, pa.list_(pa.string())),
                pa.nulls(len(pairs), columns.field("image_vec").type),
                vectors_to_arrow(vectors),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=columns))
            result.pairs += len(pairs)
            for text in texts:
                result.checksum = zlib.crc32(text.encode(), result.checksum)
            advance(len(pairs), len(pairs))
    return result


def _captions(shard: Shard) -> Iterator[Pair | Reject]:
    """Captions of a table as pairs that hold the name of their picture instead of the picture."""
    try:
        for row in caption_rows(shard):
            if isinstance(row, Reject):
                yield row
                continue
            captions = checked_captions(row.key, row.caption, False)
            yield captions if isinstance(captions, Reject) else Pair(row.key, (row.image or "").encode(), captions)
    except OSError as error:
        raise unreachable(shard.url, error) from error


def _counted(shard: Shard, advance: Callable[[int, float], None]) -> Callable[[Sequence[Pair]], None]:
    """`advance` of pairs by what they weigh in the shard."""

    def count(pairs: Sequence[Pair]) -> None:
        weight = len(pairs) if shard.is_table else sum(len(pair.image) + TAR_BYTES for pair in pairs)
        advance(len(pairs), weight)

    return count


def _encode_pictures(
    pairs: Sequence[Pair], encoder: Encoder, result: ShardResult, count: Callable[[Sequence[Pair]], None]
) -> tuple[list[int], list[np.ndarray]]:
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
            count(pairs[counted : i + 1])
            counted = i + 1
    return kept, vectors


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
    for pairs in blocks:
        start = time.perf_counter()
        captions = [caption for pair in pairs for caption in pair.captions]
        result.cut_captions += sum(len(caption) > extractor.options.max_chars for caption in captions)
        found = iter(extractor.extract(captions))
        concepts: list[list[str]] = []
        for pair in pairs:
            merged = dict.fromkeys(concept for _ in pair.captions for concept in next(found))
            concepts.append(list(dict.fromkeys(keep_listed(merged, vocabulary))) if vocabulary else list(merged))
        result.seconds.concepts += time.perf_counter() - start
        yield pairs, concepts


def embed_all(
    folder: RunFolder,
    shards: Sequence[Shard],
    extra: Sequence[Shard],
    encoder: Encoder,
    extractor: ConceptExtractor,
    captions: CaptionOptions,
    vocabulary: frozenset[str] | None,
) -> None:
    """Embed the shards that are not done. Raises CocuError for those that cannot be had, after all others."""
    failures: list[str] = []
    for stage, group in (("embed pairs", shards), ("embed extra captions", extra)):
        left = [shard for shard in group if not folder.done(shard.name)]
        if len(left) < len(group):
            say(f"{stage}: {len(group) - len(left)} of {len(group)} shards are done already")
        with Progress(stage, sum(shard.size for shard in left), "pairs" if group is shards else "captions") as bar:
            for shard in left:
                out = folder.path / "embeddings" / f"{shard.name}.parquet"
                end = bar.done + shard.size
                try:
                    if group is shards:
                        result = embed_shard(shard, out, encoder, extractor, captions, vocabulary, bar.advance)
                    else:
                        result = embed_extra_captions(shard, out, encoder, extractor, vocabulary, bar.advance)
                except MisuseError:  # a wrong option is wrong for all of them
                    raise
                except CocuError as error:
                    failures.append(str(error))
                    continue
                finally:
                    bar.advance(0, end - bar.done)  # the blocks' weights are estimates
                folder.commit(shard.name, result.record(), result.rejects)
    if failures:
        raise CocuError(
            f"{len(failures)} of {len(shards) + len(extra)} shards could not be read; the others are done and kept:\n  "
            + "\n  ".join(failures[:20])
            + (f"\n  ... and {len(failures) - 20} more" if len(failures) > 20 else "")
        )
