"""FAISS indexes: the factory rule, search and re-ranking against brute force, recall, reading by memory map."""

import re
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import plain_loop as oracle
from benchmarks.speed import synthetic
from curation.index import inverted_lists, neighbours
from curation.index.inverted_lists import build
from curation.index.neighbours import (
    BYTES_LIMIT,
    FLAT_LIMIT,
    TIE,
    NearestRows,
    SearchSettings,
    auto_factory,
    exact_search,
    index_bytes,
    recall,
    tune,
    tune_deeper,
)
from files.errors import CocuError, MisuseError
from tests.curation.small_index import unit
from tests.examples import examples

DIM = 64
GB = 1 << 30


def clustered(rows: int, seed: int = 0) -> np.ndarray:
    space = synthetic.make_space(rows, DIM, seed)
    return synthetic.vectors_of(synthetic.topics_of(rows, space, seed), space, seed)


VECTORS = clustered(4000)
QUERIES = VECTORS[::40].astype(np.float32)


def opened(
    folder: Path, factory: str, vectors: np.ndarray = VECTORS, search: SearchSettings | None = None
) -> NearestRows:
    build(folder / "index.faiss", vectors, factory)
    return NearestRows(folder / "index.faiss", vectors, search or SearchSettings(), gpu=False)


def test_small_sets_are_searched_exactly_and_large_ones_by_lists():
    assert auto_factory(10, 512, GB) == "Flat"
    assert auto_factory(FLAT_LIMIT - 1, 512, GB) == "Flat"
    assert auto_factory(FLAT_LIMIT, 512, GB) == "IVF1024,SQfp16"
    assert auto_factory(BYTES_LIMIT - 1, 512, 2 * GB) == "IVF2048,SQfp16"
    assert auto_factory(BYTES_LIMIT, 512, 2 * GB) == "IVF2048,SQ8"
    assert auto_factory(10_000_000, 512, 64 * GB) == "IVF16384,SQ8"


@examples(200)
@given(st.integers(10_000, 10**8), st.sampled_from([256, 384, 512, 768]), st.integers(10**5, 10**12))
def test_what_is_chosen_fits_in_the_memory_or_nothing_does(rows, dim, memory):
    try:
        factory = auto_factory(rows, dim, memory)
    except MisuseError:
        assert memory < rows * (dim / 16 + 8) + 8 * rows**0.5 * 4 * dim
    else:
        assert index_bytes(factory, rows, dim) <= memory


def test_too_little_memory_is_refused_with_what_is_needed():
    with pytest.raises(MisuseError, match=r"--memory: 1,000,000 bytes hold no index of 1,000,000 .* takes [0-9,]+"):
        auto_factory(10**6, 512, 10**6)


