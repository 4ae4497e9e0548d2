"""The layout "webdataset": tar shards in which the members of a picture share the name before the first dot."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data_cards.cards import Card
from data_cards.layouts.decoding import BadItem
from data_cards.layouts.layout import LAYOUTS, refuse_unused_split
from data_cards.masks import Masks
from files.addresses import OpenTar, is_packed, open_tar
from files.errors import CocuError, MisuseError
from files.pictures import FIELDS
from files.rejects import Reject
from files.shard_names import shard_suffix
from files.tar import Member, find_members


@dataclass(frozen=True)
class Stored:
    """A file within a tar."""

    tar: Path
    member: Member

    @property
    def path(self) -> str:
        """tar/member, as messages name it."""
        return f"{self.tar}/{self.member.key}.{self.member.field}"

    def read(self) -> tuple[str, bytes]:
        """Path and content. Raises BadItem: the tar is cut off or gone."""
        path, size = self.path, self.member.size
        try:
            with self.tar.open("rb") as file:
                plain = _unpacked(self.tar, os.fstat(file.fileno()).st_mtime_ns)[0].file if is_packed(file) else file
                content = os.pread(plain.fileno(), size, self.member.offset)
        except OSError as error:
            raise BadItem(path, f"cannot be read ({error.strerror or error})") from error
        if len(content) < size:
            raise BadItem(path, f"the tar is cut off: {len(content):,} of {size:,} bytes are there")
        return path, content


@dataclass(frozen=True)
class Shards:
    """Members of tar shards, found without decoding any."""

    keys: Sequence[str]
    pictures: Sequence[Stored]
    mask_members: Sequence[Stored | None]
    masks: Masks

    def picture(self, index: int) -> tuple[str, bytes]:
        """Path and content of a picture. Raises BadItem."""
        return self.pictures[index].read()

    def mask(self, index: int) -> tuple[str, bytes]:
        """Path and content of a mask. Raises BadItem."""
        stored = self.mask_members[index]
        if stored is None:
            raise BadItem(self.mask_file(index), f"the mask of {self.keys[index]!r} is missing")
        return stored.read()

    def picture_file(self, index: int) -> str:
        """Where a picture is: tar/member."""
        return self.pictures[index].path

    def mask_file(self, index: int) -> str:
        """Where the mask of a picture is, or should be."""
        stored = self.mask_members[index]
        return stored.path if stored else f"{self.pictures[index].tar}/{self.keys[index]}.{self.masks.path}"

    def missing(self) -> list[str]:
        """The masks that are not there."""
        return [self.mask_file(index) for index, stored in enumerate(self.mask_members) if stored is None]


def open_shards(card: Card, path: Path, split: str) -> Shards:
    """Look through the tars named SPLIT-*.tar of a folder, packed or not, or one tar. Raises MisuseError, CocuError."""
    tars = [path]
    if path.is_dir():
        tars = sorted(one for one in path.iterdir() if one.name.startswith(f"{split}-") and shard_suffix(one.name))
        if not tars:
            there = ", ".join(sorted(one.name for one in path.iterdir())[:8]) or "nothing"
            raise MisuseError(f"{card.name}={path}: no {split}-*.tar is there; the folder holds {there}")
    elif not path.name.startswith(f"{split}-"):
        refuse_unused_split(card, path, split, "a tar is read whole, whichever split it is of")
    pairs: dict[str, dict[str, Stored]] = {}
    for tar in tars:
        for one in _members(tar):
            fields = pairs.setdefault(one.member.key, {})
            if before := fields.get(one.member.field):
                raise MisuseError(f"{one.path}: occurs twice, before in {before.tar}")
            fields[one.member.field] = one
    pictures: dict[str, tuple[Stored, dict[str, Stored]]] = {}
    for key, fields in pairs.items():
        if found := [one for one in FIELDS if one in fields]:
            pictures[key] = fields[found[0]], fields
    masks = max(card.masks, key=lambda one: sum(one.path.lower() in fields for _, fields in pictures.values()))
    field = masks.path.lower()
    if not any(field in fields for _, fields in pictures.values()):
        looked = " or ".join(f".{one.path}" for one in card.masks)
        raise MisuseError(f"{card.name}={path}: no picture has a mask; looked for members that end in {looked}")
    keys = [key for key, (_, fields) in pictures.items() if field in fields or not card.partly_masked]
    mask_members = tuple(pictures[key][1].get(field) for key in keys)
    return Shards(tuple(keys), tuple(pictures[key][0] for key in keys), mask_members, masks)


def _members(tar: Path) -> Iterator[Stored]:
    """The files of a tar. Raises CocuError when it is cut off: nobody knows what would have followed."""
    wrong = "{}: cannot be read to its end as a tar ({}); fetch or write it again"
    try:
        with tar.open("rb") as file:
            opened = OpenTar(file)
            if is_packed(file):
                opened, _ = _unpacked(tar, os.fstat(file.fileno()).st_mtime_ns)
            if opened.fault:
                raise CocuError(wrong.format(tar, opened.fault))
            for member in find_members(opened.file):
                if isinstance(member, Reject):
                    raise CocuError(wrong.format(tar, member.reason))
                yield Stored(tar, member)
    except OSError as error:
        raise CocuError(wrong.format(tar, error)) from error


@cache
def _unpacked(tar: Path, changed: int) -> tuple[OpenTar, ExitStack]:
    """The copy of a packed tar that its members are read from: a file without a name, until the process ends."""
    kept = ExitStack()
    return kept.enter_context(open_tar(str(tar))), kept


LAYOUTS.add("webdataset", open_shards)
