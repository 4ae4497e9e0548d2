"""Where pairs come from: names given by the user -> shards in a fixed order, local or remote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from files.errors import MisuseError
from files.shard_names import TABLE_SUFFIXES, TAR_SUFFIXES, file_names, find_urls, shard_suffix, sizes_of

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

    Which those are, `find_urls` says. Raises MisuseError for a name that stands for nothing, is a command, or has a
    scheme that is not read.
    """
    urls = find_urls(names)
    tars = [url for url in urls if shard_suffix(url) in TAR_SUFFIXES]
    sizes = dict(zip(tars, sizes_of(tars), strict=True))
    shards: list[Shard] = []
    for url, label in zip(urls, file_names(urls), strict=True):
        if url in sizes:
            shards.append(Shard(label, url, sizes[url]))
        else:
            shards.extend(table_shards(url, label))
    return distinct(shards)


def find_caption_tables(names: Sequence[str]) -> list[Shard]:
    """Tables of captions without pictures, cut into shards. Raises MisuseError for a name that is no table."""
    urls = find_urls(names)
    for url in urls:
        if shard_suffix(url) not in TABLE_SUFFIXES:
            raise MisuseError(f"{url}: not a table of captions; expected {', '.join(TABLE_SUFFIXES)}")
    return distinct(
        shard for url, label in zip(urls, file_names(urls), strict=True) for shard in table_shards(url, label)
    )


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
