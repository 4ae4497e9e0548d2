"""The benchmark of Parquet against tars runs, on the same pairs in both."""

from pathlib import Path

import pytest

from benchmarks.speed.loader_speed import draw_shards
from benchmarks.speed.parquet_speed import as_parquet, main
from training.shards.parquet_tar import write_tar


def test_it_measures_the_same_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = draw_shards(tmp_path / "tars", shards=2, pairs=12)
    small = ["--size", "32", "--batch", "4", "--batches", "2", "--workers", "0", "--turns", "1"]
    assert set(main([str(shards), *small])) == {"clock", "cpu"}
    assert "Parquet written as a tar" in capsys.readouterr().out
    for tar in shards.glob("*.tar"):
        table = as_parquet(str(tar), tmp_path / f"{tar.stem}.parquet")
        with table.open("rb") as source, (tmp_path / "again.tar").open("w+b") as target:
            assert len(write_tar(str(table), source, target)) == 12
        assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()
