"""Where pairs come from: names given by the user -> shards in a fixed order, local or remote."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from curation.errors import CurationError, MisuseError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
REMOTE_SCHEMES = ("s3", "gs", "gcs", "http", "https", "memory")
ROWS_PER_TABLE_SHARD = 10_000


@dataclass(frozen=True)
class Shard:
    """One unit of work. A table is cut into shards of `ROWS_PER_TABLE_SHARD` rows.

    name: unique in the run; names the output files.
    url: local path or remote address of the tar or table.
    size: bytes of the tar, or rows of the part of the table; what progress is measured in.
    rows: half-open range of table rows, None for a tar.
    """

    name: str
    url: str
    size: int
    rows: tuple[int, int] | None = None

    @property
    def is_table(self) -> bool:
        """Whether it is a part of a table."""
        return self.rows is not None


def find_shards(names: Sequence[str]) -> list[Shard]:
    """Shards named by brace patterns, globs, folders, tars or tables, in the order given.

    A folder gives its tars, else the one table (CSV, TSV, JSONL, Parquet) in it. Raises MisuseError for a name that
    matches nothing, is a command, or has a scheme that is not read.
    """
    urls: list[str] = []
    for name in names:
        for url in _expand(name):
            if url not in urls:
                urls.append(url)
    labels = _unique_names(urls)
    shards: list[Shard] = []
    for url, label in zip(urls, labels, strict=True):
        if url.endswith(TAR_SUFFIXES):
            shards.append(Shard(label, url, _size(url)))
        else:
            shards.extend(table_shards(url, label))
    return shards


def table_shards(url: str, label: str) -> list[Shard]:
    """A table cut into shards of rows; an empty table gives none."""
    from curation.captioned_tables import count_rows

    total = count_rows(url)
    starts = range(0, total, ROWS_PER_TABLE_SHARD)
    ends = [min(start + ROWS_PER_TABLE_SHARD, total) for start in starts]
    return [
        Shard(f"{label}-{i:05d}", url, end - start, (start, end))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def find_caption_tables(names: Sequence[str]) -> list[Shard]:
    """Tables of captions without pictures, cut into shards. Raises MisuseError for a name that is no table."""
    urls = [url for name in names for url in _expand(name)]
    for url in urls:
        if not url.endswith(TABLE_SUFFIXES):
            raise MisuseError(f"{url}: not a table of captions; expected {', '.join(TABLE_SUFFIXES)}")
    return [shard for url, label in zip(urls, _unique_names(urls), strict=True) for shard in table_shards(url, label)]


def is_remote(url: str) -> bool:
    """Whether a shard lies elsewhere and is read through fsspec."""
    return "://" in url and not url.startswith("file://")


def check_name(name: str) -> None:
    """Refuse commands and unknown schemes. Raises MisuseError."""
    scheme = urlsplit(name).scheme if "://" in name else ""
    if name.startswith("pipe:") or name.lstrip().startswith("|"):
        raise MisuseError(f"{name}: commands in shard names are not run; download the shards, or give their URL")
    if "::" in name or (scheme and scheme not in (*REMOTE_SCHEMES, "file")):
        raise MisuseError(
            f"{name}: addresses of this kind are not read; give a local path or one of "
            + ", ".join(f"{known}://" for known in ("s3", "gs", "http", "https"))
        )


def filesystem(url: str) -> Any:
    """fsspec filesystem of a remote URL. Raises MisuseError when its driver is not installed."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        extra = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}.get(urlsplit(url).scheme, "http")
        raise MisuseError(f"{url}: {error}; install it with `pip install 'cocu[{extra}]'`") from error


def _expand(name: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]

    check_name(name)
    try:
        parts = list(braceexpand(name))
    except UnbalancedBracesError as error:
        raise MisuseError(f"{name}: unbalanced braces; write shards as 'folder/{{00000..00099}}.tar'") from error
    return [url for part in parts for url in _expand_one(part.removeprefix("file://"))]


