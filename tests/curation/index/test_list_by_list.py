"""Lists that many queries probe: FAISS's own search of the same lists finds the same, query by query."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import synthetic
from curation.index import list_by_list
from curation.index.byte_products import byte_products
from curation.index.inverted_lists import build
from curation.index.list_by_list import WORTH_IT, scalar_lists, worth_it
from curation.index.neighbours import NearestRows, SearchSettings
from files.errors import CocuError
from tests.examples import examples

DIM, LISTS = 32, 24
SPACE = synthetic.make_space(3000, DIM)
VECTORS = synthetic.vectors_of(synthetic.topics_of(3000, SPACE), SPACE)
QUERIES = synthetic.vectors_of(synthetic.topics_of(700, SPACE, 1), SPACE, 1).astype(np.float32)


def index_of(vectors: np.ndarray, factory: str = f"IVF{LISTS},SQfp16") -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS.astype(np.float32))
    index.add(vectors.astype(np.float32))
    return index


INDEX = index_of(VECTORS)
BYTES = index_of(VECTORS, f"IVF{LISTS},SQ8")


def check_same(index: faiss.Index, queries: np.ndarray, k: int, nprobe: int) -> None:
    """Same similarities, and the same rows but for those that are as good as even with the last."""
    lists = scalar_lists(index)
    assert lists is not None
    within = 2e-5 if lists.steps is not None and list_by_list.byte_products() else 2e-6
    similarity, rows = lists.search(queries, k, nprobe, 1)
    index.nprobe = nprobe
    expected, expected_rows = index.search(queries, k)
    assert ((rows < 0) == (expected_rows < 0)).all()
    similarity[rows < 0] = expected[rows < 0] = -np.inf
    np.testing.assert_allclose(similarity, expected, atol=within)
    assert (np.sort(similarity, axis=1)[:, ::-1] == similarity).all()
    clear = expected > expected[:, -1:] + 2 * within
    for mine, theirs, surely in zip(rows, expected_rows, clear, strict=True):
        assert set(theirs[surely]) <= set(mine)
        assert len(set(mine[mine >= 0])) == (mine >= 0).sum()


@pytest.mark.parametrize(("index", "whole"), [(INDEX, False), (BYTES, False), (BYTES, True)])
@given(queries=st.integers(1, 700), k=st.integers(1, 300), nprobe=st.integers(1, LISTS), unit=st.integers(40, 800))
@examples(40)
def test_it_is_what_faiss_finds(index: faiss.Index, whole: bool, queries: int, k: int, nprobe: int, unit: int) -> None:
    if whole and not byte_products():
        pytest.skip("this processor multiplies no bytes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_by_list, "UNIT", unit)
        patch.setattr(list_by_list, "byte_products", lambda: whole)
        check_same(index, QUERIES[:queries], k, nprobe)


@pytest.mark.parametrize("codes", ["SQfp16", "SQ8"])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_lists_without_vectors_and_too_few_rows(rows: int, codes: str) -> None:
    check_same(index_of(VECTORS[:rows], f"IVF{LISTS},{codes}"), QUERIES, 8, 3)


@pytest.mark.parametrize("codes", ["SQfp16", "SQ8"])
def test_codes_that_are_whole_vectors(codes: str) -> None:
    index = faiss.index_factory(DIM, f"IVF{LISTS},{codes}", faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    index.train(VECTORS.astype(np.float32))
    index.add(VECTORS.astype(np.float32))
    check_same(index, QUERIES, 8, 3)


def test_repeated_vectors() -> None:
    check_same(index_of(np.repeat(VECTORS[:100], 30, axis=0)), QUERIES, 48, 6)


@pytest.mark.parametrize("index", [INDEX, BYTES])
def test_threads_change_nothing(index: faiss.Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_by_list, "UNIT", 100)
    lists = scalar_lists(index)
    assert lists is not None
    one, four = lists.search(QUERIES, 9, 5, 1), lists.search(QUERIES, 9, 5, 4)
    np.testing.assert_array_equal(one[0], four[0])
    np.testing.assert_array_equal(one[1], four[1])


def test_every_finite_half_float_is_widened_exactly() -> None:
    halves = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    wide = np.empty(len(halves), np.float32)
    list_by_list._widen(halves.view(np.int16), wide)
    np.testing.assert_array_equal(wide.view(np.uint32), halves.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize(
    "factory", ["Flat", f"IVF{LISTS},Flat", f"IVF{LISTS},SQ6", f"IVF{LISTS},PQ8", f"PCA16,IVF{LISTS},SQ8"]
)
def test_other_indexes_are_left_to_faiss(factory: str) -> None:
    assert scalar_lists(index_of(VECTORS, factory)) is None


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_list_that_holds_no_number_is_told(tmp_path: Path, value: float) -> None:
    index = index_of(VECTORS)
    codes = faiss.rev_swig_ptr(index.invlists.get_codes(3), index.invlists.list_size(3) * 2 * DIM).view(np.float16)
    codes[DIM + 1] = value
    faiss.write_index(index, str(tmp_path / "captions.faiss"))
    nearest = NearestRows(tmp_path / "captions.faiss", VECTORS, SearchSettings(LISTS), gpu=False)
    with pytest.raises(CocuError, match=r"captions\.faiss: broken \(a vector in it holds what is no number\)"):
        nearest.search(QUERIES, 5)


@pytest.mark.parametrize("trained", [np.full(2 * DIM, np.nan, np.float32), np.zeros(2 * DIM - 2, np.float32)])
def test_bytes_that_stand_for_no_number_are_told(trained: np.ndarray) -> None:
    index = index_of(VECTORS, f"IVF{LISTS},SQ8")
    faiss.copy_array_to_vector(trained, index.sq.trained)
    with pytest.raises(ValueError, match=r"no number|other dimensions"):
        scalar_lists(index)


def test_it_is_taken_where_enough_queries_probe_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worth = [(WORTH_IT * 8, 4, 32), (WORTH_IT * 8 - 1, 4, 32), (1 << 20, 1, 1 << 20), (1 << 20, 8, 0), (1 << 20, 8, 9)]
    assert [worth_it(*one) for one in worth] == [True, False, False, False, True]
    build(tmp_path / "captions.faiss", VECTORS, f"IVF{LISTS},SQfp16")
    nearest = NearestRows(tmp_path / "captions.faiss", VECTORS, SearchSettings(8), gpu=False)
    asked: list[int] = []
    search = list_by_list.ScalarLists.search

    def counted(lists: list_by_list.ScalarLists, queries: np.ndarray, *given: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(queries))
        return search(lists, queries, *given)

    monkeypatch.setattr(list_by_list.ScalarLists, "search", counted)
    for queries in (QUERIES[:5], QUERIES):
        similarity, rows = nearest.search(queries, 6)
        expected, expected_rows = nearest.index.search(queries, 6)
        np.testing.assert_allclose(similarity, expected, atol=2e-6)
        assert (rows == expected_rows).mean() > 0.99
    assert asked == [len(QUERIES)]
