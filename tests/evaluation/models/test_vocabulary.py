"""Words of an index beside the classes: what is read, what is refused, and which are apart from the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.models import vocabulary
from evaluation.models.vocabulary import IndexWords, first_words, read_vocabulary, words_apart
from files.errors import CocuError, MisuseError


def write(folder: Path, **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "concepts.parquet")
    return folder


def test_the_most_frequent_come_first_and_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write(tmp_path / "index", concept=["b", "a", "dog", "c"], count=[3, 3, 9, 1], concept_id=[0, 1, 2, 3])
    assert read_vocabulary(index) == IndexWords(("dog", "a", "b", "c"), index, 4)
    monkeypatch.setattr(vocabulary, "LOOKED_AT", 2)
    assert read_vocabulary(index) == IndexWords(("dog", "a"), index, 4)


def test_a_folder_that_is_no_index_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"--vocabulary .*: holds no concepts.parquet; give .* `cocu index build`"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"concept": ["a"]}, "count"),
        ({"concept": [1], "count": [1]}, "concept is int64"),
        ({"concept": ["a"], "count": ["many"]}, "count string"),
        ({"concept": ["a", None], "count": [1, 1]}, "it holds nulls"),
        ({"concept": ["a", "a"], "count": [1, 2]}, "a concept occurs twice"),
        ({"concept": pa.array([], pa.string()), "count": pa.array([], pa.int64())}, "holds no concepts"),
        ({"concept": ["  ", "a"], "count": [2, 1]}, "'  ' is empty or longer"),
        ({"concept": ["x" * 5000], "count": [2]}, "is empty or longer than 200 letters"),
    ],
)
def test_a_damaged_vocabulary_is_told(tmp_path: Path, columns: Any, said: str) -> None:
    with pytest.raises(CocuError, match=r"concepts\.parquet") as raised:
        read_vocabulary(write(tmp_path / "index", **columns))
    assert said in str(raised.value)


def test_bytes_that_are_no_parquet_and_no_utf8_are_told(tmp_path: Path) -> None:
    (tmp_path / "concepts.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(CocuError, match="cannot be read"):
        read_vocabulary(tmp_path)
    raw = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    with pytest.raises(CocuError, match="cannot be read"):
        read_vocabulary(write(tmp_path / "index", concept=raw, count=[1]))


class Space:
    """Texts on a circle, by the angle of their word."""

    def __init__(self, angles: dict[str, float]) -> None:
        self.angles = {f"a photo of a {word}.": angle for word, angle in angles.items()}

    def embed_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        angles = torch.tensor([self.angles[one] for (one,) in prompts])
        return F.normalize(torch.stack([angles.cos(), angles.sin()], dim=1), dim=1)


def test_words_apart_share_no_word_and_are_farther_than_the_median() -> None:
    angles = {"dog": 0.0, "grass": 1.0, "kite": 2.0, "lamp": 3.0, "puppy": 0.1, "meadow": 1.2}
    found = IndexWords(("puppy", "hot dog", "lamp", "Dogs", "kite", "meadow"), Path("index"), 6)
    assert words_apart(Space(angles), found, ["dog", "grass", "dog"]) == ["lamp"]
    # Plain: of puppy, lamp, kite, meadow the angles to the nearest class are 0.1, 2, 1, 0.2: the lower median is 1.
    assert words_apart(Space(angles), IndexWords(("Dogs", "hot dog"), Path("index"), 2), ["dog"]) == []


def test_words_apart_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    names = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    space = Space(dict(zip(names, rng.uniform(0, 2 * np.pi, 26), strict=True)))
    classes, others = names[:4], names[4:]
    angle = {name: space.angles[f"a photo of a {name}."] for name in names}
    nearest = {one: max(np.cos(angle[one] - angle[name]) for name in classes) for one in others}
    median = sorted(nearest.values())[(len(others) - 1) // 2]
    expected = [one for one in others if nearest[one] < median - 1e-9]
    assert words_apart(space, IndexWords(tuple(others), Path("index"), 22), classes) == expected
    assert 5 < len(expected) < 15


def test_too_few_words_are_misuse() -> None:
    assert first_words(["a", "b", "c"], 2, "--distractors 2", IndexWords(("a",), Path("index"), 9)) == ["a", "b"]
    with pytest.raises(MisuseError, match=r"--distractors 5: index has 3 words apart .* 1 of its 9 .* and 5 are asked"):
        first_words(["a", "b", "c"], 5, "--distractors 5", IndexWords(("a",), Path("index"), 9))
