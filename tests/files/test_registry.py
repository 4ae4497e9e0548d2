"""Doors: entries by name, and those that installed packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from files.errors import MisuseError
from files.registry import Registry
from tests.strangers_package import install

GROUP = "cocu.tested"


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
    points = "seven = stranger:good\nodd = stranger:odd\ngone = stranger:no_such\nlost = no_such:good\n"
    install(monkeypatch, tmp_path, f"[{GROUP}]\n{points}", "good = 7\nodd = 'seven'\n")

    def number(entry: object) -> None:
        if not isinstance(entry, int):
            raise ValueError(f"{entry!r} is no number")

    door: Registry[int] = Registry("--door", GROUP, check=number)
    door.add("one", 1)
    assert list(door) == ["one", "seven", "odd", "gone", "lost"]
    for _ in range(2):  # before it is loaded, and after
        assert (door.package("seven"), door.package("one")) == ("cocu-stranger", "")
        assert door["seven"] == 7
    for name, reason in (("odd", "'seven' is no number"), ("gone", "no_such"), ("lost", "No module named 'no_such'")):
        with pytest.raises(MisuseError, match=f"{name}: the package cocu-stranger offers it .*{reason}"):
            door[name]


def test_no_package_takes_the_place_of_the_houses_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, f"[{GROUP}]\none = stranger:one\n", "one = 11\n")
    door: Registry[int] = Registry("--door", GROUP)
    door.add("one", 1)
    assert (door["one"], door.package("one"), list(door)) == (1, "", ["one"])


def test_two_packages_with_one_name_are_both_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("first", "second"):
        install(monkeypatch, tmp_path / package, f"[{GROUP}]\none = stranger:one\n", "one = 1\n", package)
    door: Registry[int] = Registry("--door", GROUP)
    with pytest.raises(MisuseError, match="--door one: offered by the packages second and first; remove one"):
        door["one"]


def test_help_says_what_each_entry_is_and_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = f"[{GROUP}]\ngood = stranger:Good\ngone = stranger:no_such\n"
    install(monkeypatch, tmp_path, points, "class Good:\n    help = 'the good one'\n")
    door: Registry[object] = Registry("--door", GROUP)
    door.add("plain", 1)
    assert door.described() == {
        "plain": "",
        "good": "the good one (package cocu-stranger)",
        "gone": "cannot be used (package cocu-stranger)",
    }
