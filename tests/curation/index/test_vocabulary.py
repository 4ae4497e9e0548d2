"""The vocabulary of a corpus against counting by hand."""

from __future__ import annotations

import os
import resource
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.vocabulary import count_concepts, read_vocabulary_table, write_vocabulary
from files.errors import CocuError
from tests.tiny_world import make_tiny_clip

NAMED = [["dog", "beach"], ["dog"], [], ["cat", "dog", 'it\'s "quoted"'], ["beach", "cat"], ["zebra"]]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "embeddings" / f"it's {i}.parquet" for i in range(2)]
    paths[0].parent.mkdir()
    for path, part in zip(paths, (NAMED[:3], NAMED[3:]), strict=True):
        pq.write_table(pa.table({"concepts": pa.array(part, pa.list_(pa.string()))}), path)
    return paths


@pytest.mark.parametrize("least", [1, 2, 3])
def test_counts_are_those_of_a_plain_count(files: list[Path], least: int) -> None:
    expected = Counter(concept for named in NAMED for concept in named)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = count_concepts(files, least)
    kept = [(concept, count) for concept, count in expected.items() if count >= least]
    assert [(row["concept"], row["count"]) for row in found.to_pylist()] == sorted(kept, key=lambda x: (-x[1], x[0]))


def test_more_files_are_counted_than_may_be_open(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.parquet" for i in range(300)]
    for path in paths:
        pq.write_table(pa.table({"concepts": pa.array([["dog"]], pa.list_(pa.string()))}), path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 64, hard))
    try:
        assert count_concepts(paths, 1).to_pylist() == [{"concept": "dog", "count": 300}]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_table_and_its_vectors(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = Encoder(EncoderSpec(make_tiny_clip(tmp_path / "clip"), None, "fp32"), "cpu")
    path = tmp_path / "concepts.parquet"
    before = set(os.listdir(tmp_path))
    assert write_vocabulary(path, files, 2, encoder) == 3
    assert set(os.listdir(tmp_path)) == before | {"concepts.parquet"}
    assert pq.read_schema(path).names == ["concept_id", "concept", "count", "text_vec"]
    vocabulary = read_vocabulary_table(path)
    assert vocabulary.words == ["dog", "beach", "cat"]
    assert vocabulary.counts.tolist() == [3, 2, 2]
    expected = encoder.encode_texts(["a photo of a dog", "a photo of a beach", "a photo of a cat"])
    np.testing.assert_array_equal(vocabulary.vectors, expected.astype(np.float32))
    assert vocabulary.ids_of(pa.array(["cat", "unknown", "dog", None])).to_pylist() == [2, None, 0, None]


def test_no_concept_is_frequent_enough(files: list[Path], tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec(make_tiny_clip(tmp_path / "clip"), None, "fp32"), "cpu")
    with pytest.raises(CocuError, match="named by 9 captions or more; lower --min-count"):
        write_vocabulary(tmp_path / "concepts.parquet", files, 9, encoder)
    assert not (tmp_path / "concepts.parquet").exists()
