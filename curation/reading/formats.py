"""What a format of shards is: how the pairs of a file are read, and what a curated shard copies of them.

A new format is a class that derives from `Format`, or from `CaptionedTable` or `TextTable`, and its entry in `FORMATS`,
in a file of this room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from curation.reading.pairs import CaptionOptions, Pair
from files.registry import Registry
from files.rejects import Reject
from files.tar_headers import tar_member


class Format(ABC):
    """A file of a format, or a part of one: what reads a shard.

    suffixes: endings of the names of such files, lower case, with their dots.
    by_name: read only where a name or pattern that is given ends so; what lies in a folder, say, is passed over.
    size, rows, offset: as in `Shard`. A file is one shard, but for a `CaptionedTable`.
    """

    suffixes: Sequence[str]
    by_name: bool = False

    def __init__(self, url: str, size: int = 0, rows: tuple[int, int] | None = None, offset: int = 0) -> None:
        self.url, self.size, self.offset = url, size, offset
        self.start, self.stop = rows or (0, 0)

    @abstractmethod
    def pairs(self, options: CaptionOptions) -> Iterator[Pair | Reject]:
        """Pairs in the order of the file; rejects of no one pair have the key ""."""

    @abstractmethod
    def originals(self, options: CaptionOptions) -> AbstractContextManager[Iterator[Original]]:
        """The same pairs, and maybe rejects between them, for a curated shard to copy."""

    @abstractmethod
    def weight(self, pairs: Sequence[Pair]) -> int:
        """About the part of the shard's size that pairs stand for."""


FORMATS: Registry[type[Format]] = Registry("format", room="curation.reading")


class Original(Protocol):
    """A pair as its source holds it; what it has besides its key is read when it is asked for."""

    @property
    def key(self) -> str:
        """That of the pair."""

    @property
    def checksum(self) -> int:
        """That of the pair."""

    def parts(self, without: Collection[str]) -> bytes | memoryview:
        """Its members as parts of a tar (header, data, padding), but for those of these fields."""

    def data(self, *fields: str) -> bytes | None:
        """What the first member with one of these fields holds; None where there is none."""


@dataclass(frozen=True, slots=True)
class NewMembers:
    """An original that is no tar's: its members are made of (field, data), in this order."""

    key: str
    checksum: int
    members: Sequence[tuple[str, bytes]]

    def parts(self, without: Collection[str]) -> bytes:
        """As `Original`."""
        kept = (item for item in self.members if item[0] not in without)
        return b"".join(tar_member(f"{self.key}.{field}".removesuffix("."), data) for field, data in kept)

    def data(self, *fields: str) -> bytes | None:
        """As `Original`."""
        return next((data for field, data in self.members if field in fields), None)
