"""Doors: named entries that a room knows, to which installed packages and callers may add their own.

The house's own add themselves where they are defined: the files of the door's room are asked for them. A package enters
through an entry point of the door's group, `cocu.rankings` for instance; it is loaded when its name is asked for, and
shown in help texts with the package's name.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from typing import Generic, TypeVar

from files.errors import MisuseError

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name, the house's own first, in the order in which they were added.

    what: what an entry is called where one is missing, such as "--ranking". group: of entry points; "": none is asked
    for. room: the package whose files add entries when they are loaded; "": all are there already. check: raises
    ValueError for what cannot be an entry, with what is wrong.
    """

    def __init__(
        self, what: str, group: str = "", room: str = "", check: Callable[[object], None] = lambda entry: None
    ) -> None:
        self.what, self.group, self._room, self._check = what, group, room, check
        self._added: dict[str, Entry] = {}
        self._packages: dict[str, str] = {}  # of the entries that were loaded from one

    def add(self, name: str, entry: Entry) -> Entry:
        """Enter `entry` under a name that nobody has. Raises ValueError for one that is taken."""
        if name in self._added:
            raise ValueError(f"{self.what} {name}: there is one of this name already")
        self._check(entry)
        self._added[name] = entry
        return entry

    @property
    def _entries(self) -> dict[str, Entry]:
        if self._room:
            room, self._room = import_module(self._room), ""
            for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
                import_module(module.name)
        return self._added

    def __getitem__(self, name: str) -> Entry:
        """The entry of this name. Raises MisuseError where there is none, with the names that there are."""
        if name not in self._entries:
            self._load(name)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._entries, *self._points()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._points()

    def package(self, name: str) -> str:
        """The installed package that an entry comes from; "" for the house's own and those added by hand."""
        if name in self._entries:
            return self._packages.get(name, "")
        return " and ".join(map(_package, self._points().get(name, [])))

    def described(self) -> dict[str, str]:
        """What a help text says of each entry: its attribute `help`, and the package that it comes from."""
        said: dict[str, str] = {}
        for name in self:
            try:
                words = getattr(self[name], "help", "")
            except MisuseError:  # told when the name is used; a broken package does not take the others' help away
                words = "cannot be used"
            package = self.package(name)
            said[name] = f"{words} (package {package})".lstrip() if package else words
        return said

    def _points(self) -> dict[str, list[metadata.EntryPoint]]:
        found: dict[str, list[metadata.EntryPoint]] = {}
        for point in metadata.entry_points(group=self.group) if self.group else ():
            found.setdefault(point.name, []).append(point)
        return found

    def _load(self, name: str) -> None:
        points = self._points().get(name)
        if points is None:
            near = difflib.get_close_matches(name, list(self), 1, 0.5)
            raise MisuseError(
                f"{self.what} {name}: expected one of {', '.join(self)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        source = self.package(name)
        if len(points) > 1:
            raise MisuseError(f"{self.what} {name}: offered by the packages {source}; remove one of them")
        try:
            self.add(name, points[0].load())
        except Exception as error:  # whatever a stranger's package raises while it is imported
            raise MisuseError(
                f"{self.what} {name}: the package {source} offers it ({points[0].value}), but it cannot be used: "
                f"{type(error).__name__}: {error}; mend or remove the package"
            ) from error
        self._packages[name] = source


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
