"""The next version of an index: wherever its moving in is cut short, whoever opens the index next has it whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curation.index import next_version
from curation.index.next_version import put_in_place, settle, state_of
from files import remote_folders
from files.errors import CocuError
from files.locks import Busy, locked
from tests.integration.test_one_at_a_time import held

FILES = ("embeddings/b.parquet", "rows/offsets.npy", "rows/sketch.npy", "concepts.parquet", "images.faiss")


def grown(folder: Path, finished: bool = True) -> Path:
    """An index whose files say "old", and its next version, whose files say "new"."""
    for name in (*FILES[1:], "embeddings/a.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    for name in FILES:
        (folder / "next" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "next" / name).write_text("new")
    (folder / "next" / ".lock").touch()
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "finished": True}))
    (folder / "next" / "manifest.json").write_text(json.dumps({"version": 2, "finished": finished}))
    return folder


def said(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in FILES if (folder / name).exists()}


def version(folder: Path) -> int:
    return int(json.loads((folder / "manifest.json").read_text())["version"])


def test_one_that_is_not_whole_stays_where_it_is(tmp_path: Path) -> None:
    index = grown(tmp_path, finished=False)
    before = state_of(index)
    settle(index)
    assert set(said(index).values()) == {"old"}
    assert (version(index), state_of(index)) == (1, before)


@pytest.mark.parametrize("moves", range(len(FILES) + 1))
def test_cut_short_after_some_files(tmp_path: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    index, left, replace = grown(tmp_path), [moves], os.replace

    def cut(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(source, target)

    before = state_of(index)
    with monkeypatch.context() as patch:
        patch.setattr(remote_folders.os, "replace", cut)
        with pytest.raises(KeyboardInterrupt), locked(index, "manifest.json"):
            put_in_place(index)
    assert version(index) == 1  # the manifest is the last
    settle(index)
    assert said(index) == dict.fromkeys(FILES, "new")
    assert (version(index), (index / "next").exists()) == (2, False)
    assert (index / "embeddings" / "a.parquet").read_text() == "old"
    assert state_of(index) != before


def test_another_process_that_is_at_it_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = grown(tmp_path)
    monkeypatch.setattr(next_version, "WAIT_SECONDS", 0.2)
    with held("folder", index) as holder, pytest.raises(Busy, match=f"process {holder}"):
        settle(index)
    settle(index)
    assert version(index) == 2


def test_where_it_cannot_be_written_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, mark: str | None) -> None:
        raise CocuError(f"{folder}: cannot be written (Read-only file system)")

    index = grown(tmp_path)
    monkeypatch.setattr(next_version, "locked", refuse)
    with pytest.raises(CocuError, match=r"not all in their places .*Read-only.*cocu index info"):
        settle(index)


def test_a_broken_manifest_of_it_is_named(tmp_path: Path) -> None:
    index = grown(tmp_path)
    (index / "next" / "manifest.json").write_text("{")
    with pytest.raises(CocuError, match=r"next/manifest\.json: broken"):
        settle(index)
