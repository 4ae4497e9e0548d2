"""The layout "webdataset": tar shards in which the members of a picture share the name before the first dot."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_cards.cards import Card
from data_cards.layouts.decoding import BadItem
from data_cards.layouts.layout import LAYOUTS
from data_cards.masks import Masks
from files.errors import CocuError, MisuseError

_PICTURES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Member:
    """A file within a tar: its bytes begin at `offset`."""

    tar: Path
    name: str
    offset: int
    size: int

    @property
    def path(self) -> str:
        """tar/member, as messages name it."""
        return f"{self.tar}/{self.name}"

    def read(self) -> tuple[str, bytes]:
        """Path and content. Raises BadItem: the tar is cut off or gone."""
        path = self.path
        try:
            file = os.open(self.tar, os.O_RDONLY)
            try:
                content = os.pread(file, self.size, self.offset)
            finally:
                os.close(file)
        except OSError as error:
            raise BadItem(path, f"cannot be read ({error.strerror or error})") from error
        if len(content) < self.size:
            raise BadItem(path, f"the tar is cut off: {len(content):,} of {self.size:,} bytes are there")
        return path, content


@dataclass(frozen=True)
class Shards:
    """Members of tar shards, found without decoding any."""

    keys: Sequence[str]
    pictures: Sequence[Member]
    mask_members: Sequence[Member | None]
    masks: Masks

    def picture(self, index: int) -> tuple[str, bytes]:
        """Path and content of a picture. Raises BadItem."""
        return self.pictures[index].read()

    def mask(self, index: int) -> tuple[str, bytes]:
        """Path and content of a mask. Raises BadItem."""
        member = self.mask_members[index]
        if member is None:
            raise BadItem(self.mask_file(index), f"the mask of {self.keys[index]!r} is missing")
        return member.read()

    def picture_file(self, index: int) -> str:
        """Where a picture is: tar/member."""
        return self.pictures[index].path

    def mask_file(self, index: int) -> str:
        """Where the mask of a picture is, or should be."""
        member = self.mask_members[index]
        return member.path if member else f"{self.pictures[index].tar}/{self.keys[index]}.{self.masks.path}"

    def missing(self) -> list[str]:
        """The masks that are not there."""
        return [self.mask_file(index) for index, member in enumerate(self.mask_members) if member is None]


def open_shards(card: Card, path: Path, split: str) -> Shards:
    """Look through the tars named SPLIT-*.tar of a folder, or one tar. Raises MisuseError, CocuError."""
    tars = [path]
    if path.is_dir():
        tars = sorted(path.glob(f"{split}-*.tar"))
        if not tars:
            there = ", ".join(sorted(one.name for one in path.iterdir())[:8]) or "nothing"
            raise MisuseError(f"{card.name}={path}: no {split}-*.tar is there; the folder holds {there}")
    pairs: dict[str, dict[str, Member]] = {}
    for tar in tars:
        for member in _members(tar):
            folder, _, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            members = pairs.setdefault(f"{folder}/{stem}" if folder else stem, {})
            if ending in members:
                raise MisuseError(f"{tar}/{member.name}: occurs twice, before in {members[ending].tar}")
            members[ending] = member
    pictures: dict[str, tuple[Member, dict[str, Member]]] = {}
    for key, members in pairs.items():
        if endings := [one for one in _PICTURES if one in members]:
            pictures[key] = members[endings[0]], members
    masks = max(card.masks, key=lambda one: sum(one.path in members for _, members in pictures.values()))
    if not any(masks.path in members for _, members in pictures.values()):
        looked = " or ".join(f".{one.path}" for one in card.masks)
        raise MisuseError(f"{card.name}={path}: no picture has a mask; looked for members that end in {looked}")
    keys = [key for key, (_, members) in pictures.items() if masks.path in members or not card.partly_masked]
    mask_members = tuple(pictures[key][1].get(masks.path) for key in keys)
    return Shards(tuple(keys), tuple(pictures[key][0] for key in keys), mask_members, masks)


def _members(tar: Path) -> Iterator[Member]:
    """The files of a tar. Raises CocuError when it is cut off: nobody knows what would have followed."""
    try:
        with tarfile.open(tar, "r:") as file:
            for member in file:
                if member.isfile():
                    yield Member(tar, member.name, member.offset_data, member.size)
            end = file.offset  # tarfile stops without a word where a header is cut off
        with tar.open("rb") as raw:
            raw.seek(end)
            if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("no mark of its end")
    except (tarfile.TarError, OSError) as error:
        raise CocuError(f"{tar}: cannot be read to its end as a tar ({error}); fetch or write it again") from error


LAYOUTS.add("webdataset", open_shards)
