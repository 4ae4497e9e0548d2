"""Tables of tags: what a tagger, or any model that looks at pictures, found in them.

Parquet or CSV with a row for each tag: `key`, `concept`, and, where there are any, `score` (higher is surer, on
whatever scale) and `shard` (where keys are unique in their shards only). A row without concept says that its picture
was looked at and has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from files.errors import CocuError, MisuseError

ROWS_AT_ONCE = 1 << 16
_TEXTS = ("key", "concept", "shard")


@dataclass(frozen=True)
class TagRows:
    """Some rows. shards: None where the table has none. concepts: "" for none. scores float32, 1 where it has none."""

    shards: list[str] | None
    keys: list[str]
    concepts: list[str]
    scores: np.ndarray


def tag_rows(path: Path, option: str) -> Iterator[TagRows]:
    """The rows of a table, part by part; option: what named it, for messages.

    Raises MisuseError for a table that is none of tags, CocuError where it cannot be read.
    """
    if not path.is_file():
        raise MisuseError(f"{option} {path}: no such file; give a table of key, concept and score")
    try:
        for batch in _batches(path, option):
            if missing := [name for name in ("key", "concept") if name not in batch.schema.names]:
                raise MisuseError(
                    f"{option} {path}: no column {', '.join(missing)}; it needs key and concept, may have score and "
                    f"shard, and has {', '.join(batch.schema.names)}"
                )
            yield _checked(batch, f"{option} {path}")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CocuError(f"{option} {path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _batches(path: Path, option: str) -> Iterator[Any]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        file = pq.ParquetFile(path, pre_buffer=False)
        wanted = [name for name in (*_TEXTS, "score") if name in file.schema_arrow.names]
        yield from file.iter_batches(ROWS_AT_ONCE, columns=wanted or None)
    elif suffix in (".csv", ".tsv"):
        types = {**dict.fromkeys(_TEXTS, pa.string()), "score": pa.float64()}
        parted = pa_csv.ParseOptions(delimiter="\t" if suffix == ".tsv" else ",")
        yield from pa_csv.open_csv(
            path, parse_options=parted, convert_options=pa_csv.ConvertOptions(column_types=types)
        )
    else:
        raise MisuseError(f"{option} {path}: the name ends in {suffix!r}; give Parquet (.parquet) or .csv, .tsv")


def _checked(batch: Any, where: str) -> TagRows:
    columns = {name: batch[name] for name in batch.schema.names}
    for name in ("key", "shard", "score"):
        if name in columns and columns[name].null_count:
            raise MisuseError(f"{where}: column {name} has empty cells; fill them, or leave the column out")
    keys = columns["key"].cast(pa.string()).to_pylist()
    concepts = columns["concept"].cast(pa.string()).fill_null("").to_pylist()
    scores = np.ones(len(keys), np.float32)
    if "score" in columns:
        scores = columns["score"].cast(pa.float32()).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        tag = f"{concepts[wrong[0]]!r} of pair {keys[wrong[0]]!r} has the score {scores[wrong[0]]:g}"
        raise MisuseError(f"{where}: {tag}; give finite numbers")
    shards = columns["shard"].cast(pa.string()).to_pylist() if "shard" in columns else None
    return TagRows(shards, keys, concepts, scores)