def test_less_memory_gives_shorter_codes():
    factories = [
        auto_factory(4 * 10**5, 512, 4 * memory // 10)
        for memory in (GB, GB * 9 // 10, GB // 2, GB // 7, GB // 10, GB // 20)
    ]
    codes = [factory.partition(",")[2] for factory in factories]
    assert codes == ["SQfp16", "SQ8", "SQ8", "PQ256x4fs", "PQ128x4fs", "PQ64x4fs"]


@pytest.mark.parametrize("factory", ["Flat", "IVF32,SQfp16", "IVF32,SQ8", "IVF32,PQ32x4fs"])
def test_the_stated_size_is_about_that_of_the_file(tmp_path, factory):
    opened(tmp_path, factory)
    size = (tmp_path / "index.faiss").stat().st_size
    assert size == pytest.approx(index_bytes(factory, *VECTORS.shape), rel=0.15)


def test_flat_search_is_brute_force(tmp_path):
    similarity, rows = opened(tmp_path, "Flat").search(QUERIES, 8)
    exact = VECTORS.astype(np.float32)
    for query, found, values in zip(QUERIES, rows, similarity, strict=True):
        wanted = oracle.most_similar(exact, query, 8)
        np.testing.assert_allclose(values, exact[wanted] @ query, atol=1e-5)
        np.testing.assert_allclose(exact[found] @ query, exact[wanted] @ query, atol=1e-5)


@pytest.mark.parametrize(
    "factory", ["IVF32,Flat", "IVF32,SQfp16", "IVF32,SQ8", "IVF32,PQ32x4fs", "IVF32,PQ16x4fs", "SQ8"]
)
def test_re_ranked_results_are_exact_and_in_order(tmp_path, factory):
    index = opened(tmp_path, factory, search=SearchSettings(nprobe=32, rerank=16))
    similarity, rows = index.search(QUERIES, 8)
    exact = VECTORS.astype(np.float32)
    np.testing.assert_allclose(similarity, np.einsum("qkd,qd->qk", exact[rows], QUERIES), atol=1e-5)
    assert (np.diff(similarity, axis=1) <= 0).all()
    assert all(len(set(found)) == 8 for found in rows.tolist())
    best = exact_search(VECTORS, QUERIES, 8)
    assert (similarity >= best.similarity[:, -1:] - TIE).mean() > 0.97


def test_exact_search_finds_the_best_over_several_blocks(monkeypatch):
    monkeypatch.setattr("curation.index.neighbours.ADD_ROWS", 7)
    vectors = unit(np.random.default_rng(0), 50, 8)
    queries = vectors[:5].astype(np.float32)
    for k in (1, 8, 50):
        found = exact_search(vectors, queries, k)
        wanted = np.sort(queries @ vectors.astype(np.float32).T, axis=1)[:, ::-1][:, :k]
        np.testing.assert_allclose(found.similarity, wanted, atol=1e-6)
        of_rows = np.einsum("qkd,qd->qk", vectors[found.rows].astype(np.float32), queries)
        np.testing.assert_allclose(found.similarity, of_rows, atol=1e-6)
        assert all(len(set(rows)) == k for rows in found.rows.tolist())


@pytest.mark.parametrize("rerank", [1, 4])
def test_missing_rows_are_minus_one(tmp_path, rerank):
    index = opened(tmp_path, "Flat", VECTORS[:5], SearchSettings(rerank=rerank))
    similarity, rows = index.search(QUERIES[:3], 8)
    assert rows.shape == similarity.shape == (3, 8)
    assert (rows[:, 5:] == -1).all()
    assert np.isneginf(similarity[:, 5:]).all()
    assert sorted(rows[0, :5].tolist()) == [0, 1, 2, 3, 4]


def test_recall_counts_what_was_found(tmp_path):
    index = opened(tmp_path, "Flat")
    exact = exact_search(VECTORS, QUERIES, 8)
    assert recall(index, QUERIES, exact).value == 1

    class HalfBlind:
        vectors = VECTORS

        def search(self, queries, k):
            similarity, rows = index.search(queries, k)
            rows[:, 1::2] = -1
            return similarity, rows

    assert recall(HalfBlind(), QUERIES, exact).value == pytest.approx(0.5)  # type: ignore[arg-type]


def test_one_of_many_equal_vectors_is_as_good_as_another(tmp_path):
    """Ties at the edge of the k best: repeated captions must not count as missed."""
    vectors = np.repeat(unit(np.random.default_rng(0), 10, DIM), 30, axis=0)
    queries = vectors[::30].astype(np.float32)
    exact = exact_search(vectors, queries, 8)
    index = opened(tmp_path, "Flat", vectors)
    assert recall(index, queries, exact).value == 1

    class LastOnes:
        def __init__(self) -> None:
            self.vectors = vectors

        def search(self, queries, k):
            rows = np.arange(10)[:, None] * 30 + 29 - np.arange(k)
            return np.ones(rows.shape), rows

    assert recall(LastOnes(), queries, exact).value == 1  # type: ignore[arg-type]


def test_tuning_takes_the_cheapest_settings_that_reach_the_target(tmp_path):
    index = opened(tmp_path, "IVF64,SQfp16", search=SearchSettings(nprobe=1))
    exact = exact_search(VECTORS, QUERIES, 8)
    settings_, reached = tune(index, QUERIES, 0.97)
    assert reached.value >= 0.97
    assert index.settings == settings_
    assert recall(index, QUERIES, exact).value == reached.value


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95, 0.97, 0.99, 0.999])
def test_tuning_probes_hardly_more_lists_than_are_enough(tmp_path, target):
    """An eighth more than the fewest that reach it at the most, of which no fewer than eight are tried."""
    index = opened(tmp_path, "IVF64,SQfp16")
    exact = exact_search(VECTORS, QUERIES, 8)
    chosen, _ = tune(index, QUERIES, target)
    enough = 8
    while enough < 64:
        index.configure(SearchSettings(nprobe=enough))
        if recall(index, QUERIES, exact).value >= target:
            break
        enough += 1
    assert enough <= chosen.nprobe <= max(8, enough * 8 / 7 + 1)


