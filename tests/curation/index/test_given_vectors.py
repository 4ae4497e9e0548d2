"""Vectors by their rows and keys, against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from curation.index.given_vectors import SEVERAL, GivenVectors, Keys, unit_vectors
from curation.reading.embeddings import EmbeddedPair, find_parts
from curation.reading.pairs import CaptionOptions
from files.rejects import Reject

NO_OPTIONS = CaptionOptions()


def test_unit_vectors_stay_as_they_are_and_others_are_brought_to_unit_length() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((200, 64))
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    assert (unit_vectors(unit) == unit).all()
    for scale, dtype in ((3, np.float16), (1e30, np.float32), (1e-30, np.float64), (1.01, np.float32)):
        found = unit_vectors((unit.astype(np.float64) * scale).astype(dtype)).astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
        assert ((found * unit.astype(np.float64)).sum(1) > 0.999).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0])
def test_what_is_no_vector_is_all_zeros(value: float) -> None:
    vectors = np.ones((3, 4), np.float32)
    vectors[1, slice(None) if value == 0 else 2] = value
    assert unit_vectors(vectors).any(1).tolist() == [True, False, True]


@drawn(st.lists(st.text("abc", min_size=1, max_size=2), max_size=30), st.lists(st.text("abcd", max_size=2)))
def test_keys_lead_to_their_rows(keys: list[str], asked: list[str]) -> None:
    pairs: list[EmbeddedPair | Reject] = [EmbeddedPair(key, b"", ("x",), row=2 * i) for i, key in enumerate(keys)]
    pairs.insert(len(pairs) // 2, Reject("a", "empty caption"))
    found = Keys.of([pairs[:5], pairs[5:]]).rows_of(asked)
    places = {key: [2 * i for i, one in enumerate(keys) if one == key] for key in asked}
    expected = [-1 if not places[key] else SEVERAL if len(places[key]) > 1 else places[key][0] for key in asked]
    assert found.tolist() == expected


def test_rows_of_several_parts_in_any_order(tmp_path: Path) -> None:
    """Eleven parts, in the order of their numbers; one is empty, some have no vectors of captions."""
    rng = np.random.default_rng(0)
    for folder in ("img_emb", "text_emb", "metadata"):
        (tmp_path / folder).mkdir()
    images, texts = [], []
    for number in range(11):
        rows = 0 if number == 4 else 3 + number
        images.append(unit_vectors(rng.standard_normal((rows, 8))))
        texts.append(unit_vectors(rng.standard_normal((rows, 8))))
        np.save(tmp_path / "img_emb" / f"img_emb_{number}.npy", images[-1])
        if number % 3:
            np.save(tmp_path / "text_emb" / f"text_emb_{number}.npy", texts[-1])
        else:
            texts[-1][:] = np.nan
        named = pa.array([f"{number} {i}" for i in range(rows)], pa.string())
        pq.write_table(pa.table({"CAPTION": named}), tmp_path / "metadata" / f"metadata_{number}.parquet")
    parts = find_parts(tmp_path)
    made = GivenVectors(tmp_path, parts, False, NO_OPTIONS)
    assert made.rows == sum(map(len, images))
    rows = rng.permutation(made.rows)[:50]
    for found, whole in zip(made.vectors(rows, 8), (images, texts), strict=True):
        np.testing.assert_array_equal(found, np.concatenate(whole)[rows])
    pairs = [pair for part in parts for pair in part.pairs(NO_OPTIONS)]
    assert [(pair.key, pair.row) for pair in pairs] == [(str(i), i) for i in range(made.rows)]  # type: ignore[union-attr]
    assert pairs[-1].captions == ("10 12",)  # type: ignore[union-attr]


def test_the_column_of_keys_and_rows_without_one(tmp_path: Path) -> None:
    def keys(**columns: list[object]) -> list[str]:
        np.savez(tmp_path / "a.npz", b_img=np.ones((3, 4), np.float16))
        pq.write_table(pa.table({"text": ["x", "y", " "], **columns}), tmp_path / "a.parquet")
        (part,) = find_parts(tmp_path)
        return [pair.key for pair in part.pairs(NO_OPTIONS)]

    assert keys(key=["k1", "k2", "k3"], uid=["u1", "u2", "u3"]) == ["k1", "k2", "k3"]
    assert keys(uid=["u1", None, "u3"]) == ["u1", "row 1", "u3"]
    assert keys(image_path=["a/b.jpg", "c.v1.png", "000000001"]) == ["a/b", "c_v1", "000000001"]
    assert keys(key=[7, 8, 9]) == ["7", "8", "9"]
    assert keys() == ["0", "1", "2"]
