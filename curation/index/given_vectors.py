"""`cocu index build --embeddings`: vectors that others made take the place of the encoder's pass over pictures.

Alone, their tables say what the pairs are. Beside shards the pairs are the shards', and find their vectors by key.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from curation.concepts.extractor import ConceptExtractor
from curation.encoding.encoder import Encoder
from curation.index.blocks import BLOCK_PAIRS, Encoded, Naming, ShardResult, in_blocks
from curation.index.embedding import write_blocks
from curation.index.identity import name_hashes
from curation.reading.embeddings import EmbeddedPair, EmbeddedPart
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, read_pairs
from curation.reading.tars import sibling_column
from curation.runs.each_shard import each_shard
from curation.runs.run_folder import RunFolder
from curation.runs.shard_stage import ShardStage
from curation.runs.spread import Advance, Done
from files.errors import MisuseError
from files.npy import let_go
from files.pictures import BadPicture
from files.rejects import Reject
from files.saying import say
from files.vector_files import VectorFile

# So far from unit length a float16 vector is by its rounding alone; others are brought to it.
ROUNDED = 1e-3
# The same model gives a picture or a text, saved and shrunk by others as it may be, a vector that agrees so well.
AGREES = 0.99
SAMPLE, SAMPLED_SHARDS, LOOKED_AT = 32, 4, 500
SEED = 0


@dataclass(frozen=True)
class GivenVectors:
    """A folder of embeddings. matched: it stands beside shards, whose pairs find their vectors by key.

    captions: how the captions of the pairs are read.
    """

    folder: Path
    parts: Sequence[EmbeddedPart]
    matched: bool
    captions: CaptionOptions

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)

    def parameters(self) -> dict[str, Any]:
        """What a manifest says of it. files: a digest of the names and sizes of its files."""
        paths = sorted({path for part in self.parts for path in (part.images, part.texts) if path})
        sizes = [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in paths]
        digest = hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]
        return {"folder": str(self.folder), "files": digest, "matched": self.matched}

    def pairs(self, shard: Shard) -> Iterator[EmbeddedPair | Reject]:
        """The pairs of a shard, or of a part, without their pictures. Raises as `read_pairs`."""
        if not self.matched:
            yield from next(part for part in self.parts if part.table.url == shard.url).pairs(self.captions)
            return
        read = read_pairs(shard, self.captions)
        while block := [_without_picture(pair) for pair in islice(read, BLOCK_PAIRS)]:
            rows = iter(self.rows_of(shard, [pair.key for pair in block if isinstance(pair, Pair)]))
            yield from (pair if isinstance(pair, Reject) else self._found(pair, next(rows)) for pair in block)

    def rows_of(self, shard: Shard, keys: Sequence[str]) -> np.ndarray:
        """Rows of pairs of a shard, as `Keys.rows_of`: by key, else by uid, of which img2dataset writes a table."""
        rows = self.keys.rows_of(keys)
        if (rows == -1).any() and (uids := _uids(shard.url)):
            rows = np.where(rows == -1, self.keys.rows_of([str(uids.get(key, "")) for key in keys]), rows)
        return rows

    def vectors(self, rows: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Of pictures and of captions of these rows, float16 [N, dim]: unit vectors, 0 where one is no vector.

        NaN for captions that have none. Raises as `EmbeddedPart.vectors`.
        """
        place = np.searchsorted([part.start for part in self.parts], rows, "right") - 1
        found = tuple(np.full((len(rows), dim), np.nan, np.float16) for _ in range(2))
        for number in np.unique(place):
            here = place == number
            for vectors, file in zip(found, _files(self.parts[number], dim), strict=True):
                if file is not None:
                    opened = _opened(file)
                    vectors[here] = unit_vectors(np.asarray(opened)[rows[here] - self.parts[number].start])
                    let_go(opened)
        return found[0], found[1]

    @cached_property
    def keys(self) -> Keys:
        """The keys of all parts, read once."""
        say(f"{self.folder}: reading the keys of {self.rows:,} embeddings")
        return Keys.of(part.pairs(self.captions_of_tables) for part in self.parts)

    @property
    def captions_of_tables(self) -> CaptionOptions:
        """How the tables' own captions are read beside shards, whose options name other fields."""
        return CaptionOptions() if self.matched else self.captions

    def _found(self, pair: Pair, row: int) -> EmbeddedPair | Reject:
        if row < 0:
            several = "several embeddings have its key" if row == SEVERAL else "no embedding has its key"
            return Reject(pair.key, f"no embedding: {several}")
        told = bool(self.keys.texts[row] == _text_hash(pair.captions[0]))
        return EmbeddedPair(pair.key, b"", pair.captions, pair.checksum, pair.name, row, told)


