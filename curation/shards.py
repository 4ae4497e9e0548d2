"""Where pairs come from: names given by the user -> shards in a fixed order, local or remote."""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from curation.rejects import is_utf8
from curation.sources import REMOTE_SCHEMES, is_remote, remote_glob, remote_size
from files.errors import MisuseError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
SUFFIXES = (*TAR_SUFFIXES, *TABLE_SUFFIXES)
ROWS_PER_TABLE_SHARD = 10_000
MOST_SHARDS = 1_000_000
# A file name holds 255 bytes, and outputs add endings to the shard's.
MOST_NAME_BYTES = 150
LOOKUPS_AT_ONCE = 16
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


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
    from curation.table_files import cut_table

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


def shard_suffix(url: str) -> str:
    """The ending that tells what a file is, in lower case (".tar.gz", ".csv"); "" for any other."""
    name = _file_name(url).lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def check_name(name: str) -> None:
    """Refuse commands and unknown schemes. Raises MisuseError."""
    scheme = urlsplit(name).scheme if "://" in name else ""
    if name.strip().lower().startswith(("pipe:", "|")):
        raise MisuseError(f"{name}: commands in shard names are not run; download the shards, or give their URL")
    if "::" in name or (scheme and scheme not in (*REMOTE_SCHEMES, "file")):
        raise MisuseError(
            f"{name}: addresses of this kind are not read; give a local path or one of "
            + ", ".join(f"{known}://" for known in ("s3", "gs", "http", "https"))
        )
    _checked([name])


def _expand(name: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]

    check_name(name)
    if not is_remote(name) and os.path.exists(name):  # braces may be part of a real name
        return _expand_one(name)
    # Counted beforehand, too: a range is expanded in one go, however long it is.
    count = math.prod(abs(int(last) - int(first)) + 1 for first, last in _RANGE.findall(name))
    try:
        parts = list(islice(braceexpand(name), MOST_SHARDS + 1)) if count <= MOST_SHARDS else []
    except UnbalancedBracesError as error:
        raise MisuseError(f"{name}: unbalanced braces; write shards as 'folder/{{00000..00099}}.tar'") from error
    if max(count, len(parts)) > MOST_SHARDS:
        raise MisuseError(f"{name}: stands for more than {MOST_SHARDS:,} shards; give fewer")
    return [url for part in parts for url in _expand_one(part)]


def _expand_one(part: str) -> list[str]:
    check_name(part)
    if is_remote(part):
        return _remote(part)
    path = os.path.abspath(part.removeprefix("file://"))
    if os.path.isdir(path):
        return _folder(Path(path))
    if os.path.exists(path):
        if not shard_suffix(path) or not os.path.isfile(path):
            raise MisuseError(f"{part}: not a shard; expected a file of kind {', '.join(SUFFIXES)}")
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise MisuseError(f"{part}: no such file or folder, and no file matches it as a pattern")
    chosen = _shards_among(url for url in found if Path(url).is_file())
    if not chosen:
        chosen = [url for folder in found if Path(folder).is_dir() for url in _folder(Path(folder))]
    if not chosen:
        raise MisuseError(f"{part}: matches {len(found):,} files, none of them a shard ({', '.join(SUFFIXES)})")
    return _checked(chosen)


def _remote(part: str) -> list[str]:
    if any(mark in part for mark in "*?[") and not part.startswith("http"):
        found = _shards_among(remote_glob(part))
        if not found:
            raise MisuseError(f"{part}: matches no shard ({', '.join(SUFFIXES)})")
        return _checked(found)
    if not shard_suffix(part):
        raise MisuseError(f"{part}: neither a tar nor a table; name the shards, for instance with braces or '*.tar'")
    return [part]


def _folder(folder: Path) -> list[str]:
    def files(paths: Iterable[Path]) -> list[str]:
        # Hidden files are leavings of other programs, "._00000.tar" for instance.
        return sorted(str(path) for path in paths if not path.name.startswith(".") and path.is_file())

    found = files(folder.iterdir())
    tars = [url for url in found if shard_suffix(url) in TAR_SUFFIXES]
    tars = tars or [url for url in files(folder.rglob("*")) if shard_suffix(url) in TAR_SUFFIXES]
    if tars:
        return _checked(tars)
    tables = [url for url in found if shard_suffix(url) in TABLE_SUFFIXES]
    if len(tables) > 1:
        raise MisuseError(f"{folder}: holds several tables ({', '.join(Path(t).name for t in tables)}); name one")
    if not tables:
        raise MisuseError(f"{folder}: holds neither tars nor a table of (image, caption) ({', '.join(TABLE_SUFFIXES)})")
    return _checked(tables)


def _shards_among(urls: Iterable[str]) -> list[str]:
    """The tars among them, else the tables: beside img2dataset's tars lie tables and JSON files."""
    found = list(urls)
    return [url for url in found if shard_suffix(url) in TAR_SUFFIXES] or [
        url for url in found if shard_suffix(url) in TABLE_SUFFIXES
    ]


def _checked(urls: list[str]) -> list[str]:
    for url in urls:
        if not is_utf8(url):
            raise MisuseError(f"{url!r}: the name is not UTF-8; rename the file or folder")
    return urls


def _file_name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path if is_remote(url) else Path(url).as_posix()).name


def _stem(url: str) -> str:
    return _file_name(url)[: -len(shard_suffix(url)) or None]


def _unique_names(urls: Sequence[str]) -> list[str]:
    """File stems, with as many parent folders as it takes to tell them apart ("a/0.tar", "b/0.tar" -> a-0, b-0)."""
    names = [_stem(url) for url in urls]
    for depth in range(1, 16):
        repeated = {name for name, count in Counter(names).items() if count > 1}
        if not repeated:
            break
        for i, (url, name) in enumerate(zip(urls, names, strict=True)):
            if name in repeated:
                parts = [part for part in url.replace("://", "/").split("/")[:-1] if part]
                names[i] = "-".join([*parts[-depth:], _stem(url)])
    if len(set(names)) < len(names):
        names = [f"{i:05d}-{_stem(url)}" for i, url in enumerate(urls)]
    return [_as_file_name(name) for name in names]


def _as_file_name(name: str) -> str:
    if name.startswith((".", "@")):  # hidden files; steps of a run that are no shards
        name = f"_{name}"
    if len(name.encode()) > MOST_NAME_BYTES:
        tail = name.encode()[-MOST_NAME_BYTES + 20 :].decode(errors="ignore")
        name = f"{blake2b(name.encode(), digest_size=8).hexdigest()}-{tail}"
    return name


def _size(url: str) -> int:
    return remote_size(url) if is_remote(url) else Path(url).stat().st_size
