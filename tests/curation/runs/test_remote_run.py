"""Run folders that lie elsewhere: another machine goes on there, and two runs at once, which no lock keeps apart."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curation.runs import run_folder
from curation.runs.run_folder import RunFolder
from files import remote_folders
from files.atomic import write_text
from files.errors import CocuError, MisuseError
from files.printable import CALLED
from files.rejects import Reject
from files.remote_folders import local_folder

ADDRESS = "memory://run"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remote_folders, "_COPIES", {})
    monkeypatch.setattr(remote_folders, "PASSING", ())  # these tests are one process
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    CALLED.clear()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(run_folder, "say", lines.append)
    return lines


def machine(**parameters: Any) -> RunFolder:
    """A run on another machine: with a copy of its own."""
    others = dict(remote_folders._COPIES)
    remote_folders._COPIES.clear()
    run = RunFolder(local_folder(ADDRESS, filled=True), "index", {"model": "a", **parameters}, [])
    remote_folders._COPIES.update(others)
    return run


def there() -> dict[str, bytes]:
    files = fsspec.filesystem("memory")
    return {name.removeprefix("/run/"): files.cat(name) for name in files.find("/run")}


def do(run: RunFolder, shard: str) -> None:
    write_text(run.path / "embeddings" / f"{shard}.parquet", f"of {shard}")
    run.commit(shard, {"pairs": 3}, [Reject("7", "no image")])


def test_another_machine_goes_on(said: list[str]) -> None:
    with machine() as run:
        do(run, "0")
    with machine() as run:
        assert run.done("0")
        assert not run.done("1")
        do(run, "1")
        run.undo("1")
        assert set(there()) == {"manifest.json", *(f"embeddings/{shard}.parquet" for shard in "01"), "state/0.json"}
        do(run, "1")
        run.finish({"pairs": 6})
        whole = there()
    assert set(whole) == {"manifest.json", "rejects.parquet", "embeddings/0.parquet", "embeddings/1.parquet"}
    with machine() as run:
        assert run.was_finished
    assert there() == whole
    assert said == []


def test_another_machine_with_other_parameters_is_refused() -> None:
    with machine():
        pass
    with pytest.raises(MisuseError, match='was begun with other parameters or inputs:\n  model: "a" there, "b" now'):
        machine(model="b").__enter__()


@pytest.mark.parametrize("below", ["", "anchors"])
def test_who_is_refused_leaves_nothing_there(below: str, memory: Any) -> None:
    def refuse(part: str = "", *shards: str) -> set[str]:
        outer = machine()
        run = RunFolder(outer.path / below, "anchors", {}, [], part=part) if below else outer
        run.part = part
        with suppress(MisuseError), outer if below else nullcontext(), run:
            assert f"{below}/manifest.json".lstrip("/") in there()
            for shard in shards:
                do(run, shard)
            raise MisuseError("no such model")
        return set(there())

    assert refuse() == set()
    names = refuse("", "0")
    assert {name.removeprefix(f"{below}/") for name in names} == {
        *("embeddings/0.parquet", "state/0.json", "manifest.json")
    }
    assert refuse() == names
    memory.rm("/run", recursive=True)
    assert f"{below}/manifest.json".lstrip("/") in refuse("1/2")  # another may be at work


def test_two_at_once_with_the_same_options(said: list[str]) -> None:
    with machine() as one, machine() as two:
        do(one, "0")
        do(two, "1")
        do(two, "0")
        do(one, "1")
        assert [line.partition(": ")[2] for line in said] == [
            "another run is at work there, too; both do the same, and one would do"
        ] * 2
        one.finish({"pairs": 6})
        whole = there()
        assert two.overtaken()
        assert two.was_finished
        two.finish({"pairs": 6})
    assert json.loads(whole["manifest.json"])["summary"] == {"pairs": 6}
    assert there() == whole


def test_two_at_once_with_other_options() -> None:
    one, two = machine(), machine(model="b")
    bring = run_folder.bring
    with one:
        run_folder.bring = lambda path: None  # two looks before one has begun
        try:
            two.__enter__()
        finally:
            run_folder.bring = bring
        do(one, "0")
        with pytest.raises(CocuError, match="another run began there with other parameters, and both wrote over each"):
            one.finish({"pairs": 3})
        two.__exit__()
