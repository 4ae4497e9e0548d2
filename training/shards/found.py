"""Where the pairs lie: names given by the user -> WebDataset tars in a fixed order, local or remote."""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from files.errors import CocuError, MisuseError

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = (".tar", *PACKED_SUFFIXES)
REMOTE_SCHEMES = ("s3", "gs", "gcs", "http", "https", "memory")
MOST_SHARDS = 1_000_000
LOOKUPS_AT_ONCE = 16
_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)(?:\.\.-?\d+)?\}")


@dataclass(frozen=True)
class Source:
    """Shards that are read as one collection.

    names: tars, folders, globs, brace patterns, URLs. weight: its part of the samples drawn, relative to that of the
    other sources; None, for all sources at once: the shards of all are one collection, each sample once in an epoch.
    """

    names: tuple[str, ...]
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight > 0):
            raise MisuseError(f"data source {', '.join(self.names)}: weight {self.weight}; give a number above 0")


@dataclass(frozen=True)
class Shard:
    """One tar. name: short, unique in the run, the same on every machine. size: bytes, 0 if its server does not say."""

    name: str
    url: str
    size: int

    @property
    def needs_copy(self) -> bool:
        """Whether it cannot be read in place at any offset: it is remote, or packed."""
        return is_remote(self.url) or _suffix(self.url) in PACKED_SUFFIXES


@dataclass(frozen=True)
class Collection:
    """Shards, as indexes into all of the run, that have epochs together; weight: their part of the samples drawn."""

    shards: tuple[int, ...]
    weight: float


def find_data(sources: Sequence[str | Source]) -> tuple[list[Shard], list[Collection]]:
    """All shards of the run, and the collections they form.

    Raises MisuseError for names without shards, and where some sources have weights and others not.
    """
    given = [Source((source,)) if isinstance(source, str) else source for source in sources]
    if not given:
        raise MisuseError("no training data is named; give folders, tars or patterns of tars")
    weights = [source.weight for source in given]
    if None in weights and any(weight is not None for weight in weights):
        raise MisuseError("some data sources have a weight and others have none; give one to each, or to none")
    urls = [find_urls(source.names) for source in given]
    every = list(dict.fromkeys(url for some in urls for url in some))
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
        sizes = list(pool.map(_size, every))
    shards = [Shard(*of) for of in zip(_unique_names(every), every, sizes, strict=True)]
    number = {url: i for i, url in enumerate(every)}
    if weights[0] is None:
        return shards, [Collection(tuple(range(len(every))), 1.0)]
    total = sum(weight or 0.0 for weight in weights)
    return shards, [
        Collection(tuple(number[url] for url in some), (weight or 0.0) / total)
        for some, weight in zip(urls, weights, strict=True)
    ]


def find_urls(names: Iterable[str]) -> list[str]:
    """Tars that the names stand for, in the order given, each once. Raises MisuseError for a name that has none."""
    return list(dict.fromkeys(url for name in names for url in _expand(name)))


def is_remote(url: str) -> bool:
    """Whether it is read through fsspec."""
    return "://" in url and not url.startswith("file://")


def filesystem(url: str) -> Any:
    """fsspec filesystem of a remote URL. Raises MisuseError when its driver is not installed."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        extra = _EXTRAS.get(urlsplit(url).scheme, "http")
        raise MisuseError(f"{url}: {error}; install it with `pip install 'cocu[{extra}]'`") from error


def unreachable(url: str, error: BaseException) -> CocuError:
    """The message for a shard that cannot be read."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return CocuError(f"{url}: cannot be read: {text[:300]}; check the address and the right to read it")


def _expand(name: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]

    _check_scheme(name)
    if not is_remote(name) and os.path.exists(name):  # braces may be part of a real name
        return _expand_one(name)
    count = math.prod(abs(int(last) - int(first)) + 1 for first, last in _RANGE.findall(name))
    if count > MOST_SHARDS:
        raise MisuseError(f"{name}: stands for more than {MOST_SHARDS:,} shards; give fewer")
    try:
        parts = list(braceexpand(name))
    except UnbalancedBracesError as error:
        raise MisuseError(f"{name}: unbalanced braces; write shards as 'folder/{{00000..00099}}.tar'") from error
    return [url for part in parts for url in _expand_one(part)]


