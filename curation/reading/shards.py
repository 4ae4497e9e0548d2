"""Where pairs come from: names given by the user -> shards in a fixed order, local or remote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from files.errors import MisuseError
from files.shard_names import LOOKUPS_AT_ONCE, TABLE_SUFFIXES, TAR_SUFFIXES, _expand, _size, _unique_names, shard_suffix

ROWS_PER_TABLE_SHARD = 10_000


@dataclass(frozen=True)
class Shard:
    """One unit of work. A table is cut into shards of `ROWS_PER_TABLE_SHARD` rows.

    name: unique in the run; names the output files.
    url: absolute local path, or remote address, of the tar or table.
    size: bytes of the tar, or rows of the part of the table; what progress is measured in.
    rows: half-open range of table rows, None for a tar.
    offset: byte of a text table where the first of these rows starts.
    """

    name: str
    url: str
    size: int
    rows: tuple[int, int] | None = None
    offset: int = 0

    @property
    def is_table(self) -> bool:
        """Whether it is a part of a table."""
        return self.rows is not None


def find_shards(names: Sequence[str]) -> list[Shard]:
    """Shards named by brace patterns, globs, folders, tars or tables, in the order given, each once.

    A folder gives its tars, else the one table (CSV, TSV, JSONL, Parquet) in it; a pattern gives the tars that it
    matches, else the tables. Raises MisuseError for a name that matches nothing, is a command, or has a scheme that
    is not read.
    """
    urls = list(dict.fromkeys(url for name in names for url in _expand(name)))
    labels = _unique_names(urls)
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:  # remote servers answer slowly, but many questions at once
        sizes = list(pool.map(lambda url: _size(url) if shard_suffix(url) in TAR_SUFFIXES else 0, urls))
    shards: list[Shard] = []
    for url, label, size in zip(urls, labels, sizes, strict=True):
        if shard_suffix(url) in TAR_SUFFIXES:
            shards.append(Shard(label, url, size))
        else:
            shards.extend(table_shards(url, label))
    return distinct(shards)


def find_caption_tables(names: Sequence[str]) -> list[Shard]:
    """Tables of captions without pictures, cut into shards. Raises MisuseError for a name that is no table."""
    urls = list(dict.fromkeys(url for name in names for url in _expand(name)))
    for url in urls:
        if shard_suffix(url) not in TABLE_SUFFIXES:
            raise MisuseError(f"{url}: not a table of captions; expected {', '.join(TABLE_SUFFIXES)}")
    labels = _unique_names(urls)
    return distinct(shard for url, label in zip(urls, labels, strict=True) for shard in table_shards(url, label))


def table_shards(url: str, label: str) -> list[Shard]:
    """A table cut into shards of rows; an empty table gives none."""
    from curation.reading.tables import cut_table

    return [
        Shard(f"{label}-{i:05d}", url, stop - start, (start, stop), offset)
        for i, (start, stop, offset) in enumerate(cut_table(url, ROWS_PER_TABLE_SHARD))
    ]


def distinct(shards: Iterable[Shard], taken: Iterable[str] = ()) -> list[Shard]:
    """The shards, renamed where an earlier one or `taken` has the name (part 0 of x.csv, and x-00000.tar)."""
    names = set(taken)
    found = []
    for shard in shards:
        name, count = shard.name, 2
        while name in names:
            name, count = f"{shard.name}-{count}", count + 1
        names.add(name)
        found.append(replace(shard, name=name))
    return found
