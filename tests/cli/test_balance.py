"""`cocu curate balance`: what its last lines say."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import cocu
from tests.curation.curated.test_balance import made_pairs
from tests.curation.curated_fixture import make_curated
from tests.integration.commands import cocu as command


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return make_curated(tmp_path / "curated", {"a": made_pairs(60, 0), "b": made_pairs(20, 1)})


def test_it_says_what_came_of_it(curated: Path, tmp_path: Path) -> None:
    answer = command("curate", "balance", curated, "--out", tmp_path / "w.parquet", "--cap", 8)
    weights = pq.read_table(tmp_path / "w.parquet")["weight"].to_numpy()
    assert answer.code == 0
    assert "commonest  sky" in answer.out
    none = int((weights == 0).sum())
    assert f"weights of 80 pairs, {weights.sum():.0f} pairs an epoch; 0 for {none} that show no concept" in answer.out

    answer = command("curate", "balance", curated, "--out", tmp_path / "k.parquet", "--cap", 8, "--subset")
    kept = pq.read_metadata(tmp_path / "k.parquet").num_rows
    said = f"kept {kept} of 80 pairs; left out {80 - kept}: {80 - kept - none} not drawn, {none} that show no concept"
    assert said in answer.out


def test_python_does_the_same(curated: Path, tmp_path: Path) -> None:
    made = cocu.open_curated(curated).balance(tmp_path / "w.parquet", cap=8)
    assert command("curate", "balance", curated, "--out", tmp_path / "v.parquet", "--cap", 8).code == 0
    assert (tmp_path / "w.parquet").read_bytes() == (tmp_path / "v.parquet").read_bytes()
    assert [row[0] for row in made.curve()][::10] == ["rarest", "commonest"]


def test_a_folder_that_is_no_curation_is_misuse(tmp_path: Path) -> None:
    answer = command("curate", "balance", tmp_path, "--out", tmp_path / "w.parquet")
    assert answer.code == 2
    assert "no manifest.json" in answer.err
