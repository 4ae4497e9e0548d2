"""Parquet with pictures, curated into Parquet: the same rows and columns, with their concepts."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.speed.tiny_pairs import caption
from curation.curated import parquet_shards
from tests.integration.commands import World, cocu, concepts_of, digests, manifest, succeed
from tests.tiny_world import picture

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
FEATURES = {"image": {"_type": "Image"}, "caption": {"dtype": "string", "_type": "Value"}}
SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("caption", pa.string()),
        ("id", pa.int64()),
        ("day", pa.date32()),
        ("label", pa.dictionary(pa.int8(), pa.string())),
        ("vector", pa.list_(pa.float32(), 2)),
    ],
    {"huggingface": json.dumps({"info": {"features": FEATURES}, "other": 1}), "mine": "kept"},
)
PAIRS = 24


def rows(part: int) -> list[dict[str, Any]]:
    """Good rows, some of one picture, and some that are no pair."""

    def row(i: int, data: bytes | None, text: str) -> dict[str, Any]:
        number = 100 * part + i
        return {
            "image": {"bytes": data, "path": f"p{number}.jpg" if data else None},
            "caption": text,
            "id": number,
            "day": datetime.date(2020, 1, 1 + i),
            "label": ["a", "b", None][i % 3],
            "vector": [i, -i],
        }

    made = [row(i, picture(100 * part + i), caption(100 * part + i)) for i in range(PAIRS)]
    again = row(3, picture(100 * part + 3), "another dog of the same picture")
    return [*made[:4], again, row(25, None, "no picture"), *made[4:], row(26, b"\x00 no picture", "broken")]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "data"
    folder.mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(rows(part), SCHEMA)
        pq.write_table(table, folder / f"train-{part:05d}-of-00002.parquet", row_group_size=7)
    return folder.parent


@pytest.fixture(scope="module")
def hub_index(world: World, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("index") / "index"
    succeed("index", "build", parts, "--model", world.model, "--out", out, "--min-count", 1)
    assert manifest(out)["summary"]["pairs"] == 2 * PAIRS
    assert sum(manifest(out)["summary"]["rejects"].values()) == 4
    return out


def curated(index: Path, out: Path, *options: object) -> Path:
    succeed("curate", "run", index, "--out", out, "--ranking", "similarity", "--neighbours", 8, *options)
    return out


@pytest.mark.parametrize("localise", [(), ("--localise",)])
def test_rows_stay_and_get_the_concepts_of_the_tars(
    world: World, hub_index: Path, tmp_path: Path, localise: tuple[str, ...]
) -> None:
    localise = (*localise, *(("--model", world.model) if localise else ()))
    tars = curated(hub_index, tmp_path / "tars", *localise)
    tables = curated(hub_index, tmp_path / "tables", *localise, "--shards-format", "parquet", "--write-caption", "long")
    for part in range(2):
        name = f"train-{part:05d}-of-00002-00000"
        concepts = concepts_of(tars / "shards" / f"{name}.tar")
        table = pq.read_table(tables / "shards" / f"{name}.parquet")
        good = [row for row in rows(part) if row["image"]["bytes"] and row["caption"] != "broken"]
        assert table.select(SCHEMA.names).equals(pa.Table.from_pylist(good, SCHEMA).select(SCHEMA.names))
        assert table.column_names == [*SCHEMA.names, "long", "concepts"]
        assert table.schema.metadata[b"mine"] == b"kept"
        for row, found in zip(good, table.select(["long", "concepts"]).to_pylist(), strict=True):
            of_pair = concepts[str(row["id"])]
            assert [{k: v for k, v in one.items() if k in of_pair[i]} for i, one in enumerate(found["concepts"])] == (
                of_pair
            )
            said = [one["concept"] for one in of_pair if not one["in_caption"]]
            assert not said or found["long"].endswith(f" {said[:3][-1]}")
            assert "box" in found["concepts"][0] if localise else "box" not in str(found["concepts"])


def test_bytes_do_not_depend_on_blocks(
    world: World, hub_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_shards, "_GROUP_ROWS", 4)
    parquet = ("--shards-format", "parquet", "--localise", "--model", world.model)
    whole = digests(curated(hub_index, tmp_path / "a", *parquet), "shards")
    assert whole == digests(curated(hub_index, tmp_path / "b", *parquet, "--batch-size", 3), "shards")
    file = pq.ParquetFile(next((tmp_path / "a" / "shards").iterdir()))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [5, 4, 4, 4, 4, 4]
    monkeypatch.setattr(parquet_shards, "_GROUP_BYTES", 1)
    one_each = curated(hub_index, tmp_path / "c", *parquet)
    file = pq.ParquetFile(next((one_each / "shards").iterdir()))
    assert file.num_row_groups == PAIRS


def test_a_broken_run_goes_on(hub_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = ("--shards-format", "parquet")
    whole = digests(curated(hub_index, tmp_path / "whole", *parquet), "shards", "tables")
    with monkeypatch.context() as patch:
        written = parquet_shards.ParquetShard.write

        def fail(self: parquet_shards.ParquetShard, *args: Any) -> None:
            written(self, *args)
            if "00001-of" in self.shard.name:
                raise KeyboardInterrupt

        patch.setattr(parquet_shards.ParquetShard, "write", fail)
        broken = tmp_path / "broken"
        options = ("--ranking", "similarity", "--neighbours", 8, *parquet)
        assert cocu("curate", "run", hub_index, "--out", broken, *options).code != 0
        assert [path.name for path in (broken / "shards").iterdir()] == ["train-00000-of-00002-00000.parquet"]
    assert digests(curated(hub_index, broken, *parquet), "shards", "tables") == whole


def test_a_curated_table_is_curated_again(world: World, hub_index: Path, tmp_path: Path) -> None:
    options = ("--shards-format", "parquet", "--write-caption", "long")
    first = curated(hub_index, tmp_path / "first", *options)
    again = tmp_path / "index"
    succeed("index", "build", f"{first}/shards/*.parquet", "--model", world.model, "--out", again, "--min-count", 1)
    second = curated(again, tmp_path / "second", *options)
    names = [pq.read_schema(path).names for path in sorted((second / "shards").iterdir())]
    assert names == [[*SCHEMA.names, "long", "concepts"]] * 2


def test_the_folder_tells_what_it_is(hub_index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "curated"
    said = succeed("curate", "run", hub_index, "--out", folder, "--preset", "clip", "--shards-format", "parquet").out
    assert "load_dataset" in "".join(said.split())
    again = cocu("curate", "run", hub_index, "--out", folder, "--preset", "clip")
    assert again.code == 2
    assert "shards_format" in again.err
    succeed("curate", "report", folder, "--out", tmp_path / "report.html")
    assert "data:image/" in (tmp_path / "report.html").read_text()  # pictures of the source
    succeed("curate", "balance", folder, "--out", tmp_path / "balanced")


def test_what_cannot_be_written_so_is_refused_at_once(
    world: World, index: Path, hub_index: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "curated", "--shards-format", "parquet")
    for arguments, said in (
        ((index, *out), "is for what came as Parquet with its pictures"),
        ((hub_index, *out, "--write-caption", "image"), "is no caption's"),
        ((hub_index, *out, "--output", "tables"), "is of whole shards"),
    ):
        answer = cocu("curate", "run", *arguments)
        assert answer.code == 2
        assert said in " ".join(answer.err.split())
    table = pa.table({"jpg": [picture(0)] * 3, "caption": ["a dog"] * 3, "concepts": ["mine"] * 3})
    pq.write_table(table, tmp_path / "own.parquet")
    own = tmp_path / "index"
    succeed("index", "build", tmp_path / "own.parquet", "--model", world.model, "--out", own, "--min-count", 1)
    answer = cocu("curate", "run", own, *out)
    assert (answer.code, "has a column concepts of its own" in " ".join(answer.err.split())) == (2, True)


@pytest.mark.parametrize("features", [True, False])
def test_hugging_face_reads_it(world: World, tmp_path: Path, features: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    table = pa.Table.from_pylist(rows(0), SCHEMA)
    pq.write_table(table if features else table.replace_schema_metadata(None), tmp_path / "a.parquet")
    index = tmp_path / "index"
    succeed("index", "build", tmp_path / "a.parquet", "--model", world.model, "--out", index, "--min-count", 1)
    out = curated(index, tmp_path / "curated", "--shards-format", "parquet", "--localise", "--model", world.model)
    files = str(out / "shards" / "*.parquet")
    read = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(read) == PAIRS + 1
    assert read[0]["image"].tobytes() == Image.open(io.BytesIO(picture(0))).tobytes()
    written = pq.read_table(next((out / "shards").iterdir()))["concepts"].to_pylist()
    assert [row["concepts"] for row in read] == written