def _check_scheme(name: str) -> None:
    scheme = urlsplit(name).scheme if "://" in name else ""
    if name.strip().lower().startswith(("pipe:", "|")):
        raise MisuseError(f"{name}: commands in shard names are not run; give a path or a URL")
    if "::" in name or (scheme and scheme not in (*REMOTE_SCHEMES, "file")):
        raise MisuseError(
            f"{name}: addresses of this kind are not read; give a local path, s3://, gs://, http:// or https://"
        )


def _expand_one(part: str) -> list[str]:
    if is_remote(part):
        return _remote(part)
    path = os.path.abspath(os.path.expanduser(part.removeprefix("file://")))
    if os.path.isdir(path):
        return _folder(Path(path))
    if os.path.exists(path):
        if not _suffix(path) or not os.path.isfile(path):
            raise MisuseError(f"{part}: not a shard; expected a file of kind {', '.join(SUFFIXES)}")
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise MisuseError(f"{part}: no such file or folder, and no file matches it as a pattern")
    tars = [url for url in found if _suffix(url) and os.path.isfile(url)]
    tars = tars or [url for folder in found if os.path.isdir(folder) for url in _folder(Path(folder))]
    if not tars:
        raise MisuseError(f"{part}: matches {len(found):,} files, none of them a shard ({', '.join(SUFFIXES)})")
    return tars


def _remote(part: str) -> list[str]:
    if any(mark in part for mark in "*?[") and not part.startswith("http"):
        try:
            found = sorted(filesystem(part).glob(part))
        except CocuError:
            raise
        except Exception as error:  # every driver has kinds of its own
            raise unreachable(part, error) from error
        tars = [f"{urlsplit(part).scheme}://{path.lstrip('/')}" for path in found if _suffix(path)]
        if not tars:
            raise MisuseError(f"{part}: matches no shard ({', '.join(SUFFIXES)})")
        return tars
    if not _suffix(part):
        raise MisuseError(f"{part}: not a tar; name the shards, for instance with braces or '*.tar'")
    return [part]


def _folder(folder: Path) -> list[str]:
    """Its tars, else those of the folders in it (a curated folder holds its own in shards/)."""
    for paths in (folder.iterdir(), folder.rglob("*")):
        # Hidden files are leavings of other programs.
        found = sorted(str(path) for path in paths if path.name[0] != "." and _suffix(path.name) and path.is_file())
        if found:
            return found
    raise MisuseError(f"{folder}: holds no shards ({', '.join(SUFFIXES)})")


def _size(url: str) -> int:
    if not is_remote(url):
        return os.stat(url).st_size
    try:
        return int(filesystem(url).info(url).get("size") or 0)
    except CocuError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec says so of every failure over HTTP
        if isinstance(cause, OSError) or getattr(cause, "status", 404) != 404:
            raise unreachable(url, cause or error) from error
        raise MisuseError(f"{url}: no such file; check the address") from error
    except Exception as error:
        raise unreachable(url, error) from error


def _file_name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path if is_remote(url) else url).name


def _suffix(url: str) -> str:
    name = _file_name(url).lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def _unique_names(urls: Sequence[str]) -> list[str]:
    """File stems, with as many parent folders as it takes to tell them apart ("a/0.tar", "b/0.tar" -> a/0, b/0).

    Where the data lie on a machine does not matter, so that a run can go on elsewhere.
    """
    parts = [url.replace("://", "/").split("/")[:-1] for url in urls]
    stems = [_file_name(url)[: -len(_suffix(url))] for url in urls]
    depth = [0] * len(urls)
    while True:
        names = ["/".join([*part[len(part) - d :], stem]) for part, stem, d in zip(parts, stems, depth, strict=True)]
        count = Counter(names)
        repeated = [i for i, name in enumerate(names) if count[name] > 1 and depth[i] < len(parts[i])]
        if not repeated:  # what is left differs in its ending
            return [n if count[n] == 1 else n + _suffix(url) for n, url in zip(names, urls, strict=True)]
        for i in repeated:
            depth[i] += 1
