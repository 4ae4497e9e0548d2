"""The catalogue of a curated folder: which pairs have which concepts, so that a page is a slice and not a search.

A pair has a number: its row in the table of its shard, after all those of the shards before. The pairs of a concept
stand together, best score first, so that any page of them is found at once. It is made when a folder is first explored,
from the tables alone, and kept beside them as memory-mapped arrays; other tables get another catalogue.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.curated.shown import PAIRS_AT_ONCE, ROWS_AT_ONCE, read_words, table_batches
from curation.runs.parquet_parts import count_rows, reading
from files.atomic import UNFINISHED, unfinished
from files.errors import CocuError, MisuseError
from files.npy import load_npy

CACHE = ".explorer"
WHICH = ("recovered", "named")
_ARRAYS = ("starts", "rows", *(f"{which}_{part}" for which in WHICH for part in ("ends", "pairs", "score")))


@dataclass(frozen=True)
class Catalogue:
    """N pairs of S shards, C concepts, R rows of archives.

    folder: of the curation; cache: where what is made of it is kept. shards: names; words: the concepts, by their
    number. starts int64 [S + 1]: first pair of each shard. rows int64 [N + 1]: first row of each pair's archive, over
    all shards. recovered, named: the pairs of each concept, by whether their caption names it.
    """

    folder: Path
    cache: Path
    shards: tuple[str, ...]
    words: list[str]
    starts: np.ndarray
    rows: np.ndarray
    recovered: Postings
    named: Postings

    def __len__(self) -> int:
        return len(self.rows) - 1

    def place(self, pair: int) -> tuple[str, int]:
        """Shard of a pair, and its row there."""
        shard = int(np.searchsorted(self.starts, pair, "right")) - 1
        return self.shards[shard], pair - int(self.starts[shard])

    def start(self, shard: str) -> int:
        """The first pair of a shard."""
        return int(self.starts[self._shard_number[shard]])

    @cached_property
    def _shard_number(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.shards)}

    @cached_property
    def concept(self) -> dict[str, int]:
        """Number of a concept, by its word."""
        return {word: number for number, word in enumerate(self.words)}


@dataclass(frozen=True)
class Postings:
    """The pairs of each concept, best first: ends int64 [C + 1], pairs uint32 [P]; score float32 [C]: its mean."""

    ends: np.ndarray
    pairs: np.ndarray
    score: np.ndarray

    def of(self, concept: int) -> np.ndarray:
        """uint32 [pairs of it]."""
        return self.pairs[self.ends[concept] : self.ends[concept + 1]]

    @cached_property
    def counts(self) -> np.ndarray:
        """How many pairs each concept has, int64 [C]."""
        return np.diff(self.ends)


def open_catalogue(curated: Path, scratch: Path | None = None) -> Catalogue:
    """The catalogue of a curated folder, made if need be.

    scratch: where it is kept if the folder cannot be written. Raises CocuError for tables that are broken or do not
    belong together, MisuseError where there are none.
    """
    shards = tuple(sorted(path.stem for path in (curated / "tables" / "pairs").glob("*.parquet")))
    if not shards:
        raise MisuseError(f"{curated}: tables/pairs/*.parquet is missing; curate into a new folder")
    cache = curated / CACHE / _digest(curated, shards)
    if not _is_whole(cache):
        with suppress(OSError):
            _write(curated, shards, cache)
        if not _is_whole(cache):
            if scratch is None:
                raise CocuError(f"{cache}: cannot be written; make {curated} writable")
            cache = scratch / cache.name
            _write(curated, shards, cache)
    with reading(cache):
        arrays = {name: load_npy(cache / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    postings = (Postings(*(arrays[f"{which}_{part}"] for part in ("ends", "pairs", "score"))) for which in WHICH)
    words = read_words(curated).to_pylist()
    return Catalogue(curated, cache, shards, words, arrays["starts"], arrays["rows"], *postings)


def _digest(curated: Path, shards: tuple[str, ...]) -> str:
    """Of the tables, by their sizes and times."""
    tables = curated / "tables"
    names = [f"{kind}/{shard}.parquet" for kind in ("pairs", "archives") for shard in shards]
    found = sha256()
    for path in (tables / name for name in ("concepts.parquet", *names)):
        with reading(path):
            status = path.stat()
        found.update(f"{path.name}/{status.st_size}/{status.st_mtime_ns};".encode())
    return found.hexdigest()[:16]


def _is_whole(cache: Path) -> bool:
    return all((cache / f"{name}.npy").is_file() for name in _ARRAYS)


def shard_keys(curated: Path, shard: str) -> pa.Array:
    """The keys of a shard's pairs, in the order of its table."""
    parts = [batch["key"] for batch in table_batches(curated, "pairs", shard, ("key",), PAIRS_AT_ONCE)]
    return pa.chunked_array(parts, pa.string()).combine_chunks()


