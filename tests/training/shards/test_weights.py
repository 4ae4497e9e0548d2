"""Tables of weights: read, looked up, drawn from, and refused where they are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import training.shards.weights
from files.errors import CocuError, MisuseError
from training.shards.found import TarShard
from training.shards.weights import is_drawn, read_weights

SHARDS = [TarShard("a/0", "/x/a/0.tar", 9), TarShard("b/0", "/x/b/0.tar", 9), TarShard("1", "/x/a/1.tar", 9)]


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("at_once", [1, 3, 1 << 17])
def test_pairs_are_found_by_shard_and_key(tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.shards.weights, "ROWS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    rows = {(shard, f"{i:03d}"): float(rng.random()) for shard in ("a/0", "b/0", "1", "of others") for i in range(40)}
    shards, keys = zip(*rows, strict=True)
    order = rng.permutation(len(rows))
    values = list(rows.values())
    path = table(
        tmp_path / "w.parquet",
        shard=pa.array([shards[i] for i in order]).dictionary_encode(),
        key=pa.array([keys[i] for i in order], pa.large_string()),
        weight=[values[i] for i in order],
    )
    found = read_weights(path, SHARDS)
    for number, shard in enumerate(SHARDS):
        for i in range(40):
            assert found.of(number, f"{i:03d}") == pytest.approx(rows[shard.name, f"{i:03d}"], abs=1e-6)
        assert found.of(number, "040") is None
    assert len(found.weights) == 120
    assert found.pairs_an_epoch == round(sum(weight for (shard, _), weight in rows.items() if shard != "of others"))


def test_a_shard_may_be_called_as_its_file_is(tmp_path: Path) -> None:
    shards = [TarShard("train/7", "https://x.org/train/7.tar.gz?key=1", 9), SHARDS[0]]
    path = table(tmp_path / "w.parquet", shard=["7", "a/0"], key=["k", "k"], weight=[0.25, 0.5])
    found = read_weights(path, shards)
    assert (found.of(0, "k"), found.of(1, "k")) == (0.25, 0.5)


def test_columns_may_be_missing(tmp_path: Path) -> None:
    found = read_weights(table(tmp_path / "keys.parquet", key=["é", "2"]), SHARDS)
    assert (found.of(0, "é"), found.of(1, "2"), found.of(2, "3")) == (1.0, 1.0, None)
    assert found.pairs_an_epoch == 2


def test_a_draw_is_as_likely_as_its_weight() -> None:
    for weight in (0.0, 0.1, 0.5, 1.0):
        share = np.mean([is_drawn(weight, 3, epoch, f"a/{i}") for i in range(400) for epoch in range(10)])
        assert abs(share - weight) <= 4 * np.sqrt(weight * (1 - weight) / 4000)
    seen = [[is_drawn(0.5, 3, epoch, f"a/{i}") for i in range(100)] for epoch in range(2)]
    assert seen[0] != seen[1]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"name": ["k"]}, "has no column key"),
    "above 1": ({"key": ["j", "k"], "weight": [1.0, 1.5]}, "pair 'k' the weight 1.5; give probabilities"),
    "below 0": ({"key": ["k"], "weight": [-0.1]}, "the weight -0.1"),
    "not a number": ({"key": ["k"], "weight": [float("nan")]}, "the weight nan"),
    "empty cell": ({"key": ["k", None]}, "column key has empty cells"),
    "twice": ({"key": ["k", "j", "k"]}, "row 1 of those of --data is there twice"),
    "none": ({"key": pa.array([], pa.string())}, "none of the pairs of --data a weight above 0"),
    "zero": ({"key": ["k"], "weight": [0.0]}, "none of the pairs of --data a weight above 0"),
    "other shards": ({"key": ["k"], "shard": ["z"]}, "it is of other shards, such as z"),
    "two shards of one name": ({"key": ["k"], "shard": ["0"]}, "it is of other shards, such as 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_table_of_weights_is_refused(tmp_path: Path, kind: str) -> None:
    columns, said = WRONG[kind]
    with pytest.raises(MisuseError, match=said) as told:
        read_weights(table(tmp_path / "w.parquet", **columns), SHARDS)
    assert f"--weights {tmp_path / 'w.parquet'}" in str(told.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"w.parquet: is not there"):
        read_weights(tmp_path / "w.parquet", SHARDS)
    (tmp_path / "w.parquet").write_bytes(b"key,weight\n1,1\n")
    with pytest.raises(CocuError, match=r"w.parquet: cannot be read"):
        read_weights(tmp_path / "w.parquet", SHARDS)
    lists = table(tmp_path / "lists.parquet", key=[["k"]], weight=[1.0])
    with pytest.raises(CocuError, match=r"lists.parquet: cannot be read"):
        read_weights(lists, SHARDS)
