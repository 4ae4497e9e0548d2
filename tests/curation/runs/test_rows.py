"""Single rows of Parquet files, whose footers are kept: as long as a file is the same one."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.runs.rows import read_rows
from files.errors import CocuError


def put(path: Path, values: list[int]) -> None:
    """As commands do: written beside, then renamed. Of a time that a coarse clock gives to all."""
    other = path.with_name("other")
    pq.write_table(pa.table({"x": values}), other, row_group_size=2)
    os.utime(other, (10**9, 10**9))
    other.replace(path)


def test_a_file_in_the_place_of_another_of_the_same_time_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for values in ([1, 2, 3], [14, 15, 16, 17, 18, 19], [20, 21, 22, 23, 24, 25], [7]):
        put(path, values)
        wanted = list(range(len(values)))[::-1]
        assert read_rows(path, wanted, ["x"])["x"].to_pylist() == values[::-1]
        with pytest.raises(CocuError, match=f"has {len(values)} rows now"):
            read_rows(path, [len(values)], ["x"])
