"""What tells one picture's names, and one text's spellings, from those of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.index import identity
from curation.index.identity import (
    NEAR,
    NEAR_FIRST,
    picture_hashes,
    same_picture,
    shared_bytes,
    sketches,
    text_hashes,
)
from files.picture_tables import table_key

STAIRS = "A child in a pink dress is climbing up a set of stairs in an entry way ."
DOGS = "A big brown dog plays with a smaller grey dog on the grass ."


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("dog/0001", "dog/0001", True),
        ("images/dog/0001", "dog/0001", True),
        ("0001", "images/dog/0001", True),  # a name without a folder may be any of them
        ("dog/0001", "cat/0001", False),
        ("0001", "0002", False),
        ("dog", "dog/0001", False),
        ("img_v1", "img.v1", True),
        (None, None, False),
        ("", "", False),
        ("0001", None, False),
    ],
)
def test_names_of_one_picture(one: str | None, other: str | None, same: bool) -> None:
    first, second = picture_hashes([one, other])
    assert bool(same_picture(first, second)) == bool(same_picture(second, first)) == same


def test_an_extra_captions_path_is_called_as_the_pairs_key_is() -> None:
    paths = ["images/dog/0001.jpg", "./dog/0001.png", "https://x.org/a/dog/0001.jpg?w=1", "/data/dog/0001.JPEG"]
    hashes = picture_hashes([table_key(path) for path in paths])
    assert same_picture(hashes[:, None], hashes).all()


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["1", "2", "1.x"])), max_size=8))
def test_names_are_compared_by_the_last_folder_and_the_name(names: list[tuple[str, str]]) -> None:
    hashes = picture_hashes(["/".join(filter(None, name)) for name in names])
    for (folder, name), one in zip(names, hashes, strict=True):
        for (elsewhere, other), two in zip(names, hashes, strict=True):
            folders = not folder or not elsewhere or folder == elsewhere
            assert bool(same_picture(one, two)) == (name.replace(".", "_") == other.replace(".", "_") and folders)


def nearly(one: str, other: str) -> bool:
    first, second = sketches([one, other])
    shared = shared_bytes(first, second)
    return bool(shared[0] >= NEAR_FIRST and shared.sum() >= NEAR)


@pytest.mark.parametrize(
    "other",
    [
        STAIRS,
        STAIRS.upper().replace(" ", "  ").removesuffix("."),
        STAIRS.replace("entry way", "entry-way"),
        STAIRS.replace("climbing", "climbinng"),
        STAIRS.replace("is climbing", "climbing"),
    ],
)
def test_spellings_of_one_text(other: str) -> None:
    assert nearly(STAIRS, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STAIRS, DOGS),
        (DOGS, "A brown dog plays with a grey cat on the sand ."),
        ("a dog on the grass", "a dog on the sand"),
        ("a red car", "a blue car"),
        ("A car and a bus in the park", "A cat and a bus in the park"),
        ("my grandfather sent me this picture of a car", "my grandfather sent me this picture of a cat"),
        ("", "a dog"),
        ("犬", "猫"),
    ],
)
def test_texts_that_say_something_else(one: str, other: str) -> None:
    assert not nearly(one, other)


def test_sketches_share_what_the_texts_do() -> None:
    """The share of equal bytes is about that of the runs of three letters, over many pairs of texts."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(200)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(150)]
    changed = [" ".join([*text.split()[: i % 12], *rng.choice(words, 12 - i % 12)]) for i, text in enumerate(texts)]

    def runs(text: str) -> set[str]:
        plain = text.replace(" ", "") + "\0\0\0"
        return {plain[i : i + 3] for i in range(len(plain) - 2)}

    shares = [len(runs(a) & runs(b)) / len(runs(a) | runs(b)) for a, b in zip(texts, changed, strict=True)]
    found = shared_bytes(sketches(texts), sketches(changed)).sum(1) / 32
    assert min(len(text.replace(" ", "")) for text in texts) >= identity.SHORTEST
    assert np.abs(found - shares).mean() < 0.08
    assert abs(np.mean(found - np.array(shares))) < 0.02


@given(st.lists(st.text(max_size=12), max_size=20))
def test_a_sketch_is_its_own_texts_alone(texts: list[str]) -> None:
    alone = [sketches([text])[0] for text in texts]
    together = sketches(texts)
    assert together.shape == (len(texts), identity.SKETCH_WORDS)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    by_hash = dict(zip(text_hashes(texts).tolist(), together.tolist(), strict=True))
    assert [by_hash[h] for h in text_hashes(texts).tolist()] == together.tolist()


def test_blocks_of_letters_give_the_same_sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [STAIRS, DOGS, "", "a dog"] * 5
    whole = sketches(texts)
    monkeypatch.setattr(identity, "_LETTERS", 50)
    np.testing.assert_array_equal(sketches(texts), whole)