def test_a_deep_search_is_tuned_at_its_depth(tmp_path, monkeypatch):
    """Lists that hold the 8 best hold less of the 200 best; each depth is searched as it was tuned."""
    monkeypatch.setattr(neighbours, "DEPTHS", (40, 200, 10_000))
    index = opened(tmp_path, "IVF64,SQfp16")
    at_eight, _ = tune(index, QUERIES, 0.97)
    deeper = tune_deeper(index, QUERIES, 0.97)
    assert [reached.k for _, reached in deeper] == [40, 200]  # there are no 10,000 rows
    assert all(reached.value >= 0.97 for _, reached in deeper)
    exact = exact_search(VECTORS, QUERIES, 200)
    index.configure(at_eight)
    assert recall(index, QUERIES, exact).value < 0.97 < deeper[1][1].value
    assert deeper[1][0].nprobe > at_eight.nprobe

    by_depth = [(reached.k, settings) for settings, reached in deeper]
    again = NearestRows(tmp_path / "index.faiss", VECTORS, at_eight, gpu=False, deeper=by_depth)
    for k, settings in ((200, deeper[1][0]), (8, at_eight), (9, deeper[0][0]), (40, deeper[0][0]), (300, deeper[1][0])):
        again.search(QUERIES, k)
        assert again.settings == settings
    assert recall(again, QUERIES, exact).value >= 0.97


def test_an_exact_index_needs_no_tuning(tmp_path):
    assert tune_deeper(opened(tmp_path, "Flat"), QUERIES, 0.95) == []


def test_tuning_re_ranks_where_codes_are_coarse(tmp_path):
    index = opened(tmp_path, "IVF32,PQ16x4fs")
    settings_, reached = tune(index, QUERIES, 0.9)
    assert settings_.rerank > 1
    assert reached.value >= 0.9


def test_an_unreachable_target_gives_the_best_there_is(tmp_path):
    index = opened(tmp_path, "IVF32,PQ8x4fs")
    settings_, reached = tune(index, QUERIES, 1.01)
    assert settings_ == index.settings
    assert reached.value == recall(index, QUERIES, exact_search(VECTORS, QUERIES, 8)).value
    assert reached.value > 0.5


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_an_index_of_very_few_rows_has_recall_one(tmp_path, rows):
    index = opened(tmp_path, "Flat", VECTORS[:rows])
    assert tune(index, VECTORS[:rows].astype(np.float32), 0.95)[1].value == 1


