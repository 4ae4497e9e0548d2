"""What names stand for: braces, globs and folders -> addresses of shards in a fixed order, each with a short name."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from files.addresses import REMOTE_SCHEMES, is_remote, remote_glob, remote_size
from files.braces import expand_braces
from files.errors import MisuseError
from files.plain_names import made_plain
from files.rejects import is_utf8

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PARQUET = ".parquet"
PAIR_SUFFIXES = (*TAR_SUFFIXES, PARQUET)  # of what is trained on
RUN = "manifest.json"  # in the folder of a run, beside its `shards`
MOST_NAMED = 5  # tables, in a message
# What tells parts of a table apart, in its name: numbers, and digests as Hugging Face has them.
_PART = re.compile(r"\d{5,}|^\d{4}(?=\.)|(?<=-)[0-9a-f]{16}(?=\.)")
LOOKUPS_AT_ONCE = 16
# Endings of what holds pairs, of which a folder may hold many, and of tables, of which it holds one.
Kinds = tuple[Sequence[str], Sequence[str]]


def find_urls(
    names: Iterable[str],
    suffixes: Sequence[str] = TAR_SUFFIXES,
    tables: Sequence[str] = (),
    by_name: Sequence[str] = (),
) -> list[str]:
    """Addresses of the shards that names stand for, in the order given, each once.

    suffixes: of the shards that are looked for; tables: those among them of tables; by_name: those among these that
    count only where the name itself, a pattern's too, ends so. A folder gives its tars, else those of the folders in
    it, else the tables in its `shards`, if it is a run's, else its one table; a pattern gives the tars that it matches,
    else the tables, else what the folders that it matches give.
    Raises MisuseError for a name that stands for nothing, is a command, or has a scheme that is not read.
    """
    return list(dict.fromkeys(url for name in names for url in expand(name, suffixes, tables, by_name)))


def sizes_of(urls: Sequence[str]) -> list[int]:
    """Bytes of each file, 0 where its server does not say. Raises MisuseError for one that is not there."""
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:  # remote servers answer slowly, but many questions at once
        return list(pool.map(_size, urls))


def shard_suffix(url: str, suffixes: Sequence[str] = TAR_SUFFIXES) -> str:
    """The ending that tells what a file is, in lower case (".tar.gz", ".csv"); "" for any other."""
    name = _file_name(url).lower()
    return max((suffix for suffix in suffixes if name.endswith(suffix)), key=len, default="")


def _check_name(name: str) -> None:
    """Refuse commands and unknown schemes. Raises MisuseError."""
    scheme = urlsplit(name).scheme if "://" in name else ""
    if name.strip().lower().startswith(("pipe:", "|")):
        raise MisuseError(f"{name}: commands in shard names are not run; download the shards, or give their URL")
    if "::" in name or (scheme and scheme not in (*REMOTE_SCHEMES, "file")):
        raise MisuseError(
            f"{name}: addresses of this kind are not read; give a local path or one of "
            + ", ".join(f"{known}://" for known in ("s3", "gs", "hf", "http", "https"))
        )
    _checked([name])


def expand(
    name: str,
    suffixes: Sequence[str] = TAR_SUFFIXES,
    tables: Sequence[str] = (),
    by_name: Sequence[str] = (),
) -> list[str]:
    """Addresses that one name stands for, as `find_urls` gives them."""

    def found(part: str) -> list[str]:
        named = shard_suffix(part, by_name)
        usual = [one for one in suffixes if one in tables and (one == named or one not in by_name)]
        return _expand_one(part, ([one for one in suffixes if one not in tables], usual))

    _check_name(name)
    if not is_remote(name) and os.path.exists(name):  # braces may be part of a real name
        return found(name)
    return [url for part in expand_braces(name) for url in found(part)]


def _expand_one(part: str, kinds: Kinds) -> list[str]:
    _check_name(part)
    if is_remote(part):
        return _remote(part, kinds)
    path = os.path.abspath(os.path.expanduser(part.removeprefix("file://")))
    if os.path.isdir(path):
        return _folder(Path(path), kinds)
    if os.path.exists(path):
        if not shard_suffix(path, [*kinds[0], *kinds[1]]) or not os.path.isfile(path):
            raise MisuseError(f"{part}: not a shard; expected a file of kind {_listed(kinds)}")
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise MisuseError(f"{part}: no such file or folder, and no file matches it as a pattern")
    chosen = _files(_wanted([url for url in found if not os.path.isdir(url)], kinds))
    if not chosen:
        chosen = [url for folder in found if os.path.isdir(folder) for url in _folder(Path(folder), kinds)]
    if not chosen:
        raise MisuseError(f"{part}: matches {len(found):,} files, none of them a shard ({_listed(kinds)})")
    return _checked(chosen)


def _remote(part: str, kinds: Kinds) -> list[str]:
    if any(mark in part for mark in "*?[") and not part.startswith("http"):
        found = _wanted(remote_glob(part), kinds)
        if not found:
            raise MisuseError(f"{part}: matches no shard ({_listed(kinds)})")
        return _checked(found)
    if shard_suffix(part, [*kinds[0], *kinds[1]]):
        return [part]
    if not part.startswith("http"):  # a web server lists no folder
        for shards, manifest in _of_a_run(part.rstrip("/")):
            found = _wanted(remote_glob(f"{shards}/*"), kinds)
            if found and remote_glob(manifest):
                return _checked(found)
        for folder in (part.rstrip("/"), f"{part.rstrip('/')}/data"):
            found = _wanted(remote_glob(f"{folder}/*"), kinds)
            if found:
                return _checked(found if shard_suffix(found[0], kinds[0]) else _one_table(part, found))
    kind = "neither a tar nor a table" if len(kinds[1]) > 1 else "not a tar" + " or Parquet" * len(kinds[1])
    example = "'*.tar'" + (" or '*.parquet'" if kinds[1] else "")
    raise MisuseError(f"{part}: {kind}; name the shards, for instance with braces or {example}")


def _folder(folder: Path, kinds: Kinds) -> list[str]:
    """Its tars, else those of the folders in it, else the tables in shards/, where it is a run's, else its one table.

    The table may come in numbered parts, and lie in `data`, as Hugging Face publishes it.
    """

    def files(paths: Iterable[Path], kind: Sequence[str]) -> list[str]:
        # Hidden files are leavings of other programs, "._00000.tar" for instance.
        names = (path for path in paths if not path.name.startswith(".") and shard_suffix(path.name, kind))
        shards = [path for path in names if not path.is_dir()]
        return _files([str(path) for path in sorted(shards)])

    tar, table = kinds
    if tars := files(folder.iterdir(), tar) or files(folder.rglob("*"), tar):
        return _checked(tars)
    for shards, manifest in _of_a_run(str(folder)):
        if os.path.isfile(manifest) and os.path.isdir(shards) and (tables := files(Path(shards).iterdir(), table)):
            return _checked(tables)
    inner = folder / "data"
    tables = files(folder.iterdir(), table) or (files(inner.iterdir(), table) if inner.is_dir() else [])
    if not tables:
        if len(table) > 1:
            raise MisuseError(f"{folder}: holds neither tars nor a table of (image, caption) ({', '.join(table)})")
        raise MisuseError(f"{folder}: holds no shards ({_listed(kinds)})")
    return _checked(_one_table(str(folder), tables))


def _of_a_run(folder: str) -> list[tuple[str, str]]:
    """Where shards lie, and the manifest beside them, if the folder is that of a run, or that of a run's shards."""
    runs = [folder] + [folder.removesuffix("/shards")] * folder.endswith("/shards")
    return [(f"{run}/shards", f"{run}/{RUN}") for run in runs]


