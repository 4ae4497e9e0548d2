"""Tables of tags: Parquet and CSV say the same, and what is none is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curation.reading.tags
from curation.reading.tags import tag_rows
from files.errors import CocuError, MisuseError

ROWS = [("007", "dog", 0.5, "a"), ("007", "Fire, Trucks", -3.0, "a"), ("é", "", 0.25, "b")]


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for part in tag_rows(path, "--tags"):
        shards = part.shards or [None] * len(part.keys)
        found += zip(part.keys, part.concepts, part.scores.tolist(), shards, strict=True)
    return found


def test_every_format_reads_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation.reading.tags, "ROWS_AT_ONCE", 2)
    columns = dict(zip(("key", "concept", "score", "shard"), map(list, zip(*ROWS, strict=True)), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    encoded = {name: pa.array(values).dictionary_encode() for name, values in columns.items() if name != "score"}
    pq.write_table(pa.table({**encoded, "score": pa.array(columns["score"], pa.float16())}), tmp_path / "coded.parquet")
    lines = ["key,concept,score,shard", *(f'{k},"{c}",{s},{h}' for k, c, s, h in ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["\t".join(("shard", "score", "concept", "key")), *(f"{h}\t{s}\t{c}\t{k}" for k, c, s, h in ROWS)]
    (tmp_path / "t.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("t.parquet", "coded.parquet", "t.csv", "t.tsv"):
        assert rows_of(tmp_path / name) == ROWS, name


def test_scores_and_shards_may_be_missing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"concept": ["dog", None], "key": ["1", "2"], "other": [1, 2]}), tmp_path / "t.parquet")
    assert rows_of(tmp_path / "t.parquet") == [("1", "dog", 1.0, None), ("2", "", 1.0, None)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no concept": ({"key": ["1"], "tag": ["dog"]}, "no column concept"),
    "nothing": ({"name": ["1"]}, "no column key, concept"),
    "no number": ({"key": ["1", "2"], "concept": ["a", "b"], "score": [1.0, float("nan")]}, "'b' of pair '2' has"),
    "no end": ({"key": ["1"], "concept": ["a"], "score": [float("inf")]}, "the score inf; give finite"),
    "holes": ({"key": ["1", None], "concept": ["a", "b"]}, "column key has empty cells"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_table_of_tags_is_refused(tmp_path: Path, kind: str) -> None:
    columns, said = WRONG[kind]
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(MisuseError, match=said) as told:
        rows_of(tmp_path / "t.parquet")
    assert f"--tags {tmp_path / 't.parquet'}" in str(told.value)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"t.parquet: no such file"):
        rows_of(tmp_path / "t.parquet")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(MisuseError, match=r"'\.json'; give Parquet"):
        rows_of(tmp_path / "t.json")
    for name, data in (("t.parquet", b"no"), ("t.csv", b"key,concept,score\n1,dog,sure\n"), ("e.csv", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CocuError, match=f"{name}: cannot be read"):
            rows_of(tmp_path / name)