@pytest.mark.parametrize(
    ("factory", "message"),
    [("Flatt", "FAISS refuses"), ("IVF32,PQ7x8", "--factory"), ("IVF8000,Flat", "cannot be trained")],
)
def test_a_factory_that_cannot_be_is_refused_by_name(tmp_path, factory, message):
    with pytest.raises(MisuseError, match=message) as caught:
        opened(tmp_path, factory)
    assert factory in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_same_vectors_give_the_same_index(tmp_path):
    for name in ("a", "b"):
        build(tmp_path / name, VECTORS, "IVF32,SQfp16", seed=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_index_is_mapped_and_not_read(tmp_path):
    """The codes stay in the file: opening takes far less memory than their size."""
    vectors = np.tile(VECTORS, (20, 1))
    build(tmp_path / "index.faiss", vectors, "IVF32,SQfp16")
    before = resident()
    index = NearestRows(tmp_path / "index.faiss", vectors, SearchSettings(nprobe=1), gpu=False)
    assert resident() - before < (tmp_path / "index.faiss").stat().st_size / 2
    assert index.lists == 32


def resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    pytest.skip("needs Linux's /proc")


def test_a_recall_under_the_minimum_says_what_can_be_done(tmp_path):
    from curation.index.faiss_indexes import build_one
    from curation.runs.run_folder import RunFolder
    from tests.curation.small_index import small_index

    rows = replace(small_index().rows, image_vectors=VECTORS, text_vectors=VECTORS)
    with (
        RunFolder(tmp_path / "index", "index", {}, []) as folder,
        pytest.raises(CocuError, match="--min-recall") as caught,
    ):
        build_one(folder, "images", VECTORS, rows, "IVF32,PQ4x4fs", 0.9999, GB)
    for hint in ("--memory", "--factory", "IVF32,PQ4x4fs", "0.9999"):
        assert hint in str(caught.value)


@pytest.mark.parametrize("factory", ["Flat", "IVF4,SQ8", "PCA8,Flat", "IVF4,Flat,RFlat", "HNSW8", "IVF8_HNSW4,Flat"])
def test_an_index_that_holds_none_is_refused(tmp_path: Path, factory: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    build(tmp_path / "whole", vectors, factory)
    assert NearestRows(tmp_path / "whole", vectors, SearchSettings(), gpu=False).search(vectors[:1], 2)[1].shape == (
        1,
        2,
    )
    whole = (tmp_path / "whole").read_bytes()
    inside = [found.start() for found in re.finditer(rb"I[xwHp][A-Za-z0-9]{2}", whole)]
    (tmp_path / "none").write_bytes(b"null" + whole[4:])
    with pytest.raises(ValueError, match="an index in it is none"):
        NearestRows(tmp_path / "none", vectors, SearchSettings(), gpu=False)
    for start in inside[1:]:  # what it is made of, each with what stood there left out
        for end in [*(other for other in inside if other > start), len(whole)]:
            (tmp_path / "none").write_bytes(whole[:start] + b"null" + whole[end:])
            with pytest.raises((ValueError, RuntimeError)):
                NearestRows(tmp_path / "none", vectors, SearchSettings(), gpu=False)


@pytest.mark.parametrize("factory", ["IVF16,SQfp16", "IVF16,PQ32x4fs", "IVF16,Flat", "PCA32,IVF16,Flat"])
@given(first=st.integers(0, 500), middle=st.integers(0, 300), last=st.integers(0, 300), seed=st.integers(0, 9))
@examples(10)
def test_an_extended_index_finds_what_one_of_the_same_lists_finds(
    tmp_path_factory: pytest.TempPathFactory, factory: str, first: int, middle: int, last: int, seed: int
) -> None:
    """Old rows on both sides of the new ones, which stand in the middle and at the end."""
    folder = tmp_path_factory.mktemp("extended")
    behind = 1200 - first
    new = [(first, first + middle), (first + middle + behind, 1200 + middle + last)]
    vectors = clustered(1200 + middle + last, seed)
    own = np.delete(np.arange(len(vectors)), np.concatenate([np.arange(*one) for one in new]))
    build(folder / "before", vectors[own], factory)
    assert inverted_lists.extend(folder / "after", folder / "before", vectors, new)
    all_at_once = faiss.read_index(str(folder / "before"))
    all_at_once.reset()
    all_at_once.add(vectors.astype(np.float32))
    faiss.write_index(all_at_once, str(folder / "expected"))
    search = SearchSettings(nprobe=16)
    after, expected = (NearestRows(folder / name, vectors, search, gpu=False) for name in ("after", "expected"))
    queries = vectors[::37].astype(np.float32)
    similarity, rows = after.search(queries, 5)
    wanted, _ = expected.search(queries, 5)
    np.testing.assert_allclose(similarity, wanted, atol=1e-5)
    if "PQ" not in factory and "PCA" not in factory:  # each row is where its vector says
        np.testing.assert_allclose(
            np.einsum("qkd,qd->qk", vectors[rows].astype(np.float32), queries), similarity, atol=2e-3
        )


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "SQ8", "IVF16,PQ32x4,RFlat"])
def test_what_cannot_be_extended_is_left_to_be_built(tmp_path: Path, factory: str) -> None:
    build(tmp_path / "before", VECTORS[:1000], factory)
    assert not inverted_lists.extend(tmp_path / "after", tmp_path / "before", VECTORS[:1200], [(1000, 1200)])
    assert not (tmp_path / "after").exists()


def test_an_index_of_other_rows_is_not_extended(tmp_path: Path) -> None:
    build(tmp_path / "before", VECTORS[:1000], "IVF16,Flat")
    with pytest.raises(CocuError, match=r"before: broken \(it holds others than 900 rows\)"):
        inverted_lists.extend(tmp_path / "after", tmp_path / "before", VECTORS[:1200], [(900, 1200)])
