"""Concepts that lie beside the shards they are of: a curation's sidecars or tables, and the source's pairs, matched.

A curation without whole shards (`cocu curate run --output sidecar` or `tables`) names the pairs of each shard in their
order, but for those that it left out. What is made of both here is laid out as the whole curated shard would be, so
that batches are the same.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from files.addresses import unreachable
from files.concepts_json import CONCEPTS_FIELD
from files.errors import CocuError, MisuseError
from files.shapes import ShapeFault, check_shape
from files.shard_names import PAIR_SUFFIXES, PARQUET, file_names, shard_suffix, sizes_of, with_folders
from files.strict_json import JsonFault, read_json
from files.tar import Fault, File, group_files, member_text
from files.tar_headers import BLOCK, tar_member
from training.shards.concept_tables import table_rows

CAPTION_FIELDS = (b"txt", b"text", b"caption")
_CONCEPTS = CONCEPTS_FIELD.encode()
_INPUT = {"name": str, "url": str, "size": int, "rows": (None, list)}
_MANIFEST = {"kind": str, "finished": bool, "parameters": dict, "inputs": [_INPUT]}


@dataclass(frozen=True)
class Beside:
    """Where the concepts of a shard lie: the folder of a curation, and what it calls the shard. pairs: how many."""

    curated: Path
    name: str

    @property
    def whole(self) -> str:
        """Where the whole curated shard would lie."""
        return str(self.curated / "shards" / f"{self.name}.tar")

    @property
    def sidecar(self) -> Path:
        """The tar of the concepts alone; there is none in a curation of tables."""
        return self.curated / "shards" / f"{self.name}.concepts.tar"

    def count(self) -> int:
        """Pairs of the shard. Raises CocuError where the curation lacks it."""
        import pyarrow.parquet as pq

        path = self.curated / "tables" / "pairs" / f"{self.name}.parquet"
        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, ValueError) as error:
            raise unreachable(str(path), error) from error


@dataclass(frozen=True)
class Match:
    """A pair: its files in the source, and the member of its concepts. begin, end: bytes of that in the sidecar.

    made: the members themselves, where they were made of tables: the concepts, and the caption if the source has none.
    """

    key: str
    files: list[File]
    begin: int
    end: int
    concepts: int
    made: bytes = b""


def find_beside(curations: Sequence[Path], urls: Sequence[str], strict: bool = True) -> dict[str, Beside]:
    """Which of the curated shards is of which address.

    A shard is known by its address, or, where it has been moved, by the name and size of its file. Raises MisuseError
    for what is no finished curation, and, if strict, for a shard that none of them is of.
    """
    known = [(Path(folder).absolute(), item) for folder in curations for item in _inputs(Path(folder))]
    by_url = {item["url"]: Beside(folder, item["name"]) for folder, item in known}
    by_stem: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder, item in known:
        by_stem.setdefault(_stem(item["url"]), []).append((folder, item))
    found: dict[str, Beside] = {}
    for url, name, size in zip(urls, file_names(urls, PAIR_SUFFIXES), sizes_of(urls), strict=True):
        if url in by_url:
            found[url] = by_url[url]
            continue
        some = by_stem.get(_stem(url), [])
        fits = [one for one in some if not size or one[1]["rows"] or one[1]["size"] in (0, size)]
        fits = [one for one in fits if one[1]["name"] == name] or fits
        if len(fits) == 1:
            found[url] = Beside(fits[0][0], fits[0][1]["name"])
        elif strict:
            raise MisuseError(f"--concepts {', '.join(map(str, curations))}: {_stranger(url, size, some, known)}")
    return found


def _inputs(folder: Path) -> list[dict[str, Any]]:
    """The tars that a curation was made of, and the Parquet files, each in one part."""
    path = folder / "manifest.json"
    expected = "give a folder that `cocu curate run` has finished"
    if not path.is_file():
        raise MisuseError(f"--concepts {folder}: no manifest.json there; {expected}")
    try:
        manifest = read_json(path)
        check_shape(manifest, _MANIFEST)
    except (JsonFault, ShapeFault) as error:
        raise CocuError(f"{path}: broken ({error}); put back a copy of it, or curate into a new folder") from None
    if manifest["kind"] != "curated" or not manifest["finished"]:
        raise MisuseError(f"--concepts {folder}: is none, or not finished; {expected}")
    parts = Counter(item["url"] for item in manifest["inputs"])
    shards = [
        item
        for item in manifest["inputs"]
        if item["rows"] is None or (shard_suffix(item["url"], PAIR_SUFFIXES) == PARQUET and parts[item["url"]] == 1)
    ]
    if not shards:
        raise MisuseError(
            f"--concepts {folder}: is neither of tars nor of Parquet files in one part each; curate what it is of with "
            "--output shards to train on it"
        )
    return shards


def _stranger(url: str, size: int, alike: Sequence[tuple[Path, dict[str, Any]]], known: Sequence[Any]) -> str:
    if len(alike) == 1:
        return f"{url} has {size:,} bytes, but had {alike[0][1]['size']:,} when it was curated; give that one"
    if alike:
        return f"{len(alike)} shards there could be {url}; give the shards under the names they were curated by"
    return f"is of {len(known):,} shards such as {known[0][1]['url']}, and not of {url}; give its own --data"


def _stem(url: str) -> str:
    return with_folders([url], suffixes=PAIR_SUFFIXES)[0]


def matched(source: BinaryIO, beside: Beside, url: str, tables: bool = False, cut: bool = False) -> Iterator[Match]:
    """The pairs of a curated shard, each with its files in the source, an open tar.

    tables: make the members of the tables, whether there is a sidecar or not. cut: the source is a beginning only.
    Raises CocuError for a pair that the source has not, with its key, and for parts that cannot be read.
    """
    samples = (files for files in group_files(source) if not isinstance(files, Fault))
    if tables or not beside.sidecar.is_file():
        yield from _of_tables(source, samples, beside, url, cut)
        return
    try:
        with beside.sidecar.open("rb") as tar:
            for files in group_files(tar):
                if isinstance(files, Fault):
                    raise CocuError(f"{beside.sidecar}: {files.reason}; curate into a new folder")
                mine = next((file for file in files if file[2] == _CONCEPTS), None)
                if mine is None:
                    raise CocuError(f"{beside.sidecar}: {member_text(files[0][1])} has no .{CONCEPTS_FIELD}")
                pair = _find(samples, files[0][1], beside.sidecar, url, cut)
                if pair is None:
                    return
                yield Match(member_text(files[0][1]), pair, files[0][0], files[-1][5], mine[5] - mine[0])
    except OSError as error:
        raise unreachable(str(beside.sidecar), error) from error


def _of_tables(source: BinaryIO, samples: Iterator[list[File]], beside: Beside, url: str, cut: bool) -> Iterator[Match]:
    end = 0
    for key, caption, concepts in table_rows(beside.curated, beside.name):
        raw = key.encode("utf-8", "surrogateescape")
        pair = _find(samples, raw, beside.curated / "tables", url, cut)
        if pair is None:
            return
        if shard_suffix(url, PAIR_SUFFIXES) == PARQUET and _said(source, pair) != caption.encode():
            raise CocuError(_strange(beside.curated / "tables", key, url))  # its keys are made, and may be another's
        made = tar_member(f"{key}.{CONCEPTS_FIELD}", concepts)
        size = len(made)
        if not has_caption(pair):
            made += tar_member(f"{key}.{CAPTION_FIELDS[0].decode()}", caption.encode())
        yield Match(key, pair, end, end + len(made), size, made)
        end += len(made)


def _find(samples: Iterable[list[File]], key: bytes, where: Path, url: str, cut: bool) -> list[File] | None:
    """The files of the next pair of this key; what lies before it the curation has left out."""
    found = next((files for files in samples if files[0][1] == key), None)
    if found is None and not cut:
        raise CocuError(_strange(where, member_text(key), url))
    return found


def _strange(where: Path, key: str, url: str) -> str:
    return (
        f"{where}: its pair {key!r} is not in {url}, or not in this order; give the shard that was curated, or curate "
        "it anew"
    )


def _said(source: BinaryIO, files: Sequence[File]) -> bytes:
    """The caption of a sample of an open tar, which is left where it is; b"" for none."""
    found = next((file for file in files if file[2] in CAPTION_FIELDS), None)
    if found is None:
        return b""
    before = source.tell()
    source.seek(found[3])
    data = source.read(found[4])
    source.seek(before)
    return data


def has_caption(files: Sequence[File]) -> bool:
    """Whether a sample holds its caption."""
    return any(file[2] in CAPTION_FIELDS for file in files)


def pair_up(
    path: str, beside: Beside, url: str, target: Path | None = None, tables: bool = False
) -> tuple[np.ndarray, int]:
    """Where the pairs of a shard lie, int64 [n, 6], and the bytes of the whole curated shard.

    path: of the source's unpacked tar. Columns: begin and end in the whole curated shard, in the source, and in
    `target`, which comes to be the sidecar; None: it is not written. tables: as of `matched`. Raises CocuError as that.
    """
    try:
        return _pair_up(path, beside, url, target, tables)
    except _Uncaptioned:  # captions lay elsewhere, and stand in the tables
        return _pair_up(path, beside, url, target, True)


class _Uncaptioned(Exception):
    """The source has no caption of a pair, and neither has the sidecar."""


def _pair_up(path: str, beside: Beside, url: str, target: Path | None, tables: bool) -> tuple[np.ndarray, int]:
    rows: list[tuple[int, int, int, int, int, int]] = []
    place = 0
    tables = tables or not beside.sidecar.is_file()
    with open(path, "rb", buffering=0) as source:
        made = target.open("wb") if tables and target else None
        try:
            for match in matched(source, beside, url, tables):
                size = _kept(match.files) + (len(match.made) if tables else match.concepts)
                if not tables and not has_caption(match.files):
                    raise _Uncaptioned
                begin, end = match.files[0][0], match.files[-1][5]
                rows.append((place, place + size, begin, end, match.begin, match.end))
                place += size
                if made:
                    made.write(match.made)
        finally:
            if made:
                made.close()
    if target and not tables:
        target.unlink(missing_ok=True)
        target.symlink_to(beside.sidecar)
    whole = place + 2 * BLOCK
    return np.array(rows, np.int64).reshape(-1, 6), whole + -whole % tarfile.RECORDSIZE


def _kept(files: Sequence[File]) -> int:
    """Bytes of a source's sample in a curated shard, less what is added."""
    if all(file[2] != _CONCEPTS for file in files):
        return files[-1][5] - files[0][0]
    return sum(
        data + -(-size // BLOCK) * BLOCK - start for start, _, field, data, size, _ in files if field != _CONCEPTS
    )
