"""Single rows of a Parquet file: only the row groups that hold them are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.runs.parquet_parts import reading
from files.errors import CocuError


def read_rows(path: Path, rows: Sequence[int], columns: Sequence[str], later: Sequence[pa.Field] = ()) -> pa.Table:
    """These rows of a Parquet file, in this order. Raises CocuError where it is broken, or has no such rows.

    later: columns that files of earlier versions have not; they are null then.
    """
    with reading(path):
        status = path.stat()
        footer = _footer(path, (status.st_ino, status.st_size, status.st_mtime_ns))
        ends = np.cumsum([footer.row_group(i).num_rows for i in range(footer.num_row_groups)])
        at = np.asarray(rows, np.int64)
        if len(at) and at.max() >= footer.num_rows:
            raise CocuError(f"{path}: has {footer.num_rows:,} rows now; it was changed meanwhile; start again")
        file = pq.ParquetFile(path, metadata=footer, pre_buffer=False)
        lacking = {field.name: field for field in later}
        known = [name for name in columns if name in file.schema_arrow.names or name not in lacking]
        group = np.searchsorted(ends, at, "right")
        used, place = np.unique(group, return_inverse=True)
        sizes = [footer.row_group(int(i)).num_rows for i in used]
        table = file.read_row_groups(used.tolist(), columns=known, use_threads=False)
        begins = (np.cumsum([0, *sizes])[:-1] - (ends[used] - sizes)) if len(used) else np.zeros(0, np.int64)
        found = table.take(pa.array(at + begins[place]))
        for name in set(columns) - set(known):
            found = found.append_column(lacking[name], pa.nulls(len(found), lacking[name].type))
        found.validate(full=True)
        return found.select(list(columns))


@lru_cache(maxsize=4096)
def _footer(path: Path, stamp: object) -> Any:
    return pq.read_metadata(path)
