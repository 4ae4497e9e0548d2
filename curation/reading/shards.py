"""Where pairs come from: names given by the user -> shards in a fixed order, local or remote -> their pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from curation.reading.captioned_tables import CaptionedTable
from curation.reading.formats import FORMATS, Format
from curation.reading.pairs import CaptionOptions, Pair, checked_captions
from files.addresses import unreachable
from files.errors import MisuseError
from files.rejects import Reject
from files.saying import say
from files.shard_names import file_names, find_urls, shard_suffix, sizes_of

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

    @cached_property
    def reader(self) -> Format:
        """What reads it. Raises MisuseError where no format has its ending."""
        formats = _formats()
        suffix = shard_suffix(self.url, list(formats))
        if not suffix:
            raise MisuseError(f"{self.url}: no shard; its name ends in none of {', '.join(sorted(formats))}")
        return formats[suffix](self.url, self.size, self.rows, self.offset)


def find_shards(names: Sequence[str], options: CaptionOptions | None = None) -> list[Shard]:
    """Shards named by brace patterns, globs, folders, tars or tables, in the order given, each once.

    Which those are, `find_urls` says. options: how tables are read. Raises MisuseError for a name that stands for
    nothing, is a command, or has a scheme that is not read, and for a table that cannot be read so.
    """
    options = options or CaptionOptions()
    found = _find(names)
    whole = [url for url, _, known in found if not issubclass(known, CaptionedTable)]
    sizes = dict(zip(whole, sizes_of(whole), strict=True))
    shards: list[Shard] = []
    for url, label, known in found:
        if issubclass(known, CaptionedTable):
            table = known(url).told(options)
            shards.extend(_parts(table, label, table.image_column(options.image_column)))
        else:
            shards.append(Shard(label, url, sizes[url]))
    return distinct(shards)


def find_caption_tables(names: Sequence[str]) -> list[Shard]:
    """Tables of captions without pictures, cut into shards. Raises MisuseError for a name that is no table."""
    shards: list[Shard] = []
    for url, label, known in _find(names):
        if not issubclass(known, CaptionedTable):
            raise MisuseError(f"{url}: not a table of captions; expected {', '.join(_table_suffixes())}")
        shards.extend(_parts(known(url), label, None))
    return distinct(shards)


def _find(names: Sequence[str]) -> list[tuple[str, str, type[Format]]]:
    """(address, short name, format) of each file."""
    formats = _formats()
    suffixes = list(formats)
    by_name = [suffix for suffix, known in formats.items() if known.by_name]
    urls = find_urls(names, suffixes, _table_suffixes(), by_name)
    labels = file_names(urls, suffixes)
    return [(url, name, formats[shard_suffix(url, suffixes)]) for url, name in zip(urls, labels, strict=True)]


def _formats() -> dict[str, type[Format]]:
    """The format of each ending."""
    return {suffix: known for known in FORMATS.values() for suffix in known.suffixes}


def _table_suffixes() -> list[str]:
    return sorted(suffix for suffix, known in _formats().items() if issubclass(known, CaptionedTable))


def _parts(table: CaptionedTable, label: str, image: str | None) -> list[Shard]:
    """A table cut into shards of rows; an empty table gives none."""
    if remark := table.remark():
        say(f"{table.url}: {remark}")
    return [
        Shard(f"{label}-{i:05d}", table.url, stop - start, (start, stop), offset)
        for i, (start, stop, offset) in enumerate(table.cut(ROWS_PER_TABLE_SHARD, image))
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


def read_pairs(shard: Shard, options: CaptionOptions) -> Iterator[Pair | Reject]:
    """Pairs of a shard in file order. A broken shard gives its readable pairs and one reject with key "".

    Raises CocuError when the shard as a whole cannot be had (missing, unreachable, changed).
    """
    try:
        yield from shard.reader.pairs(options)
    except OSError as error:
        raise unreachable(shard.url, error) from error


def read_captions(shard: Shard) -> Iterator[Pair | Reject]:
    """Captions of a table without pictures, as pairs that hold the name of their picture instead of the picture.

    Raises what `read_pairs` raises, and MisuseError when the table has no caption column.
    """
    assert isinstance(shard.reader, CaptionedTable)
    try:
        for row in shard.reader.caption_rows():
            if isinstance(row, Reject):
                yield row
                continue
            captions = checked_captions(row.key, row.caption, False)
            yield captions if isinstance(captions, Reject) else Pair(row.key, (row.image or "").encode(), captions)
    except OSError as error:
        raise unreachable(shard.url, error) from error
