"""Reading the parts of a finished folder: one that is missing or broken is named, with what can be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from files.errors import CocuError, one_line
from files.npy import let_go
from files.remote_folders import at_hand

CHECKED = 8192


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around the reading of a file: what goes wrong there becomes a CocuError that names it."""
    at_hand(path)
    try:
        yield
    except FileNotFoundError as error:
        raise CocuError(f"{path}: missing; put it back, or build its folder anew under another name") from error
    except (OSError, ValueError, RuntimeError, EOFError, MemoryError, KeyError, pa.ArrowException) as error:
        reason = one_line(error, 200)
        raise CocuError(
            f"{path}: broken ({reason}); put back a copy of it, or build its folder anew under another name"
        ) from error


def parquet_batches(path: Path, rows: int, columns: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Batches of at most so many rows of a Parquet file, of these columns, which it must have; none: of all.

    Raises CocuError where it is missing or broken, or a vector in it holds what is no number.
    """
    with reading(path):
        file = pq.ParquetFile(path, pre_buffer=False)
        if lacking := [name for name in columns if name not in file.schema_arrow.names]:
            raise ValueError(f"it has no column {', '.join(lacking)}")
        for batch in file.iter_batches(rows, columns=list(columns) or None):
            batch.validate(full=True)  # Arrow does not ask by itself whether text is UTF-8
            for field, column in zip(batch.schema, batch.columns, strict=True):
                if pa.types.is_fixed_size_list(field.type) and pa.types.is_float16(field.type.value_type):
                    check_finite(column.flatten().to_numpy(zero_copy_only=False), field.name)
            yield batch


def count_rows(path: Path) -> int:
    """Rows of a Parquet file. Raises CocuError where it is missing or broken."""
    with reading(path):
        return int(pq.read_metadata(path).num_rows)


def check_finite(vectors: np.ndarray, name: str = "") -> None:
    """Raises ValueError where float16 [...] holds an infinity or NaN. Memory is one block's."""
    for start in range(0, len(vectors), CHECKED):
        block = np.ascontiguousarray(vectors[start : start + CHECKED], np.float16)
        # By the bits of the exponent, which are all set: several times as fast as numpy's isfinite.
        if (block.view(np.uint16) & 0x7C00 == 0x7C00).any():
            raise ValueError(f"{name} holds what is no number".lstrip())
        let_go(vectors)


def vectors_to_arrow(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """float16 [N, D] -> Arrow fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1])


def arrow_to_vectors(column: pa.Array) -> np.ndarray:
    """Arrow fixed-size lists without nulls -> float16 [N, D]."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
