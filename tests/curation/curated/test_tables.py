"""Tables of a curated folder: what is written is read back, and nothing is stored twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.curated.tables import ARCHIVES, LOCALISED, PAIRS, TableWriter


@pytest.mark.parametrize("schema", [ARCHIVES, LOCALISED, PAIRS])
def test_rows_come_back_and_only_what_repeats_has_a_dictionary(schema: pa.Schema, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = {
        pa.string(): [f"word {i % 7}" for i in range(300)],
        pa.int32(): rng.integers(0, 9, 300),
        pa.float32(): rng.random(300, np.float32),
        pa.bool_(): rng.random(300) < 0.5,
        pa.list_(pa.string()): [["a", "b"][: i % 3] for i in range(300)],
    }
    table = pa.table([pa.array(made[field.type], field.type) for field in schema], schema=schema)
    with TableWriter(tmp_path / "t.parquet", schema) as writer:
        for start in range(0, 300, 100):
            writer.write(table.slice(start, 100))
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    for column in (group.column(i) for i in range(group.num_columns)):
        repeats = column.physical_type in ("BYTE_ARRAY", "INT32")
        assert column.has_dictionary_page == repeats, column.path_in_schema
