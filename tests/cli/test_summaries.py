"""What closing summaries say of what was left out."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.printing.summaries import _training, rejects_told


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"pairs": 5, "rejects": {}}, "0"),
        ({"pairs": 0, "rejects": {"no image": 0}}, "0"),
        ({"pairs": 3, "rejects": {"no image": 1}}, "1 (1 no image), 25.0% of what was read"),
        ({"pairs": 0, "rejects": {"a": 1, "b": 2_000}}, "2,001 (1 a, 2,000 b), 100.0% of what was read"),
        ({"pairs": 2, "extra_captions": 5, "rejects": {"a": 1}}, "1 (1 a), 12.5% of what was read"),
    ],
)
def test_rejects_are_told_with_their_share(summary: dict[str, object], told: str) -> None:
    assert rejects_told(summary) == told


@pytest.mark.parametrize(
    ("lies", "told"),
    [
        ("/data/cu", "--data /data/cu/shards --out RUN"),
        ("gs://bucket/cu", "--data gs://bucket/cu/shards data.samples=160 --out RUN"),
        ("sftp://host/cu", "a copy of these shards on a disk"),
    ],
)
def test_what_trains_on_a_curation(lies: str, told: str) -> None:
    manifest = {"parameters": {}, "summary": {"pairs": 160}}
    assert told in _training(Path(lies), manifest, "shards").replace(":/b", "://b")


@pytest.mark.parametrize(
    ("kind", "parts", "told"),
    [
        (pa.string(), 1, "nothing: these pairs lie neither in tars nor"),
        (pa.binary(), 1, "--concepts"),
        (pa.large_binary(), 1, "--concepts"),
        (pa.struct({"bytes": pa.binary(), "path": pa.string()}), 1, "--concepts"),
        (pa.binary(), 2, "nothing: these pairs lie neither in tars nor"),
    ],
)
def test_tables_without_pictures_are_not_trained_on(tmp_path: Path, kind: pa.DataType, parts: int, told: str) -> None:
    url = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array([None], kind), "caption": ["a dog"]}), url)
    inputs = [{"url": str(url), "rows": [part, part + 1]} for part in range(parts)]
    manifest = {"parameters": {}, "summary": {"pairs": 1}, "inputs": inputs}
    assert told in _training(tmp_path / "curated", manifest, "tables")
    url.unlink()
    assert (told in _training(tmp_path / "curated", manifest, "tables")) == (kind != pa.string())
