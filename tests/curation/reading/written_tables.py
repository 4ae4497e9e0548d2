"""Tables of pictures and captions in every form, written and read."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.reading.captioned_tables import CaptionedTable, CaptionRow
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, find_shards, read_pairs
from files.rejects import Reject

FORMS = ["csv", "tsv", "jsonl", "parquet"]


def write(path: Path, rows: list[dict[str, Any]], row_group: int = 3) -> Path:
    names = list(rows[0])
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as target:
            if path.suffix == ".tsv":
                target.writelines(
                    "\t".join(str(cell) for cell in line) + "\n" for line in [names, *map(dict.values, rows)]
                )
            else:
                writer = csv.DictWriter(target, names)
                writer.writeheader()
                writer.writerows(rows)
    return path


def read(path: Path, **options: Any) -> list[Pair | Reject]:
    given = CaptionOptions(**options)
    return [item for shard in find_shards([str(path)], given) for item in read_pairs(shard, given)]


def caption_rows(shard: Shard) -> list[CaptionRow | Reject]:
    assert isinstance(shard.reader, CaptionedTable)
    return list(shard.reader.caption_rows())


def reasons(found: list[Pair | Reject]) -> dict[str, str]:
    return {item.key: item.reason for item in found if isinstance(item, Reject)}
