"""Pairs read back from a curated folder: by key, or a sample that stays the same; with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import duckdb

from curation.curated.sources import pictures_of
from files.errors import MisuseError

# Each shard opened for its pictures costs a walk over its headers.
SAMPLED_SHARDS = 4
_NEAREST = 3


@dataclass(frozen=True)
class RankedConcept:
    """One row of a pair's archive; support: how many retrieved captions name the concept.

    confidence: None where it is not told (`curation/ranking/confidence.py`).
    """

    concept: str
    rank: int
    score: float
    support: int
    cluster: int
    in_caption: bool
    confidence: float | None = None


@dataclass(frozen=True)
class CuratedPair:
    """One pair: its caption, the concepts that this names, and its archive, best first."""

    key: str
    shard: str
    caption: str
    caption_concepts: tuple[str, ...]
    archive: tuple[RankedConcept, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """Concepts that the caption names, by its own reading or by the archive's."""
        ranked = (row.concept for row in self.archive if row.in_caption)
        return tuple(dict.fromkeys((*self.caption_concepts, *ranked)))


def find_pairs(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> list[CuratedPair]:
    """The pairs with these keys, in this order; a key that several shards have gives all of them.

    Raises MisuseError for a key that no shard has, with the nearest keys.
    """
    keys = list(dict.fromkeys(keys))
    rows = connection.execute(
        f"SELECT key, shard, caption, caption_concepts FROM pairs WHERE key IN ({_marks(keys)}) ORDER BY shard",
        keys,
    ).fetchall()
    found = {row[0] for row in rows}
    for key in keys:
        if key not in found:
            raise MisuseError(f"no pair has the key {key!r}; {_nearest(connection, key)}")
    rows.sort(key=lambda row: keys.index(row[0]))
    return _with_archives(connection, rows)


def sample_pairs(connection: duckdb.DuckDBPyConnection, count: int, seed: int) -> list[CuratedPair]:
    """Up to `count` pairs drawn by a hash of seed, shard and key: the same ones every time.

    They come from at most `SAMPLED_SHARDS` shards, or from as many as it takes to have `count`.
    """
    sizes = connection.execute("SELECT shard, count(*) FROM pairs GROUP BY shard").fetchall()
    sizes.sort(key=lambda row: md5(f"{seed}/{row[0]}".encode()).digest())
    shards: list[str] = []
    held = 0
    for shard, size in sizes:
        if len(shards) >= SAMPLED_SHARDS and held >= count:
            break
        shards.append(shard)
        held += size
    if not shards:
        return []
    rows = connection.execute(
        "SELECT key, shard, caption, caption_concepts FROM pairs "
        f"WHERE shard IN ({_marks(shards)}) ORDER BY md5(concat_ws('/', ?, shard, key)) LIMIT ?",
        [*shards, str(seed), count],
    ).fetchall()
    return _with_archives(connection, rows)


def picture_bytes(curated: Path, pairs: Sequence[CuratedPair]) -> Iterator[tuple[CuratedPair, bytes]]:
    """Encoded pictures of the pairs, shard by shard; a pair whose picture is not there is left out."""
    wanted: dict[str, dict[str, CuratedPair]] = {}
    for pair in pairs:
        wanted.setdefault(pair.shard, {})[pair.key] = pair
    for shard, by_key in wanted.items():
        for key, data in pictures_of(curated, shard, by_key):
            yield by_key[key], data


def _with_archives(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, str, str, list[str]]]
) -> list[CuratedPair]:
    if not rows:
        return []
    shards, keys = sorted({row[1] for row in rows}), sorted({row[0] for row in rows})
    ranked = connection.execute(
        "SELECT shard, key, concept, rank, score, support, cluster, in_caption, confidence FROM archives "
        f"WHERE shard IN ({_marks(shards)}) AND key IN ({_marks(keys)}) ORDER BY rank",
        [*shards, *keys],
    ).fetchall()
    archives: dict[tuple[str, str], list[RankedConcept]] = {}
    for shard, key, *fields in ranked:
        archives.setdefault((shard, key), []).append(RankedConcept(*fields))
    return [
        CuratedPair(key, shard, caption, tuple(concepts or ()), tuple(archives.get((shard, key), ())))
        for key, shard, caption, concepts in rows
    ]


def _marks(values: Sequence[str]) -> str:
    # One place a value: DuckDB then skips the parts of the tables where none of them can be.
    return ", ".join("?" * len(values))


def _nearest(connection: duckdb.DuckDBPyConnection, key: str) -> str:
    rows = connection.execute(
        "SELECT DISTINCT key, levenshtein(key, ?) AS edits FROM pairs ORDER BY edits, key LIMIT ?",
        [key, _NEAREST],
    ).fetchall()
    names = ", ".join(repr(row[0]) for row in rows)
    return f"the nearest are {names}" if names else "the folder holds no pairs"
