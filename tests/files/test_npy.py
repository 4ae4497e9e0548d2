"""Damaged .npy files are told as such, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.npy import let_go, load_npy, wide_rows
from tests.examples import examples

WHOLE = np.arange(12, dtype=np.int32).reshape(3, 4)


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(saved(WHOLE))
    for mode in ("r", None):
        assert np.array_equal(load_npy(tmp_path / "a.npy", mode), WHOLE)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        load_npy(tmp_path / "nothing.npy")


def mapped_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) * 1024
    pytest.skip("needs Linux's /proc")


def test_pages_that_were_read_are_given_back_and_read_again(tmp_path: Path) -> None:
    size = 64 << 20
    np.save(tmp_path / "large.npy", np.arange(size // 8))
    before = mapped_bytes()
    array = load_npy(tmp_path / "large.npy", "r")
    total = array.sum()
    assert mapped_bytes() - before > size // 2
    let_go(array[5:])  # a part of it will do
    assert mapped_bytes() - before < size // 8
    assert array.sum() == total
    let_go(np.array(array))
    let_go(array[[1, 2]])


def test_rows_of_a_mapped_array_are_copied_and_its_pages_given_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = rng.random((1 << 17, 128)).astype(np.float16)  # 32 MB
    np.save(tmp_path / "large.npy", made)
    before = mapped_bytes()
    array = load_npy(tmp_path / "large.npy", "r")
    for which in (
        slice(5, 70_000),
        slice(10, 10),
        rng.integers(0, len(made), 1000),
        rng.integers(0, len(made), (7, 90)),
        np.sort(rng.choice(len(made), 50_000, replace=False)),
        np.zeros((0, 3), np.int64),
    ):
        found = wide_rows(array, which)
        assert type(found) is np.ndarray
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, made[which])
        assert mapped_bytes() - before < 8 << 20
        np.testing.assert_array_equal(wide_rows(made, which), found)


@examples(200)
@given(st.integers(0, len(saved(WHOLE)) - 1), st.integers(0, 90), st.binary(max_size=3), st.sampled_from(["r", None]))
def test_damage_is_a_value_error(tmp_path_factory: pytest.TempPathFactory, at: int, cut: int, put: bytes, mode) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.npy"
    whole = saved(WHOLE)
    path.write_bytes(whole[:at] + put + whole[at + cut :])
    with contextlib.suppress(ValueError):
        load_npy(path, mode)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x02\x00{(", saved(np.array([{}], object))])
def test_what_is_no_array(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011
        load_npy(tmp_path / "a.npy")
