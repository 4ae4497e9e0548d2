"""Vectors that hold what is no number: whoever reads them says so, and which file it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings
from curation.index.vocabulary import read_vocabulary_table
from curation.runs.parquet_parts import CHECKED, check_finite, parquet_batches, vectors_to_arrow
from files.errors import CocuError


def unit(rows: int = 64, dim: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("row", [0, CHECKED - 1, CHECKED, 2 * CHECKED + 4])
def test_it_is_found_wherever_it_is(value: float, row: int) -> None:
    vectors = np.full((2 * CHECKED + 5, 3), -65504, np.float16)  # as large as a float16 can be
    check_finite(vectors)
    vectors[row, 1] = value
    with pytest.raises(ValueError, match="no number"):
        check_finite(vectors)


def test_embeddings(tmp_path: Path) -> None:
    vectors, path = unit(), tmp_path / "00000.parquet"
    vectors[40, 3] = np.nan
    column = pa.concat_arrays([vectors_to_arrow(unit()), vectors_to_arrow(vectors)])
    pq.write_table(pa.table({"text_vec": column, "image_vec": pa.nulls(128, column.type)}), path)
    batches = parquet_batches(path, 32)
    assert [len(next(batches)) for _ in range(3)] == [32, 32, 32]
    with pytest.raises(CocuError, match=r"00000\.parquet: broken \(text_vec holds what is no number\)"):
        next(batches)


def test_vocabulary(tmp_path: Path) -> None:
    vectors, path = unit(2), tmp_path / "concepts.parquet"
    vectors[1, 0] = np.inf
    counts = pa.array([3, 2], pa.int64())
    pq.write_table(pa.table({"concept": ["dog", "cat"], "count": counts, "text_vec": vectors_to_arrow(vectors)}), path)
    with pytest.raises(ValueError, match="text_vec holds what is no number"):
        read_vocabulary_table(path)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_search_that_looks_at_such_vectors_again(tmp_path: Path, value: float) -> None:
    vectors = unit()
    build(tmp_path / "captions.faiss", vectors, "Flat")
    np.save(tmp_path / "text_vectors.npy", vectors)
    queries = vectors[:4].astype(np.float32)
    vectors[3] = value
    np.save(tmp_path / "text_vectors.npy", vectors)
    stored = np.load(tmp_path / "text_vectors.npy", mmap_mode="r")
    nearest = NearestRows(tmp_path / "captions.faiss", stored, SearchSettings(0, 4))
    with pytest.raises(CocuError, match=r"text_vectors\.npy: broken"):
        nearest.search(queries, 4)
