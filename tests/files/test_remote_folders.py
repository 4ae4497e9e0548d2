"""Remote folders: their copies here are what is there, whatever is written, changed, removed or refused."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from files import remote_copy, remote_folders
from files.atomic import write_text
from files.errors import CocuError, MisuseError
from files.printable import CALLED, printable_lines
from files.remote_folders import address_of, at_hand, beside, bring, copy_of, is_there, local_folder, remove
from files.scratch import scratch_folder
from files.synced import remote_address
from files.workers import WorkerPool


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty other side, and a process that knows of no copies."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(remote_folders, "_COPIES", {})
    monkeypatch.setattr(remote_folders, "PASSING", ())  # these tests are one process
    monkeypatch.delenv(remote_folders.CACHE, raising=False)
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    CALLED.clear()


def put(name: str, text: str) -> None:
    fsspec.filesystem("memory").pipe(f"/{name}", text.encode())


def there(folder: str = "ix") -> dict[str, str]:
    files = fsspec.filesystem("memory")
    return {name.removeprefix(f"/{folder}/"): files.cat_file(name).decode() for name in files.find(f"/{folder}")}


def here(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/a/ix", "s3://bucket/a/ix"),
        (Path("s3://bucket/a/ix"), "s3://bucket/a/ix"),
        ("gs://bucket/", "gs://bucket"),
        ("GS://Bucket/Ix", "gs://Bucket/Ix"),
        (Path("local:///data/ix"), "local:///data/ix"),
        ("file:///data/ix", None),
        ("File:///data/ix", None),
        ("runs/ix", None),
        ("/data/s3:/x", None),
        ("a:b/c", None),
    ],
)
def test_addresses(given: str | Path, address: str | None) -> None:
    assert remote_address(given) == address


def test_what_is_here_stays_as_it_is(tmp_path: Path) -> None:
    assert local_folder("runs/ix") == Path("runs/ix")
    assert local_folder("file:///data/ix", filled=True) == local_folder(Path("file:/data/ix")) == Path("/data/ix")
    write_text(tmp_path / "x", "x")
    assert copy_of(tmp_path) is None
    assert address_of(tmp_path) == str(tmp_path)
    assert not is_there(tmp_path / "x")
    bring(tmp_path / "x")
    remove(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_what_is_written_is_there_before_it_is_here() -> None:
    folder = local_folder("memory://ix", filled=True)
    write_text(folder / "state" / "0.json", "done")
    assert there() == here(folder) == {"state/0.json": "done"}
    write_text(folder / "manifest.json", "a")
    write_text(folder / "manifest.json", "b")
    assert there()["manifest.json"] == "b"
    assert is_there(folder / "manifest.json")
    assert not is_there(folder / "state" / "1.json")
    remove(folder / "state")
    remove(folder / "state")
    assert there() == here(folder) == {"manifest.json": "b"}


def test_a_folder_whose_name_is_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_copy, "STORES", ("memory",))
    put("a1/ix/state/0.json", "of others")
    folder = local_folder("memory://a[1]?*/ix", filled=True)
    for name in ("manifest.json", "state/0.json", "state/1.json"):
        write_text(folder / name, "done")
    remove(folder / "state")
    assert there("a[1]?*/ix") == here(folder) == {"manifest.json": "done"}
    assert there("a1/ix") == {"state/0.json": "of others"}


def test_marks_of_folders_are_no_files(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    """Empty files that consoles and mounts leave: of the folder itself, and of those in it."""
    found = {name: {"size": 0, "type": "file"} for name in ("/ix/", "/ix/state/")}
    monkeypatch.setattr(type(memory), "find", lambda *given, **options: found)
    assert here(local_folder("memory://ix", filled=True)) == {}
    assert not is_there(local_folder("memory://ix", filled=True) / "manifest.json")


def test_what_would_be_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(MisuseError, match="memory://ix: would be gone when this command ends"):
        local_folder("memory://ix", filled=True)


def test_what_was_sent_is_read_from_there() -> None:
    folder = local_folder("memory://cu", filled=True, sent=True)
    write_text(folder / "shards" / "0.tar", "a shard")
    assert there("cu") == {"shards/0.tar": "a shard"}
    assert here(folder) == {}
    assert at_hand(folder / "shards" / "0.tar").read_text() == "a shard"


def test_a_file_that_cannot_be_sent_is_not_here_either(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    folder = local_folder("memory://ix", filled=True)

    def refuse(*given: object, **options: object) -> None:
        raise PermissionError("Access Denied.")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    with pytest.raises(OSError, match="cannot be written: Access Denied; check the address") as caught:
        write_text(folder / "state" / "0.json", "done")
    assert caught.value.filename == "memory://ix/state/0.json"
    assert here(folder) == there() == {}


def test_a_copy_becomes_what_is_there() -> None:
    """Whatever changes there, and in what order; what was made here stays."""
    dice = random.Random(0)
    names = ["manifest.json", "rows/a.npy", "rows/b.npy", "tables/pairs/0.parquet", "shards/0.concepts.tar"]
    put("ix/manifest.json", "{}")
    put("ix/rows/a.npy", "rows")
    folder = local_folder("memory://ix", only="manifest.json")
    assert here(folder) == {"manifest.json": "{}"}
    (folder / "fits").mkdir()
    (folder / "fits" / "mine").write_text("made here")
    for step in range(40):
        name = dice.choice(names)
        if name in there() and dice.random() < 0.3:
            fsspec.filesystem("memory").rm(f"/ix/{name}")
        else:
            put(f"ix/{name}", f"{step}")
        put("ix/shards/0.tar", f"large {step}")
        assert local_folder("memory://ix") == folder
        large = {"shards/0.tar": f"large {step}"}
        assert {**here(folder), **large} == {**there(), "fits/mine": "made here"}
    bring(folder / "shards" / "0.tar")
    assert here(folder) == {**there(), "fits/mine": "made here"}


def test_drivers_that_know_little(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    """They take no options, and tell nothing of a file where they list it alone."""
    put("ix/manifest.json", "{}")
    find = memory.find
    monkeypatch.setattr(remote_copy, "filesystem", lambda address: memory)
    monkeypatch.setattr(memory, "find", lambda path, detail: {name: {} for name in find(path)}, raising=False)
    assert here(local_folder("memory://ix")) == {"manifest.json": "{}"}


def test_reading_changes_nothing_there() -> None:
    put("ix/manifest.json", "{}")
    folder = local_folder("memory://ix")
    write_text(folder / "fits" / "0.npz", "fit")
    remove(folder / "manifest.json")
    assert there() == {"manifest.json": "{}"}


def test_copies_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    monkeypatch.setenv(remote_folders.CACHE, str(tmp_path / "kept"))
    put("ix/manifest.json", "{}")
    put("ix/rows/a.npy", "rows")
    folder = local_folder("memory://ix")
    monkeypatch.setattr(remote_folders, "_COPIES", {})  # another process
    put("ix/manifest.json", "{ }")
    asked = []
    get = memory.get
    monkeypatch.setattr(type(memory), "get", lambda self, names, places: asked.extend(names) or get(names, places))
    assert local_folder("memory://ix") == folder
    assert here(folder) == there()
    assert asked == ["/ix/manifest.json"]
    assert str(folder).startswith(str(tmp_path / "kept"))
    assert not str(local_folder("memory://ix", filled=True)).startswith(str(tmp_path / "kept"))


def test_folders_of_others_are_not_filled() -> None:
    put("ix/holiday.jpg", "x")
    with pytest.raises(MisuseError, match=r"memory://ix: holds other files \(holiday.jpg\) and no manifest.json"):
        local_folder("memory://ix", filled=True)
    put("ix/manifest.json", "{}")
    assert here(local_folder("memory://ix", filled=True)) == {}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "./x", "a//x"])
def test_names_that_lead_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    found = {f"/ix/{name}": {"size": 1, "type": "file"}}
    monkeypatch.setattr(type(memory), "find", lambda *given, **options: found)
    with pytest.raises(CocuError, match="which no file here can be called"):
        local_folder("memory://ix")


def test_files_that_come_cut_short(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    put("ix/manifest.json", "{}")

    def cut(self: Any, names: list[str], places: list[str]) -> None:
        for place in places:
            Path(place).write_text("{")

    monkeypatch.setattr(type(memory), "get", cut)
    with pytest.raises(CocuError, match=r"memory://ix/manifest\.json: came with other bytes"):
        local_folder("memory://ix")


def test_addresses_that_cannot_be(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    for filled in (False, True):
        with pytest.raises(MisuseError, match="can be neither listed nor filled"):
            local_folder("https://server/ix", filled)
        with pytest.raises(MisuseError, match="s4://b/ix: Protocol not known: s4"):
            local_folder("s4://b/ix", filled)
    with pytest.raises(MisuseError, match=r"s3://bucket/x\.html: this command writes to disks of this machine only"):
        write_text(Path("s3://bucket/x.html/y"), "")

    def fail(*given: object, **options: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(type(memory), "find", fail)
    with pytest.raises(CocuError, match="memory://ix: cannot be read: no answer in time; check"):
        local_folder("memory://ix")


def test_people_are_told_addresses() -> None:
    folder = local_folder("memory://bucket/ix", filled=True)
    assert printable_lines(f"{folder / 'manifest.json'}: broken") == "memory://bucket/ix/manifest.json: broken"
    assert address_of(folder / "shards") == "memory://bucket/ix/shards"


def test_workers_of_another_machine_have_copies_of_their_own(tmp_path: Path) -> None:
    folder = local_folder(f"local://{tmp_path}/ix", filled=True)
    write_text(folder / "manifest.json", "{}")
    copies, root = remote_folders.all_copies(), folder.parents[1]
    with remote_folders.copies_here(copies):  # of the same one
        assert here(folder) == {"manifest.json": "{}"}
    elsewhere = (replace(copies[0], here=tmp_path / "cocu-copy-9" / "copy" / "ix"),)
    remote_folders._COPIES.clear()
    with remote_folders.copies_here(elsewhere):
        assert here(local_folder(elsewhere[0].here)) == {"manifest.json": "{}"}
        write_text(elsewhere[0].here / "embeddings" / "0.parquet", "of a worker")
        with scratch_folder("cocu-copy-"):
            assert elsewhere[0].here.exists()
    assert here(tmp_path / "ix") == {"manifest.json": "{}", "embeddings/0.parquet": "of a worker"}
    with scratch_folder("cocu-copy-"):
        assert root.exists()
        assert not elsewhere[0].here.exists()


def test_what_lies_beside(tmp_path: Path) -> None:
    """Folders with a manifest, wherever they lie; of those elsewhere nothing else is copied before it is asked for."""
    for name in ("a curation", "b", "c", "d?[1]", ".hidden", "e/deep"):
        for file in ("manifest.json", "rows/0"):
            put(f"data/{name}/{file}", name)
    put("data/none/other.json", "{}")
    put("data/manifest.json", "{}")
    found = list(beside(local_folder("memory://data/b")))
    assert [address_of(path) for path in found] == [f"memory://data/{name}" for name in ("a curation", "c", "d?[1]")]
    assert [here(path) for path in found] == [{"manifest.json": name} for name in ("a curation", "c", "d?[1]")]
    assert here(local_folder("memory://data/c")) == {"manifest.json": "c", "rows/0": "c"}
    assert list(beside(local_folder("memory://data"))) == []  # a whole bucket
    for name in ("b", "a", "without"):
        (tmp_path / "disk" / name).mkdir(parents=True)
        (tmp_path / "disk" / name / "manifest.json").write_text("{}")
    (tmp_path / "disk" / "without" / "manifest.json").unlink()
    assert list(beside(tmp_path / "disk" / "b")) == [tmp_path / "disk" / name for name in ("a", "b")]


def _write(path: Path) -> None:
    write_text(path, "of a worker")


def test_workers_send_what_they_write(tmp_path: Path) -> None:
    folder = local_folder(f"local://{tmp_path}/ix", filled=True)
    pool = WorkerPool(1)
    try:
        pool.map(_write, [folder / "embeddings" / "0.parquet"])
    finally:
        pool.close()
    assert here(folder) == here(tmp_path / "ix") == {"embeddings/0.parquet": "of a worker"}
    assert os.listdir(tmp_path / "ix" / "embeddings") == ["0.parquet"]
