"""Shard -> `embeddings/SHARD.parquet`: key, caption, concepts and the two unit vectors of every good pair."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.blocks import Encoded, Naming, ShardResult, blocks_of
from curation.index.feed import Feed, encoded_blocks
from curation.reading.pairs import CaptionOptions, Pair, checksum_of
from curation.reading.shards import Shard, read_captions, read_pairs
from curation.runs.each_shard import each_shard
from curation.runs.parquet_parts import vectors_to_arrow
from curation.runs.prefetch import ahead
from curation.runs.run_folder import RunFolder
from curation.runs.shard_stage import ShardStage
from curation.runs.spread import Advance, Done, Seat, Work
from curation.runs.team import ALONE, WorkingTeam
from files.atomic import atomic
from files.picture_tables import table_key
from files.pictures import BadPicture
from files.rejects import Reject

# Devices that leave the cores to what feeds them.
FED = ("cuda",)


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
    crew: WorkingTeam = ALONE,
    decoder: str = "cpu",
) -> None:
    """Embed the shards that are not done: those of pairs, then those of captions alone.

    On a CPU the threads and processes of `encoder` and `extractor` work beside the towers, which need its cores; an
    accelerator is fed by processes of its own. crew: whose workers, if it has any, share the shards, with encoders of
    their own, of this `decoder`. Raises CocuError for shards that cannot be had, after all others.
    """
    with ExitStack() as stack:
        feed: Feed | None = None
        tasks = [(shard, captions) for shard in shards] + [(shard, None) for shard in extra]
        left = [(shard, options) for shard, options in tasks if not folder.done(shard.name)]
        if left and encoder.device.type in FED and not crew.gather:
            feed = stack.enter_context(Feed(left, encoder, Naming(extractor, vocabulary), encoder.workers))

        def embed(options: CaptionOptions | None, shard: Shard, advance: Advance) -> Done:
            out = folder.path / "embeddings" / f"{shard.name}.parquet"
            result = embed_shard(shard, out, encoder, extractor, options, vocabulary, advance, feed)
            return result.record(), result.rejects

        how = (encoder.spec, crew.device, encoder.batch_size, crew.workers, decoder)
        made = (folder.path, *how, extractor.options, vocabulary)
        names = (("embed pairs", "pairs", shards, captions), ("embed extra captions", "captions", extra, None))
        stages = [
            ShardStage(
                name, unit, some, partial(embed, options), partial(_elsewhere, options, *made), partial(_read, options)
            )
            for name, unit, some, options in names
        ]
        each_shard(folder, "read", stages, crew.gather)


def _read(options: CaptionOptions | None, shard: Shard) -> Iterator[Pair | Reject]:
    return read_captions(shard) if options is None else read_pairs(shard, options)


@contextmanager
def _elsewhere(
    options: CaptionOptions | None,
    out: Path,
    encoder: EncoderSpec,
    device: str,
    batch_size: int,
    workers: int | None,
    decoder: str,
    nouns: NounOptions,
    vocabulary: frozenset[str] | None,
    seat: Seat,
) -> Iterator[Work]:
    """What embeds in a worker: with its share of the cores, and fed by processes of its own on an accelerator."""
    seat.share_of_threads()
    opened = Encoder(encoder, device, batch_size, seat.share(workers), decoder=decoder)
    with ConceptExtractor(nouns) as extractor, ExitStack() as stack:

        def embed(shard: Shard, advance: Advance, feed: Feed | None = None) -> Done:
            path = out / "embeddings" / f"{shard.name}.parquet"
            result = embed_shard(shard, path, opened, extractor, options, vocabulary, advance, feed)
            return result.record(), result.rejects

        if opened.device.type in FED:
            feed = stack.enter_context(Feed((), opened, Naming(extractor, vocabulary), opened.workers))
            yield _Fed(partial(embed, feed=feed), lambda shard: feed.ask(shard, options))
        else:
            yield embed


@dataclass(frozen=True)
class _Fed:
    """A `Work` that is fed: the next shard is made ready while one is embedded."""

    work: Work
    soon: Callable[[Shard], None]

    def __call__(self, shard: Shard, advance: Advance) -> Done:
        return self.work(shard, advance)


def embed_shard(
    shard: Shard,
    out: Path,
    encoder: Encoder,
    extractor: ConceptExtractor,
    options: CaptionOptions | None,
    vocabulary: frozenset[str] | None = None,
    advance: Callable[[int, float], None] = lambda pairs, weight: None,
    feed: Feed | None = None,
) -> ShardResult:
    """Embed the pairs of a shard into `out`, block by block; with options None, captions without pictures.

    advance: called after each batch of pictures with their number and about their part of `shard.size`.
    feed: makes its pairs ready in other processes; a block is then written while the next is encoded.
    """
    result = ShardResult()
    if feed is None:
        blocks = _encoded_here(shard, encoder, Naming(extractor, vocabulary), options, result, advance)
    else:
        blocks = ahead(encoded_blocks(feed, shard, encoder, advance))
    return write_blocks(blocks, out, encoder.dim, result, options is not None)


def write_blocks(
    blocks: Generator[Encoded, None, None], out: Path, dim: int, result: ShardResult, pictures: bool = True
) -> ShardResult:
    """Write blocks of vectors [., dim], and close them, into `out`; what they count comes into `result`.

    pictures: whether the pairs have some.
    """
    columns = schema(dim)
    with (
        closing(blocks),
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, columns, compression="zstd") as writer,
    ):
        for block in blocks:
            result.add(block.counted)
            if not block.pairs:
                continue
            start = time.perf_counter()
            text_vectors = vectors_to_arrow(block.texts())
            nothing = pa.nulls(len(block.pairs), columns.field("image_vec").type)
            image_vectors = vectors_to_arrow(block.pictures()) if pictures else nothing
            fetched = time.perf_counter()
            keys = [pair.key for pair in block.pairs]
            texts = [pair.captions[0] for pair in block.pairs]
            images = [(pair.picture if pictures else table_key(pair.image.decode())) or None for pair in block.pairs]
            named = zip((keys, images, texts, block.concepts), columns.types, strict=False)
            arrays = [*(pa.array(column, kind) for column, kind in named), image_vectors, text_vectors]
            writer.write_table(pa.Table.from_arrays(arrays, schema=columns))
            result.pairs += len(block.pairs)
            for pair, text in zip(block.pairs, texts, strict=True):
                if pictures:
                    result.checksum = checksum_of(pair.checksum, result.checksum)
                else:
                    result.checksum = zlib.crc32(text.encode(), result.checksum)
            result.seconds.encode += fetched - start
            result.seconds.forward += block.computed()
            result.seconds.write += time.perf_counter() - fetched
    return result


def _encoded_here(
    shard: Shard,
    encoder: Encoder,
    naming: Naming,
    options: CaptionOptions | None,
    result: ShardResult,
    advance: Callable[[int, float], None],
) -> Generator[Encoded, None, None]:
    """The blocks of a shard, made by this process: concepts and pictures of a block are worked one after the other, as
    on a CPU they would only take the cores from each other.
    """
    for pairs in blocks_of(shard, options, result):
        concepts = naming.concepts(pairs, result)
        start, forward = time.perf_counter(), encoder.seconds
        kept, pictures = list(range(len(pairs))), np.zeros((0, encoder.dim), np.float16)
        if options is not None:
            kept, pictures = _encode_pictures(pairs, encoder, result, shard, advance)
        good = [pairs[i] for i in kept]
        texts = encoder.encode_texts(naming.texts(good))
        result.seconds.encode += time.perf_counter() - start
        result.seconds.forward += encoder.seconds - forward
        yield Encoded(good, [concepts[i] for i in kept], partial(np.asarray, texts), partial(np.asarray, pictures))
        if options is None:
            advance(len(pairs), len(pairs))


def _encode_pictures(
    pairs: Sequence[Pair], encoder: Encoder, result: ShardResult, shard: Shard, advance: Callable[[int, float], None]
) -> tuple[list[int], np.ndarray]:
    """(places of the pairs whose pictures are good, their vectors)."""
    kept: list[int] = []
    vectors: list[np.ndarray] = [np.zeros((0, encoder.dim), np.float16)]
    counted = 0
    for i, (key, found) in enumerate(encoder.encode_pictures((pair.key, pair.image) for pair in pairs)):
        if isinstance(found, BadPicture):
            result.rejects.append(Reject(key, str(found)))
        else:
            kept.append(i)
            vectors.append(found[None])
        if i + 1 - counted == encoder.batch_size or i + 1 == len(pairs):
            advance(i + 1 - counted, shard.reader.weight(pairs[counted : i + 1]))
            counted = i + 1
    return kept, np.concatenate(vectors)