def _expand_one(part: str) -> list[str]:
    if is_remote(part):
        if any(mark in part for mark in "*?[") and not part.startswith("http"):
            found = [f"{urlsplit(part).scheme}://{path}" for path in sorted(filesystem(part).glob(part))]
            if not found:
                raise MisuseError(f"{part}: matches nothing")
            return found
        if not part.endswith((*TAR_SUFFIXES, *TABLE_SUFFIXES)):
            raise MisuseError(
                f"{part}: neither a tar nor a table; name the shards, for instance with braces or '*.tar'"
            )
        return [part]
    path = Path(part)
    if path.is_dir():
        return _folder(path)
    if path.exists():
        if not part.endswith((*TAR_SUFFIXES, *TABLE_SUFFIXES)):
            raise MisuseError(f"{part}: not a shard; expected {', '.join((*TAR_SUFFIXES, *TABLE_SUFFIXES))}")
        return [part]
    found = sorted(glob.glob(part, recursive=True))
    if not found:
        raise MisuseError(f"{part}: no such file or folder, and no file matches it as a pattern")
    return [url for item in found for url in _expand_one(item)]


def _folder(folder: Path) -> list[str]:
    tars = sorted(str(path) for path in folder.iterdir() if path.name.endswith(TAR_SUFFIXES))
    if not tars:
        tars = sorted(str(path) for path in folder.rglob("*") if path.name.endswith(TAR_SUFFIXES))
    if tars:
        return tars
    tables = sorted(str(path) for path in folder.iterdir() if path.name.endswith(TABLE_SUFFIXES))
    if len(tables) == 1:
        return tables
    if tables:
        raise MisuseError(f"{folder}: holds several tables ({', '.join(Path(t).name for t in tables)}); name one")
    raise MisuseError(f"{folder}: holds neither tars nor a table of (image, caption) ({', '.join(TABLE_SUFFIXES)})")


def _stem(url: str) -> str:
    name = PurePosixPath(urlsplit(url).path if is_remote(url) else Path(url).as_posix()).name
    for suffix in (*TAR_SUFFIXES, *TABLE_SUFFIXES):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _unique_names(urls: Sequence[str]) -> list[str]:
    """File stems, with as many parent folders as it takes to tell them apart ("a/0.tar", "b/0.tar" -> a-0, b-0)."""
    names = [_stem(url) for url in urls]
    depth = 1
    while len(set(names)) < len(names) and depth < 16:
        repeated = {name for name in names if names.count(name) > 1} if len(names) < 4096 else _repeated(names)
        for i, (url, name) in enumerate(zip(urls, names, strict=True)):
            if name in repeated:
                parts = [part for part in url.replace("://", "/").split("/")[:-1] if part not in ("", ".", "..")]
                names[i] = "-".join([*parts[-depth:], _stem(url)])
        depth += 1
    if len(set(names)) < len(names):
        names = [f"{i:05d}-{_stem(url)}" for i, url in enumerate(urls)]
    return names


def _repeated(names: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _size(url: str) -> int:
    if is_remote(url):
        try:
            return int(filesystem(url).info(url).get("size") or 0)
        except FileNotFoundError as error:
            raise MisuseError(f"{url}: no such shard") from error
    return Path(url).stat().st_size


@contextmanager
def local_tar(shard: Shard) -> Iterator[Path]:
    """The shard as an uncompressed tar on this machine.

    A remote or compressed shard is copied to a temporary file first: its members are then read by offset, twice,
    without a second download. Raises CurationError when it cannot be had.
    """
    packed = not shard.url.endswith(".tar")
    if not is_remote(shard.url) and not packed:
        if not Path(shard.url).is_file():
            raise CurationError(f"{shard.url}: the shard is no longer there; put it back and run the command again")
        yield Path(shard.url)
        return
    with tempfile.TemporaryDirectory(prefix="cocu-") as folder:
        copy = Path(folder) / "shard.tar"
        try:
            with _open_bytes(shard.url) as source, copy.open("wb") as target:
                shutil.copyfileobj(_decompressed(shard.url, source), target, 1 << 20)
        except EOFError:
            pass  # a compressed tar cut short still gives what was unpacked; the reader reports the cut
        except FileNotFoundError as error:
            raise CurationError(f"{shard.url}: the shard is not there ({error})") from error
        except (gzip.BadGzipFile, lzma.LZMAError) as error:
            raise CurationError(f"{shard.url}: cannot be decompressed ({error})") from error
        yield copy


def _open_bytes(url: str) -> Any:
    return filesystem(url).open(url, "rb") if is_remote(url) else Path(url).open("rb")


def _decompressed(url: str, source: Any) -> Any:
    if url.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=source)
    if url.endswith(".bz2"):
        return bz2.BZ2File(source)
    if url.endswith(".xz"):
        return lzma.LZMAFile(source)
    return source