# How it is made.


def _write(curated: Path, shards: tuple[str, ...], cache: Path) -> None:
    """Make it beside its place, then move it there, and remove those of other tables; who comes second leaves it."""
    arrays = _arrays(curated, shards)
    if not _is_whole(cache):  # of one that was removed while it was in use, pictures may have come again
        shutil.rmtree(cache, ignore_errors=True)
    temporary = unfinished(cache)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        with suppress(OSError):
            os.rename(temporary, cache)
            for other in cache.parent.iterdir():
                if other != cache and not UNFINISHED.fullmatch(other.name):
                    shutil.rmtree(other, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _arrays(curated: Path, shards: tuple[str, ...]) -> dict[str, np.ndarray]:
    concepts = len(read_words(curated))
    sizes = [count_rows(curated / "tables" / "pairs" / f"{shard}.parquet") for shard in shards]
    starts = np.cumsum([0, *sizes])
    counts = np.zeros(starts[-1], np.int32)
    parts: list[tuple[np.ndarray, ...]] = []
    for shard, start in zip(shards, starts.tolist(), strict=False):
        for pair, *columns in _archive_rows(curated, shard):
            np.add.at(counts, (pair + start)[_heads(pair)], _runs(pair))
            if len(pair) and not 0 <= columns[0].min() <= columns[0].max() < concepts:
                path = curated / "tables" / "archives" / f"{shard}.parquet"
                raise CocuError(f"{path}: a concept_id that concepts.parquet has not; curate into a new folder")
            parts.append(((pair + start).astype(np.uint32), *columns))
    none = (np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0, np.float32))
    pair, concept, named, score = (np.concatenate(column) for column in zip(none, *parts, strict=True))
    made = {"starts": starts, "rows": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])}
    for which, chosen in (("recovered", ~named), ("named", named)):
        of, pairs, scores = concept[chosen], pair[chosen], score[chosen]
        number = np.bincount(of, minlength=concepts)
        made[f"{which}_ends"] = np.concatenate([[0], np.cumsum(number)])
        made[f"{which}_pairs"] = pairs[np.argsort(_by_concept_then_score(of, scores), kind="stable")]
        known = np.isfinite(scores)
        total = np.bincount(of[known], scores[known], concepts)
        made[f"{which}_score"] = (total / np.maximum(np.bincount(of[known], minlength=concepts), 1)).astype(np.float32)
    return made


def _by_concept_then_score(concept: np.ndarray, score: np.ndarray) -> np.ndarray:
    """uint64 that ascend by concept, and by falling score within one: the bits of a float ascend as it does."""
    bits = np.ascontiguousarray(score, np.float32).view(np.uint32)
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (concept.astype(np.uint64) << np.uint64(32)) | (~ascending)


def _archive_rows(curated: Path, shard: str) -> Iterator[tuple[np.ndarray, ...]]:
    """The rows of a shard's archives: pair in it int64, concept_id int32, in_caption bool, score float32.

    They come pair by pair, in the order of the pairs, of which some have none.
    """
    keys = shard_keys(curated, shard)
    path = curated / "tables" / "archives" / f"{shard}.parquet"
    last = -1
    columns = ("key", "concept_id", "in_caption", "score")
    for batch in table_batches(curated, "archives", shard, columns, ROWS_AT_ONCE, holes=("score",)):
        key = batch["key"]
        opens = np.ones(len(key), bool)
        opens[1:] = pc.not_equal(key.slice(1), key.slice(0, len(key) - 1)).to_numpy(zero_copy_only=False)
        heads = pc.index_in(key.filter(pa.array(opens)), keys)
        owner = pc.fill_null(heads, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        # A pair's rows may go on in the next batch.
        if len(owner) and not (owner[0] >= max(last, 0) and (np.diff(owner) > 0).all()):
            raise CocuError(f"{path}: not of the pairs of tables/pairs, or in another order; curate into a new folder")
        last = int(owner[-1]) if len(owner) else last
        concept, named, score = (batch[name] for name in ("concept_id", "in_caption", "score"))
        yield (
            np.repeat(owner, np.diff(np.append(np.flatnonzero(opens), len(opens)))),
            concept.to_numpy(zero_copy_only=False).astype(np.int32),
            named.to_numpy(zero_copy_only=False).astype(bool),
            np.nan_to_num(score.to_numpy(zero_copy_only=False).astype(np.float32), nan=-np.inf),
        )


def _heads(pair: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(pair, prepend=-1))


def _runs(pair: np.ndarray) -> np.ndarray:
    return np.diff(np.append(_heads(pair), len(pair))).astype(np.int32)
