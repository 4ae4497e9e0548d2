"""The pairs of tars as Parquet, as people publish them: members become cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.shards.tar_index import index_tar, read_members

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
CONCEPT = pa.struct({"concept": pa.string(), "score": pa.float64(), "cluster": pa.int32(), "in_caption": pa.bool_()})
SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("caption", pa.binary()),
        ("key", pa.string()),
        ("concepts", pa.list_(CONCEPT)),
        ("n", pa.int8()),
    ]
)


def rows_of(tar: Path) -> list[dict[str, Any]]:
    """A row of each sample; what has no cell of its own, such as broken concepts, is none."""
    rows = []
    data = tar.read_bytes()
    for start, stop in index_tar(tar).spans.tolist():
        key, members = read_members(data[start:stop])
        picture, text, concepts = (
            bytes(members[name]) if name in members else None for name in ("jpg", "txt", "concepts.json")
        )
        try:
            listed = json.loads(concepts)["concepts"] if concepts else None
        except ValueError:
            listed = [{"concept": None}]
        path = None if len(rows) % 2 else f"a/{key}.jpg"
        rows.append({"image": {"bytes": picture, "path": path}, "caption": text, "key": key, "concepts": listed})
    return rows


def as_parquet(tars: Path, folder: Path, group: int = 7) -> Path:
    """A Parquet file beside each tar of a folder, in another."""
    folder.mkdir(parents=True)
    for tar in sorted(tars.glob("*.tar")):
        write(folder / f"{tar.stem}.parquet", rows_of(tar), group)
    return folder


def write(path: Path, rows: Sequence[dict[str, Any]], group: int = 7, schema: pa.Schema = SCHEMA) -> Path:
    """A Parquet file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, row_group_size=group)
    return path


def break_group(path: Path, group: int, column: int = 0) -> None:
    """Put zeros where the first page of a row group's column begins."""
    described = pq.read_metadata(path).row_group(group).column(column)
    start = described.dictionary_page_offset or described.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 24] = bytes(24)
    path.write_bytes(data)
