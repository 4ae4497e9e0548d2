"""Tars written many members at once: the bytes of one at a time, whatever the system takes in a call."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.tar_headers import member_size, tar_member
from files.tar_writing import atomic_tar, tar_members, tar_size, write_all, write_end

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=120)
MEMBERS = st.tuples(st.text("abc/._", min_size=1, max_size=110) | NAMES, st.binary(max_size=1100))


@given(st.lists(MEMBERS, max_size=8))
def test_members_are_those_made_one_by_one(members: list[tuple[str, bytes]]) -> None:
    names, data = [name for name, _ in members], pa.array([data for _, data in members], pa.binary())
    assert [bytes(part) for part in tar_members(names, data)] == [tar_member(*member) for member in members]
    assert [member_size(name, len(data)) for name, data in members] == [len(tar_member(*one)) for one in members]
    half = len(members) // 2  # of a longer array
    found = [bytes(part) for part in tar_members(names[half:], data.slice(half))]
    assert found == [tar_member(*member) for member in members[half:]]


@pytest.mark.parametrize("taken", [1, 3, 700, 1 << 30])
def test_all_is_written_however_little_a_call_takes(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("files.tar_writing.AT_ONCE", 1000)
    monkeypatch.setattr(os, "writev", lambda file, parts: os.write(file, b"".join(parts)[:taken]))
    parts = [memoryview(bytes([i]) * (i % 7) * 50) if i % 2 else bytes([i]) * i for i in range(40)]
    with (tmp_path / "file").open("wb") as file:
        file.write(b"before")
        write_all(file, iter(parts))
        file.write(b"after")
    assert (tmp_path / "file").read_bytes() == b"".join([b"before", *parts, b"after"])


@pytest.mark.parametrize("size", [0, 512, 9728, 10240, 20480])
def test_an_end_fills_a_record(size: int) -> None:
    file = io.BytesIO()
    file.write(bytes(size))
    write_end(file)
    assert file.tell() % 10240 == 0
    assert 1024 <= file.tell() - size < 1024 + 10240
    assert tar_size(size) == file.tell()


def test_a_tar_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.tar"

    def parts() -> Iterator[bytes]:
        yield tar_member("a.txt", b"a")
        raise KeyError

    with pytest.raises(KeyError), atomic_tar(path) as tar:
        write_all(tar, parts())
    assert not list(path.parent.iterdir())
    with atomic_tar(path) as tar:
        write_all(tar, [tar_member("a.txt", b"a")])
        assert not path.exists()
    with tarfile.open(path) as read:
        assert read.getnames() == ["a.txt"]
    assert path.stat().st_size == tarfile.RECORDSIZE
