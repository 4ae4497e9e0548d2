"""The column of concepts of a curated Parquet shard: of each cell the `.concepts.json` that a curated tar has."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from files.concepts_json import CONCEPTS_VERSION, KeptConcepts, concepts_json
from files.errors import one_line

CONCEPTS_COLUMN = "concepts"
_NAMED = ("concept", "score", "cluster", "in_caption")


def concepts_members(column: pa.Array) -> list[bytes | None]:
    """The `.concepts.json` of each row; None where the cell is empty."""
    try:
        with np.errstate(over="ignore"):  # no number then, and told as that
            made = concepts_json(_kept(column)).to_pylist()
        return [data if there else None for data, there in zip(made, column.is_valid().to_pylist(), strict=True)]
    except (pa.ArrowException, TypeError, KeyError, ValueError):  # one by one: not all of them are broken
        return [_one_by_one(cell) for cell in column]


def _kept(column: pa.Array) -> KeptConcepts:
    """What a column of concepts holds. Raises KeyError, TypeError or ValueError where it is not as curation left it."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    values = column.flatten()
    if not pa.types.is_struct(values.type):
        raise TypeError("a concept is no object")
    parts = {values.type.field(i).name: part for i, part in enumerate(values.flatten())}
    if any(parts[name].null_count for name in _NAMED) or not pa.types.is_boolean(parts["in_caption"].type):
        raise ValueError("a concept lacks something")

    def numbers(name: str) -> np.ndarray:
        return parts[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)

    return KeptConcepts(
        np.concatenate([[0], np.cumsum(lengths)]),
        parts["concept"].cast(pa.string()),
        numbers("score"),
        parts["cluster"].cast(pa.int32()).to_numpy(),
        parts["in_caption"].to_numpy(zero_copy_only=False),
        numbers("confidence") if "confidence" in parts else np.full(len(values), np.nan, np.float32),
        _regions(parts) if "peak" in parts else None,
    )


def _regions(parts: dict[str, pa.Array]) -> np.ndarray:
    seen = parts["peak"].is_valid().to_numpy(zero_copy_only=False)
    made = np.full((len(seen), 6), np.nan, np.float32)
    made[seen, :4] = parts["box"].filter(pa.array(seen)).flatten().to_numpy().reshape(-1, 4)
    for i, name in enumerate(("area", "peak"), 4):
        made[seen, i] = parts[name].to_numpy(zero_copy_only=False)[seen]
    return made


def _one_by_one(cell: pa.Scalar) -> bytes | None:
    """Of a cell that may be anything; who parses it says what is wrong."""
    try:
        listed = cell.as_py()
        if listed is None:
            return None
        return json.dumps({"version": CONCEPTS_VERSION, "concepts": listed}, default=str).encode()
    except ValueError as error:
        return one_line(error).encode()
