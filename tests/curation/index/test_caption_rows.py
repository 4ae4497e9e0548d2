"""The retrieval arrays: hashes that tell captions, concepts as CSR, similarities as the formula says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.index.caption_rows import concept_ids_of, pair_similarity, read_rows, write_rows
from curation.index.embedding import schema
from curation.index.identity import name_hashes, picture_hashes, text_hashes
from curation.index.vocabulary import Vocabulary
from curation.runs.parquet_parts import vectors_to_arrow
from files.errors import CocuError

D = 16
WORDS = ["dog", "cat", "beach", "tree"]
NAMED = [["dog", "beach"], [], ["rare", "cat"], ["tree", "dog", "cat"], ["rare"], ["cat"], ["beach", "dog"]]
PAIRS = 4


def units(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Vocabulary, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pictures, texts = units(rng, PAIRS), units(rng, len(NAMED))
    vocabulary = Vocabulary(pa.array(WORDS), np.arange(4, 0, -1), units(rng, 4).astype(np.float32))
    files = []
    for i, (start, stop) in enumerate([(0, 3), (3, 4), (4, 7)]):
        rows = slice(start, stop)
        pictured = start < PAIRS
        table = [
            pa.array([f"k{j}" for j in range(start, stop)]),
            pa.array([f"k{j}" if pictured else None for j in range(start, stop)], pa.string()),
            pa.array([f"Caption {j}!" for j in range(start, stop)]),
            pa.array(NAMED[rows], pa.list_(pa.string())),
            vectors_to_arrow(pictures[rows]) if pictured else pa.nulls(stop - start, schema(D).field("image_vec").type),
            vectors_to_arrow(texts[rows]),
        ]
        files.append(tmp_path / f"{i}.parquet")
        pq.write_table(pa.Table.from_arrays(table, schema=schema(D)), files[-1])
    assert write_rows(tmp_path / "rows", files, PAIRS, vocabulary) == len(NAMED)
    return tmp_path / "rows", vocabulary, pictures, texts


def test_arrays_hold_what_the_embeddings_held(written: tuple) -> None:
    folder, vocabulary, pictures, texts = written
    rows = read_rows(folder)
    assert (len(rows), rows.images) == (len(NAMED), PAIRS)
    np.testing.assert_array_equal(rows.image_vectors, pictures)
    np.testing.assert_array_equal(rows.text_vectors, texts)
    for i, named in enumerate(NAMED):
        part = slice(rows.offsets[i], rows.offsets[i + 1])
        assert [WORDS[c] for c in rows.concept_ids[part]] == [word for word in named if word in WORDS]
        for concept, similarity in zip(rows.concept_ids[part], rows.similarity[part], strict=True):
            shown = pictures[i] if i < PAIRS else texts[i]  # a caption's own vector stands in for its picture
            expected = float(vocabulary.vectors[concept] @ shown.astype(np.float32))
            assert similarity == pytest.approx(expected, abs=1e-5)
    assert rows.text_hash.tolist() == text_hashes(f"Caption {i}!" for i in range(len(NAMED))).tolist()
    assert rows.image_hash.tolist() == picture_hashes([f"k{i}" for i in range(PAIRS)] + [None] * 3).tolist()
    assert (rows.offsets.dtype, rows.concept_ids.dtype, rows.similarity.dtype) == (np.int64, np.int32, np.float32)
    assert (rows.text_hash.dtype, rows.text_vectors.dtype) == (np.uint64, np.float16)


def test_an_index_without_pictures(written: tuple, tmp_path: Path) -> None:
    _, vocabulary, _, texts = written
    assert write_rows(tmp_path / "captions-only", [tmp_path / "2.parquet"], 0, vocabulary) == 3
    rows = read_rows(tmp_path / "captions-only")
    assert (len(rows), rows.images) == (3, 0)
    assert rows.image_vectors.shape == (0, D)
    np.testing.assert_array_equal(rows.text_vectors, texts[4:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.5])
def test_similarities_that_are_no_cosines_are_refused(written: tuple, value: float) -> None:
    folder, vocabulary, *_ = written
    rows = read_rows(folder)
    rows.check(folder, vocabulary)
    similarity = np.array(rows.similarity)
    similarity[1] = value
    rows = replace(rows, similarity=similarity)
    with pytest.raises(CocuError, match=r"similarity\.npy: .*no cosine"):
        rows.check(folder, vocabulary)


def test_hashes_do_not_see_case_spaces_or_punctuation() -> None:
    same = text_hashes(["A dog, on the beach.", "a DOG on  the beach", "a dog on the beach !", "a_dog on the-beach"])
    assert len(set(same.tolist())) == 1
    assert len(set(text_hashes(["a dog", "a dot", "two dogs", "Straße", "犬"]).tolist())) == 5
    assert text_hashes(["Straße"]) == text_hashes(["STRASSE"])
    assert len(set(name_hashes(["a.jpg", "A.jpg", "b.jpg"]).tolist())) == 3
    assert name_hashes([None, ""]).tolist() == [0, 0]
    assert text_hashes([]).shape == (0,)


def test_concepts_outside_the_vocabulary_fall_away() -> None:
    vocabulary = Vocabulary(pa.array(WORDS), np.ones(4, np.int64), np.eye(4, D, dtype=np.float32))
    lists = pa.array([["x", "dog"], [], ["tree", "y"], ["z"]], pa.list_(pa.string()))
    for part, expected in ((lists, ([0, 3], [1, 0, 1, 0])), (lists[2:], ([3], [1, 0])), (lists[:0], ([], []))):
        ids, counts = concept_ids_of(part, vocabulary)
        assert (ids.tolist(), counts.tolist()) == expected


def test_pair_similarity_is_the_inner_product() -> None:
    rng = np.random.default_rng(1)
    left, right = units(rng, 30), units(rng, 20).astype(np.float32)
    i, j = rng.integers(0, 30, 500), rng.integers(0, 20, 500)
    expected = (left[i].astype(np.float64) * right[j]).sum(1)
    np.testing.assert_allclose(pair_similarity(left, i, right, j), expected, atol=1e-5)
    assert pair_similarity(left, i[:0], right, j[:0]).shape == (0,)
