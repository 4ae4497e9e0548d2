"""Truth about pictures: the objects each one shows, the area they cover, and the words for them."""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from files.addresses import open_tar
from files.errors import CocuError, MisuseError, one_line
from files.printable import printable
from files.rejects import Reject, is_utf8
from files.strict_json import DEEPEST, JsonFault, parse_json, read_json
from files.tar import find_members, read_member

COLUMNS = ("key", "object", "area")
# A pair's JSON is small; a member beyond this is no annotation.
_MAX_JSON_BYTES = 64 << 20
_MOST_AREAS = 1 << 30  # of all pictures and objects
_LAYOUTS = "Parquet (.parquet), JSON lines (.jsonl, .ndjson) or WebDataset (.tar)"


@dataclass(frozen=True)
class Truth:
    """What n pictures show.

    keys: n distinct keys. objects: names.
    area: float32 [n, len(objects)], the share of the picture that an object covers, 0..1; NaN where
    the picture does not show it.
    notes: remarks on the reading, for people.
    """

    keys: tuple[str, ...]
    objects: tuple[str, ...]
    area: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def read_truth(path: str | Path) -> Truth:
    """Read a truth file: Parquet or JSON lines of (key, object, area), or a WebDataset tar.

    A row without object (null) says that its picture was looked at and shows none. Several rows of
    one object in one picture are its instances: their areas are added, up to 1. In a tar each
    `.json` member holds `objects: [{"name": ..., "area": ...}, ...]`.

    Raises MisuseError: unreadable file, missing column, an area outside 0..1, no row at all.
    """
    path = Path(path)
    if not path.is_file():
        raise MisuseError(f"--truth {path}: no such file")
    suffix = path.suffix.lower()
    notes: list[str] = []
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
            table.validate(full=True)  # Arrow does not ask by itself whether text is UTF-8
        elif suffix in (".jsonl", ".ndjson"):
            table = _json_lines(path.read_bytes())
        elif suffix == ".tar":
            table = _tar_table(path, notes)
        else:
            raise MisuseError(f"--truth {path}: the name ends in {suffix!r}; give {_LAYOUTS}")
    except MisuseError:
        raise
    except (pa.ArrowException, CocuError, JsonFault, OSError) as error:
        raise MisuseError(f"--truth {path}: cannot be read ({one_line(error)})") from error
    return _truth(table, path, notes)


