"""The next version of an index that lies elsewhere: wherever its moving in is cut short, every machine has it whole."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curation.index.next_version import put_in_place, settle, state_of
from files import remote_copy, remote_folders
from files.locks import locked
from files.printable import CALLED
from files.remote_folders import LARGE, at_hand, bring, local_folder
from tests.curation.index.test_next_version import FILES, grown, said, version

ADDRESS = "memory://data/index"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remote_folders, "PASSING", ())  # these tests are one process
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    CALLED.clear()


def machine(monkeypatch: pytest.MonkeyPatch, filled: bool = False) -> Path:
    """The copy of another machine."""
    monkeypatch.setattr(remote_folders, "_COPIES", {})
    folder = local_folder(ADDRESS, filled=filled)
    bring(folder, LARGE)
    return folder


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("moves", range(len(FILES) + 1))
def test_cut_short_after_some_files(
    moves: int, store: bool, tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store:
        monkeypatch.setattr(remote_copy, "STORES", ("memory",))
    memory.put(str(grown(tmp_path / "index")), "/data/index", recursive=True)
    index, left, replace = machine(monkeypatch, filled=True), [moves], os.replace

    def cut(source: Path, target: Path) -> None:
        if "next" in Path(source).parts:  # which has been moved there already
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(remote_folders.os, "replace", cut)
        with pytest.raises(KeyboardInterrupt), locked(index, "manifest.json"):
            put_in_place(index)

    before = {name: memory.cat(name) for name in memory.find("/data")}
    reader = machine(monkeypatch)
    settle(reader)
    state = state_of(reader)
    settle(reader)
    assert state_of(local_folder(ADDRESS)) == state  # it has changed once
    at_hand(reader / "embeddings" / "a.parquet")
    at_hand(reader / "embeddings" / "b.parquet")
    assert said(reader) == dict.fromkeys(FILES, "new")
    assert version(reader) == 2
    assert {name: memory.cat(name) for name in memory.find("/data")} == before  # who reads changes nothing there

    index = machine(monkeypatch, filled=True)
    with locked(index, "manifest.json"):
        put_in_place(index)
    there = {name.removeprefix("/data/index/"): memory.cat(name).decode() for name in memory.find("/data/index")}
    assert json.loads(there.pop("manifest.json"))["version"] == 2
    assert there.pop("embeddings/a.parquet") == "old"
    assert {name: text for name, text in there.items() if not name.endswith(".lock")} == dict.fromkeys(FILES, "new")


def test_a_reader_has_one_version_of_all_files(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though they change, come and go while they are copied."""
    files = {"manifest.json": "1", "rows": "1", "went": "1"}
    for name, text in files.items():
        memory.pipe(f"/data/index/{name}", text.encode())
    get, changes = type(memory).get, [{"rows": "2", "came": "2", "went": ""}, {"manifest.json": "2"}]

    def changing(self: Any, *paths: Any) -> None:
        for name, text in changes.pop(0).items() if changes else ():
            self.pipe(f"/data/index/{name}", text.encode()) if text else self.rm_file(f"/data/index/{name}")
        get(self, *paths)

    monkeypatch.setattr(type(memory), "get", changing)
    index = machine(monkeypatch)
    assert {path.name: path.read_text() for path in index.iterdir()} == {"manifest.json": "2", "rows": "2", "came": "2"}
