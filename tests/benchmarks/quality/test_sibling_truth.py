"""The truth by captions of one picture: written as its name says, so that `cocu curate score` reads it."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.quality import sibling_truth
from curation.recovery.truth import read_truth
from tests.curation.curated_fixture import jpeg

CAPTIONS = {"a": ["A dog runs .", "A puppy on grass ."], "b": ["Nothing to see ."], "c": ["A cat and a dog"]}
SHOWN = {("a", "dog"), ("c", "cat"), ("c", "dog")}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for key, captions in CAPTIONS.items():
            for name, data in ((f"{key}.jpg", jpeg()), (f"{key}.json", json.dumps({"captions": captions}).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    (tmp_path / "words.json").write_text(json.dumps({"dog": ["dog", "puppy"], "cat": ["cat"]}))
    return tmp_path / "s.tar"


def write(monkeypatch: pytest.MonkeyPatch, shard: Path, out: Path) -> None:
    words = shard.parent / "words.json"
    arguments = ["sibling_truth", str(shard), "--synonyms", str(words), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    sibling_truth.main()


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.ndjson", "X.PARQUET"])
def test_what_is_written_is_what_the_name_says(monkeypatch: pytest.MonkeyPatch, shard: Path, name: str) -> None:
    out = shard.parent / name
    write(monkeypatch, shard, out)
    truth = read_truth(out)
    assert set(truth.keys) == set(CAPTIONS)
    keys, objects = np.nonzero(truth.area == 1)
    assert {(truth.keys[i], truth.objects[j]) for i, j in zip(keys, objects, strict=True)} == SHOWN
    rows = pq.read_table(out).to_pylist() if name.lower() == "x.parquet" else list(map(json.loads, out.open()))
    whole = {(*shown, 1.0) for shown in SHOWN} | {("b", None, None)}
    assert {(row["key"], row["object"], row["area"]) for row in rows} == whole


def test_another_ending_is_refused(
    monkeypatch: pytest.MonkeyPatch, shard: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        write(monkeypatch, shard, shard.parent / "x.csv")
    assert ended.value.code == 2
    assert "x.csv" in (said := capsys.readouterr().err)
    assert ".parquet" in said
    assert not (shard.parent / "x.csv").exists()