def read_synonyms(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read a JSON object of object -> words and phrases that name it.

    An object is named by its listed words alone: its own name counts where it is among them.
    Raises MisuseError when the file is anything else.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise MisuseError(f"--synonyms {path}: no such file") from None
    except (OSError, JsonFault) as error:
        raise MisuseError(f"--synonyms {path}: cannot be read ({error})") from error
    wanted = 'a JSON object such as {"person": ["person", "man", "woman"]}'
    if not isinstance(content, dict) or not content:
        raise MisuseError(f"--synonyms {path}: give {wanted}")
    bad = [
        name
        for name, words in content.items()
        if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words)
    ]
    if bad:
        raise MisuseError(f"--synonyms {path}: {len(bad)} objects have no list of words ({some(bad)}); give {wanted}")
    return {name: tuple(words) for name, words in content.items()}


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names, for a message."""
    return printable(", ".join(names[:most])) + (", ..." if len(names) > most else "")


def _truth(table: Any, path: Path, notes: list[str]) -> Truth:
    columns = table.column_names
    if missing := [name for name in COLUMNS if name not in columns]:
        raise MisuseError(
            f"--truth {path}: no column {', '.join(missing)}; "
            f"it needs {', '.join(COLUMNS)} and has {', '.join(columns) or 'none'}"
        )
    if extra := [name for name in columns if name not in COLUMNS]:
        notes.append(f"{path.name}: {len(extra)} columns not used ({some(extra)})")
    try:
        key = table["key"].cast(pa.large_string()).combine_chunks()
        name = table["object"].cast(pa.large_string()).combine_chunks()
        area = table["area"].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise MisuseError(f"--truth {path}: key and object must be text, area a number ({error})") from error
    if not len(key):
        raise MisuseError(f"--truth {path}: holds no picture")
    if key.null_count:
        raise MisuseError(f"--truth {path}: {key.null_count} rows have no key")
    listed = pc.is_valid(name).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(listed & ~((area >= 0) & (area <= 1)))
    if len(wrong):
        row = wrong[0]
        raise MisuseError(
            f"--truth {path}: {len(wrong)} of {len(area)} areas are not between 0 and 1 (first: "
            f"{area[row]} of {name[row]} in {key[row]}); give each as a share of the picture"
        )
    keys, objects = key.dictionary_encode(), name.dictionary_encode()
    shape = len(keys.dictionary), len(objects.dictionary)
    if shape[0] * shape[1] > _MOST_AREAS:
        raise MisuseError(
            f"--truth {path}: {shape[0]:,} pictures of {shape[1]:,} different objects are more than can be compared; "
            "give fewer pictures, or objects by names that they share"
        )
    at = keys.indices.to_numpy(zero_copy_only=False)[listed].astype(np.int64) * shape[1]
    at += pc.fill_null(objects.indices, 0).to_numpy(zero_copy_only=False)[listed]
    cells, instance = np.unique(at, return_inverse=True)
    areas = np.full(shape, np.nan, dtype=np.float32)
    areas.ravel()[cells] = np.minimum(np.bincount(instance, weights=area[listed], minlength=len(cells)), 1.0)
    return Truth(
        keys=tuple(keys.dictionary.to_pylist()),
        objects=tuple(objects.dictionary.to_pylist()),
        area=areas,
        notes=tuple(notes),
    )


def _json_lines(data: bytes) -> Any:
    """JSON lines as a table. Raises what Arrow raises, and JsonFault."""
    # Editors on Windows put a mark before UTF-8, which Arrow takes for a value.
    data = data.removeprefix(BOM_UTF8)
    for number, line in enumerate(map(bytes.strip, io.BytesIO(data)), 1):
        # One plain object shows by its braces. Anything else is read with care first: of a value that is none, and of
        # great depth, Arrow dies.
        plain = line.startswith(b"{") and line.endswith(b"}") and line.count(b"{") == 1 == line.count(b"}")
        if not line or (plain and line.count(b"[") <= DEEPEST):
            continue
        try:
            value = parse_json(line)
        except JsonFault as fault:
            raise JsonFault(f"line {number:,}: {str(fault).replace(' in line 1,', ',')}") from None
        if not isinstance(value, dict):
            raise JsonFault(f"line {number:,} is no object")
    return pa_json.read_json(io.BytesIO(data))


def _tar_table(path: Path, notes: list[str]) -> Any:
    """The `.json` members of a WebDataset tar as a table of (key, object, area)."""
    rows: list[tuple[str, str | None, float | None]] = []
    bad: list[str] = []
    for key, content in _json_members(path):
        try:
            listed = parse_json(content)["objects"]
            objects = [(str(entry["name"]), float(entry["area"])) for entry in listed]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            bad.append(key)
            continue
        if not all(map(is_utf8, (key, *(name for name, _ in objects)))):
            bad.append(key)
            continue
        rows.extend((key, name, area) for name, area in objects)
        if not objects:
            rows.append((key, None, None))
    if bad:
        notes.append(f"{path.name}: {len(bad)} .json members hold no objects of name and area ({some(bad)})")
    if not rows:
        raise MisuseError(
            f'--truth {path}: no .json member holds objects (wanted: {{"objects": [{{"name": "dog", "area": 0.17}}]}})'
        )
    types = (pa.string(), pa.string(), pa.float64())
    columns = zip(COLUMNS, zip(*rows, strict=True), types, strict=True)
    return pa.table({name: pa.array(values, kind) for name, values, kind in columns})


def _json_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with open_tar(str(path)) as tar:
        for member in find_members(tar.file):
            if isinstance(member, Reject):
                raise CocuError(member.reason + (f"; {tar.fault}" if tar.fault else ""))
            if member.field == "json" and member.size <= _MAX_JSON_BYTES:
                yield member.key, read_member(tar.file, member)