SEVERAL = -2


@dataclass(frozen=True)
class Keys:
    """Which row a key has. hashes uint64 in ascending order, rows of them; texts: of all rows, the captions' hashes."""

    hashes: np.ndarray
    rows: np.ndarray
    texts: np.ndarray

    @classmethod
    def of(cls, parts: Iterable[Iterable[EmbeddedPair | Reject]]) -> Keys:
        """The keys of pairs; rows that are rejects have none. Memory: 24 bytes for each."""
        hashes, rows, texts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for part in parts:
            pairs = (pair for pair in part if isinstance(pair, EmbeddedPair))
            while block := list(islice(pairs, BLOCK_PAIRS)):
                hashes.append(name_hashes(pair.key for pair in block))
                rows.append(np.array([pair.row for pair in block], np.int64))
                texts.append(np.array([_text_hash(pair.captions[0]) for pair in block], np.uint64))
        joined, places = np.concatenate(hashes), np.concatenate(rows)
        by_row = np.zeros(int(places.max(initial=-1)) + 1, np.uint64)
        by_row[places] = np.concatenate(texts)
        order = np.argsort(joined, kind="stable")
        return cls(joined[order], places[order], by_row)

    def rows_of(self, keys: Sequence[str]) -> np.ndarray:
        """Rows int64 [N] of keys, -1 of an unknown one, SEVERAL of one that several rows have."""
        wanted = name_hashes(keys)
        first, last = (np.searchsorted(self.hashes, wanted, side) for side in ("left", "right"))
        found = np.where(first < last, np.append(self.rows, -1)[first], -1)
        return np.where(last - first > 1, SEVERAL, found)


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, D] of any length -> float16 unit vectors, those of float16 that are such as they are; 0 for none."""
    wide = np.asarray(vectors, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(wide, axis=1, keepdims=True)
        good = np.isfinite(lengths) & (lengths > 0)
        scale = np.where(np.abs(lengths - 1) < ROUNDED, 1, lengths)
        return np.where(good, wide / np.where(good, scale, 1), 0).astype(np.float16)


def embed_all_given(
    folder: RunFolder,
    given: GivenVectors,
    shards: Sequence[Shard],
    encoder: Encoder,
    extractor: ConceptExtractor,
    vocabulary: frozenset[str] | None,
) -> None:
    """As `embed_all`, by vectors that are there. Raises as `check_encoder`, too, before anything is written."""
    check_encoder(given, encoder, shards, extractor.options.max_chars)

    def embed(shard: Shard, advance: Advance) -> Done:
        out = folder.path / "embeddings" / f"{shard.name}.parquet"
        result = embed_given(given, shard, out, encoder, Naming(extractor, vocabulary), advance)
        return result.record(), result.rejects

    each_shard(folder, "read", [ShardStage("take embeddings", "pairs", shards, embed, pairs=given.pairs)])


def embed_given(
    given: GivenVectors,
    shard: Shard,
    out: Path,
    encoder: Encoder,
    naming: Naming,
    advance: Callable[[int, float], None],
) -> ShardResult:
    """As `embed_shard`, with vectors that are there; captions that have none are embedded."""
    result = ShardResult()
    return write_blocks(_taken(given, shard, encoder, naming, result, advance), out, encoder.dim, result)


def _taken(
    given: GivenVectors,
    shard: Shard,
    encoder: Encoder,
    naming: Naming,
    result: ShardResult,
    advance: Callable[[int, float], None],
) -> Generator[Encoded, None, None]:
    """The blocks of a shard."""
    for pairs in in_blocks(given.pairs(shard), result):
        concepts = naming.concepts(pairs, result)
        start, forward = time.perf_counter(), encoder.seconds
        embedded = [pair for pair in pairs if isinstance(pair, EmbeddedPair)]
        images, texts = given.vectors(np.array([pair.row for pair in embedded]), encoder.dim)
        texts[[not pair.told for pair in embedded]] = np.nan
        good = images.any(1) & texts.any(1)
        result.rejects += [
            Reject(pairs[i].key, f"no vector: its {'caption' if images[i].any() else 'picture'}'s holds no number")
            for i in np.flatnonzero(~good)
        ]
        lacking = np.flatnonzero(good & np.isnan(texts[:, 0]))
        texts[lacking] = encoder.encode_texts(naming.texts(pairs[i] for i in lacking))
        result.seconds.encode += time.perf_counter() - start
        result.seconds.forward += encoder.seconds - forward
        kept = np.flatnonzero(good)
        ready = (partial(np.asarray, texts[kept]), partial(np.asarray, images[kept]))
        yield Encoded([pairs[i] for i in kept], [concepts[i] for i in kept], *ready)
        advance(len(pairs), 0 if given.matched else len(pairs))


def check_encoder(given: GivenVectors, encoder: Encoder, shards: Sequence[Shard], max_chars: int) -> None:
    """Say how well a sample of the vectors agrees with the encoder; pictures only where shards are at hand.

    Raises MisuseError where it is another model that made them.
    """
    for part in given.parts:
        part.vectors(encoder.dim)  # widths and counts are told before any work
    samples = {"captions": _sampled_texts(given, encoder, max_chars)}
    samples["pictures"] = _sampled_pictures(given, encoder, shards) if given.matched else np.zeros(0)
    medians = {what: of for what, of in samples.items() if len(of)}
    told = ", ".join(f"{float(np.median(of)):.3f} of {len(of)} {what}" for what, of in medians.items())
    if any(np.median(of) < AGREES for of in medians.values()):
        raise MisuseError(
            f"--embeddings {given.folder}: another model made them than {encoder.spec.model} "
            f"({encoder.spec.pretrained}): median cosine {told}, at least {AGREES} is needed; "
            "name their model with --model and --pretrained"
        )
    missing = [what for what in ("captions", "pictures") if what not in medians]
    unchecked = f"; not checked: {' and '.join(missing)}, of which none is at hand with its vector" if missing else ""
    found = f"made by that model: median cosine {told}" if told else "taken for made by that model"
    say(f"{given.folder}: {found}{unchecked}")


def _sampled_texts(given: GivenVectors, encoder: Encoder, max_chars: int) -> np.ndarray:
    """Cosines of some captions' vectors with the encoder's."""
    with_texts = [part for part in given.parts if part.texts and part.rows]
    cosines = [np.zeros(0)]
    for number in np.linspace(0, len(with_texts) - 1, min(SAMPLED_SHARDS, len(with_texts))).astype(int):
        pairs = (one for one in with_texts[number].pairs(given.captions_of_tables) if isinstance(one, EmbeddedPair))
        some = list(islice(pairs, SAMPLE // SAMPLED_SHARDS))
        _, vectors = given.vectors(np.array([pair.row for pair in some], np.int64), encoder.dim)
        cosines.append(_cosines(vectors, encoder.encode_texts([pair.captions[0][:max_chars] for pair in some])))
    return np.concatenate(cosines)


def _sampled_pictures(given: GivenVectors, encoder: Encoder, shards: Sequence[Shard]) -> np.ndarray:
    """Cosines of some pictures' vectors with the encoder's."""
    cosines = [np.zeros(0)]
    for number in np.linspace(0, len(shards) - 1, min(SAMPLED_SHARDS, len(shards))).astype(int):
        read = islice(read_pairs(shards[number], given.captions), LOOKED_AT)
        known = (pair for pair in read if isinstance(pair, Pair) and given.rows_of(shards[number], [pair.key])[0] >= 0)
        seen = list(encoder.encode_pictures((p.key, p.image) for p in islice(known, SAMPLE // SAMPLED_SHARDS)))
        if good := [(key, vector) for key, vector in seen if not isinstance(vector, BadPicture)]:
            images, _ = given.vectors(given.rows_of(shards[number], [key for key, _ in good]), encoder.dim)
            cosines.append(_cosines(images, np.stack([vector for _, vector in good])))
    return np.concatenate(cosines)


def _cosines(given: np.ndarray, made: np.ndarray) -> np.ndarray:
    good = given.any(1) & np.isfinite(given[:, 0])
    return (given[good].astype(np.float32) * made[good].astype(np.float32)).sum(1)


def _without_picture(pair: Pair | Reject) -> Pair | Reject:
    return pair if isinstance(pair, Reject) else replace(pair, image=b"")


def _text_hash(caption: str) -> int:
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest(), "little")


@lru_cache(maxsize=1)
def _uids(shard: str) -> dict[str, str]:
    return sibling_column(shard, ("uid",))


@lru_cache(maxsize=1024)
def _files(part: EmbeddedPart, dim: int) -> tuple[VectorFile, VectorFile | None]:
    return part.vectors(dim)


@lru_cache(maxsize=4)
def _opened(file: VectorFile) -> np.ndarray:
    """Its vectors; unpacked ones are kept for the next rows of the same file."""
    return file.read()
