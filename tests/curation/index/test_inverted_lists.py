"""Rows are put into lists block by block, by whomever, and the index is the one to which FAISS itself adds them."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from benchmarks.speed import synthetic
from curation.index import inverted_lists
from curation.index.inverted_lists import build, fill, is_listed, nearest_lists, trained
from curation.index.list_files import build_by_lists, find_lists_of_part, forget_lists, train_lists
from curation.runs.part import RunPart
from curation.runs.run_folder import RunFolder

ROWS, DIM, BLOCK = 3_000, 32, 700
LISTED = ["IVF16,SQfp16", "IVF16,SQ8", "IVF16,Flat", "IVF16,PQ8x4", "IVF16_HNSW8,SQfp16"]
OTHERS = ["Flat", "PCA16,IVF16,SQ8", "IVF16,PQ8x4fs", "HNSW8"]


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(inverted_lists, "ADD_ROWS", BLOCK)
    space = synthetic.make_space(ROWS, DIM)
    return synthetic.vectors_of(synthetic.topics_of(ROWS, space), space)


def faisss_own(vectors: np.ndarray, factory: str) -> bytes:
    """The index as FAISS fills it."""
    index = trained(vectors, factory)
    for start in range(0, len(vectors), BLOCK):
        index.add(vectors[start : start + BLOCK].astype(np.float32))
    return faiss.serialize_index(index).tobytes()


@pytest.mark.parametrize("factory", LISTED + OTHERS)
def test_it_is_the_index_that_faiss_fills(vectors: np.ndarray, factory: str, tmp_path: Path) -> None:
    build(tmp_path / "index", vectors, factory)
    assert (tmp_path / "index").read_bytes() == faisss_own(vectors, factory)
    assert is_listed(trained(vectors, factory)) == (factory in LISTED)


def test_lists_that_cannot_be_are_not_written_to(vectors: np.ndarray) -> None:
    index = trained(vectors, "IVF16,SQ8")
    lists = [nearest_lists(index, vectors, block) for block in inverted_lists.blocks(ROWS)]
    for place, value in ((0, -1), (BLOCK - 1, 16)):
        lists[1][place] = value
        with pytest.raises((IndexError, ValueError)):
            fill(trained(vectors, "IVF16,SQ8"), vectors, lists)
        lists[1][place] = 0
    with pytest.raises(IndexError):
        fill(trained(vectors, "IVF16,SQ8"), vectors, [lists[0][1:], *lists[1:]])


@pytest.mark.parametrize("factory", ["IVF16,SQfp16", "IVF16,PQ8x4fs"])
def test_parts_find_the_lists_that_one_run_finds(vectors: np.ndarray, factory: str, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "index", "index", {}, []) as folder:
        (folder.path / "rows").mkdir()
        np.save(folder.path / "rows" / "text_vectors.npy", vectors)
        assert train_lists(folder, "captions", vectors, factory) == (factory in LISTED)
        for number in (3, 1):
            find_lists_of_part(folder, RunPart(number, 3))
        made = sorted(path.name for path in (folder.path / "lists").glob("*.npy"))
        mine = (0, 2, 3) if factory in LISTED else ()
        assert made == [f"captions-{number:06d}.npy" for number in mine]
        for name in made[:1]:  # damaged by the disk: found anew
            (folder.path / "lists" / name).write_bytes(b"no array")
        build_by_lists(folder, "captions", vectors, factory)
        assert (folder.path / "captions.faiss").read_bytes() == faisss_own(vectors, factory)
        forget_lists(folder)
        assert not (folder.path / "lists").exists()
        assert not any("lists" in name for name in folder.records)


def test_lists_of_another_factory_are_trained_anew(vectors: np.ndarray, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "index", "index", {}, []) as folder:
        for factory in ("IVF16,SQfp16", "IVF8,SQ8"):
            build_by_lists(folder, "images", vectors, factory)
            assert (folder.path / "images.faiss").read_bytes() == faisss_own(vectors, factory)
        file = folder.path / "lists" / "images.faiss"
        before = file.stat().st_mtime_ns
        assert train_lists(folder, "images", vectors, "IVF8,SQ8")
        assert file.stat().st_mtime_ns == before  # they are kept
