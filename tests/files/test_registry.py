"""Doors: entries by name, and those that installed packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from files.errors import MisuseError
from files.registry import Registry


def installed(folder: Path, group: str, entries: dict[str, str], code: str) -> Path:
    """A folder as pip leaves it: a module, and a package `cocu-stranger` that offers entry points."""
    info = folder / "cocu_stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cocu-stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()))
    (folder / "stranger.py").write_text(code)
    return folder


def test_entries_come_by_name_in_order() -> None:
    door: Registry[int] = Registry("--door")
    door.add("b", 2)
    door.add("a", 1)
    assert list(door) == ["b", "a"]
    assert (door["a"], len(door), "c" in door) == (1, 2, False)
    with pytest.raises(ValueError, match="--door a: there is one"):
        door.add("a", 3)


def test_a_wrong_name_is_told_with_those_that_there_are() -> None:
    door: Registry[int] = Registry("--door")
    door.add("posterior", 2)
    with pytest.raises(MisuseError, match="--door postrior: expected one of posterior; did you mean posterior"):
        door["postrior"]


def test_a_package_enters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = "cocu.tested"
    code = "good = 7\nodd = 'seven'\nraise_ = 1\n"
    entries = {"seven": "stranger:good", "odd": "stranger:odd", "gone": "stranger:no_such"}
    monkeypatch.syspath_prepend(installed(tmp_path, group, entries, code))

    def number(entry: object) -> None:
        if not isinstance(entry, int):
            raise ValueError(f"{entry!r} is no number")

    door: Registry[int] = Registry("--door", group, check=number)
    door.add("one", 1)
    assert list(door) == ["one", "seven", "odd", "gone"]
    assert (door["seven"], door.package("seven"), door.package("one")) == (7, "cocu-stranger", "")
    assert door.own() == {"one": 1}
    for name, reason in (("odd", "'seven' is no number"), ("gone", "no_such")):
        with pytest.raises(MisuseError, match=f"{name}: the package cocu-stranger offers it .*{reason}"):
            door[name]
