"""Stretches of a file, against its bytes in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import stretches
from files.stretches import Stretches

LENGTH = 5_000


@pytest.fixture(scope="module")
def file() -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as opened:
        opened.write(bytes(i * i % 251 for i in range(LENGTH)))
        opened.flush()
        yield opened


@given(
    st.integers(1, 600),
    st.lists(st.tuples(st.integers(-50, 900), st.integers(0, 700), st.sampled_from(["read", "stretch"])), max_size=30),
)
def test_stretches_are_the_bytes_of_the_file(file: BinaryIO, piece: int, steps: list[tuple[int, int, str]]) -> None:
    file.seek(0)
    whole = file.read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "PIECE", piece)
        patch.setattr(stretches, "_NEAR", piece // 4)
        looked = Stretches(file)
        assert looked.seek(0, 2) == LENGTH
        at = 0
        for step, size, how in steps:
            at = max(0, at + step)
            if how == "read":
                assert looked.seek(at) == at
                assert looked.read(size) == whole[at : at + size]
                assert looked.read(5) == whole[at + size : at + size + 5]
            else:
                assert bytes(looked.stretch(at, size)) == whole[at : at + size]


def test_a_stretch_stays_when_the_file_is_read_on(file: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "PIECE", 100)
    looked = Stretches(file)
    looked.read(10)
    held = looked.stretch(5, 50)
    before = bytes(held)
    looked.seek(90)
    looked.read(100)
    assert bytes(held) == before


def test_little_is_read_where_much_is_passed_over(file: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def pread(opened: int, size: int, start: int) -> bytes:
        read.append(size)
        return b"x" * size

    monkeypatch.setattr(stretches.os, "pread", pread)
    looked = Stretches(file)
    for at in (0, 10 << 20, 20 << 20, (20 << 20) + 5000):
        looked.seek(at)
        looked.read(512)
    assert read == [stretches.PIECE, 512, 512, stretches.PIECE]