def _files(paths: list[str]) -> list[str]:
    """The paths. Raises MisuseError for one that nothing can be read from, which is not left out in silence."""
    for path in paths:
        if not os.path.isfile(path):
            what = "a link to nothing" if os.path.islink(path) and not os.path.exists(path) else "no regular file"
            raise MisuseError(f"{path}: is {what}; put a shard there, or take it away, or name the others alone")
    return paths


def _one_table(folder: str, tables: Sequence[str]) -> Sequence[str]:
    """The tables, if they are one in numbered parts. Raises MisuseError."""
    names = {_PART.sub("#", _file_name(one)): _file_name(one) for one in tables}
    if len(names) > 1:
        listed = ", ".join(list(names.values())[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
        raise MisuseError(
            f"{folder}: holds several tables ({listed}); name one, or the parts of one by a pattern with *"
        )
    return tables


def _wanted(urls: Sequence[str], kinds: Kinds) -> list[str]:
    """The tars among them, else the tables: beside img2dataset's tars lie tables and JSON files."""
    tar, table = ([url for url in urls if shard_suffix(url, kind)] for kind in kinds)
    return tar or table


def _listed(kinds: Kinds) -> str:
    return ", ".join([*kinds[0], *kinds[1]])


def _checked(urls: Sequence[str]) -> list[str]:
    for url in urls:
        if not is_utf8(url):
            raise MisuseError(f"{url!r}: the name is not UTF-8; rename the file or folder")
    return list(urls)


def with_folders(urls: Sequence[str], joint: str = "/", suffixes: Sequence[str] = TAR_SUFFIXES) -> list[str]:
    """File stems, with as many parent folders as it takes to tell them apart ("a/0.tar", "b/0.tar" -> a/0, b/0).

    Where the data lie on a machine does not matter, so that a run can go on elsewhere. Files that differ in nothing but
    their endings keep the same name. The root is a folder without a name, which counts where the joint is a slash.
    """
    stems = [_stem(url, suffixes) for url in urls]
    parts = [[part for part in url.replace("://", "/").split("/")[:-1] if part or joint == "/"] for url in urls]
    names = stems
    for depth in range(1, 1 + max(map(len, parts), default=0)):
        count = Counter(names)
        if len(count) == len(names):
            break
        names = [
            joint.join([*part[-depth:], stem]) if count[name] > 1 else name
            for name, part, stem in zip(names, parts, stems, strict=True)
        ]
    return names


def file_names(urls: Sequence[str], suffixes: Sequence[str] = TAR_SUFFIXES) -> list[str]:
    """A short name for each shard that the files made of it can have, none twice ("a/0.tar", "b/0.tar" -> a-0, b-0)."""
    names = with_folders(urls, "-", suffixes)
    if len(set(names)) < len(names):
        names = [f"{i:05d}-{_stem(url, suffixes)}" for i, url in enumerate(urls)]
    return [made_plain(name) for name in names]


def _file_name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path if is_remote(url) else Path(url).as_posix()).name


def _stem(url: str, suffixes: Sequence[str]) -> str:
    return _file_name(url)[: -len(shard_suffix(url, suffixes)) or None]


def _size(url: str) -> int:
    return remote_size(url) if is_remote(url) else Path(url).stat().st_size
