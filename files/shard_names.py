"""What names stand for: braces, globs and folders -> addresses of shards in a fixed order, each with a short name."""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from files.addresses import REMOTE_SCHEMES, is_remote, remote_glob, remote_size
from files.errors import MisuseError
from files.rejects import is_utf8

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


SUFFIXES = (*TAR_SUFFIXES, *TABLE_SUFFIXES)


MOST_SHARDS = 1_000_000


# A file name holds 255 bytes, and outputs add endings to the shard's.
MOST_NAME_BYTES = 150


LOOKUPS_AT_ONCE = 16


_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


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
