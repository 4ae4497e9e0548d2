"""Members and samples of a WebDataset tar, found by offset; broken stretches are stepped over.

A member's key is its name up to the first dot after the last slash, its field what follows the dot.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from files.rejects import Reject
from files.tar_headers import BLOCK, BrokenTar, read_any, read_plain

_MAGIC, _MAGIC_AT = b"ustar", 257
_SCAN = 1 << 20
_META = re.compile(rb"__[^/]*__(/|\Z)")


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """(key, field in lower case) of a member; field b"" where it belongs to no sample, as in WebDataset.

    Such are files without an ending, hidden ones, and those named __so__ or in a folder named so.
    """
    stem, _, field = name.rpartition(b"/")[2].partition(b".")
    if not (stem and field) or (name.startswith(b"__") and _META.match(name)):
        return name, b""
    key = name[: -1 - len(field)]
    return key, field.lower() if field.isascii() else _text(field).lower().encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample: its key and field, where its header and its data start, and how many bytes these are."""

    key: str
    field: str
    start: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where what follows it starts."""
        return self.offset + -(-self.size // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive members of a tar that share a key; bytes [start, end) of the tar hold them with their headers."""

    key: str
    members: tuple[Member, ...]

    @property
    def start(self) -> int:
        """Of its first member's header."""
        return self.members[0].start

    @property
    def end(self) -> int:
        """Of its last member."""
        return self.members[-1].end

    def member(self, fields: tuple[str, ...]) -> Member | None:
        """First member with one of these fields."""
        return next((m for m in self.members if m.field in fields), None)


def read_samples(tar: BinaryIO) -> Iterator[Sample | Reject]:
    """Samples of an open, uncompressed tar, grouped by key. Repeated keys and broken stretches give rejects."""
    seen: set[str] = set()
    members: list[Member] = []

    def finished() -> Iterator[Sample | Reject]:
        if not members:
            return
        key = members[0].key
        if key in seen:
            yield Reject(
                key,
                "repeated key: an earlier sample has it; members of one key must be adjacent (tar --sort=name)",
            )
        else:
            seen.add(key)
            yield Sample(key, tuple(members))

    for member in find_members(tar):
        if isinstance(member, Reject):
            yield from finished()
            members = []
            yield member
            continue
        if members and (member.key != members[0].key or any(member.field == one.field for one in members)):
            yield from finished()
            members = []
        members.append(member)
    yield from finished()


def read_member(tar: BinaryIO, member: Member) -> bytes:
    """Data of one member."""
    tar.seek(member.offset)
    return tar.read(member.size)


def find_members(tar: BinaryIO) -> Iterator[Member | Reject]:
    """Members of an open, uncompressed tar. After a broken stretch reading goes on at the next sound header.

    Whatever is wrong gives one reject with key "" for each stretch. A tar whose end is missing was cut short, even
    where the cut falls between two members.
    """
    length = tar.seek(0, 2)
    position = 0
    while True:
        if position >= length:
            yield Reject("", f"tar cut short: its end is missing at byte {length:,}" if length else "tar is empty")
            return
        tar.seek(position)
        block = tar.read(BLOCK)
        if not block.strip(b"\0"):
            sound = _next_header(tar, position)
            if sound is None:
                return
            # Tars strung together, or a hole of zeros; what follows is read in both cases.
            yield Reject("", f"tar ends early: at byte {position:,}, and goes on at byte {sound:,}")
            position = sound
            continue
        try:
            name, data, size, following, sparse = read_plain(block, position) or read_any(tar, position)
        except BrokenTar as error:
            sound = _next_member(tar, position + 1)
            if sound is not None:
                yield Reject("", f"tar broken: from byte {position:,} to {sound:,} ({error})")
                position = sound
                continue
            if position == 0:
                yield Reject("", f"not a tar: {error}")
            elif length - position < BLOCK:
                yield Reject("", f"tar cut short: at byte {length:,}, in a header")
            else:
                yield Reject("", f"tar broken: from byte {position:,} to its end at {length:,} ({error})")
            return
        if data + size > length:
            yield Reject("", f"tar cut short: at byte {length:,}, in {_text(name)}")
            return
        if sparse:
            yield Reject("", f"sparse file: {_text(name)} is not read")
        key, field = (b"", b"") if sparse else split_name(name)
        if field:
            yield Member(_text(key), _text(field), position, data, size)
        position = following


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _next_member(tar: BinaryIO, position: int) -> int | None:
    """Offset of the first header at or after `position` that can be believed; None where there is no header.

    Damage can leave a header its checksum, a mere sum, but not its size: then other members lie in what it calls its
    data. A tar within the tar is no such case: it begins with a header at once.
    """
    while (sound := _next_header(tar, position)) is not None:
        try:
            tar.seek(sound)
            _, data, size, _, _ = read_plain(tar.read(BLOCK), sound) or read_any(tar, sound)
        except BrokenTar:
            return sound
        inner = _next_header(tar, data)
        if inner is None or inner == data or inner >= data + size:
            return sound
        position = inner
    return None


def _next_header(tar: BinaryIO, position: int) -> int | None:
    """Offset of the first tar header with a right checksum at or after `position`, at any byte."""
    origin, tail = position, b""
    tar.seek(position)
    while chunk := tar.read(_SCAN):
        window, base = tail + chunk, position - len(tail)
        at = window.find(_MAGIC)
        while at >= 0:
            start = base + at - _MAGIC_AT
            if start >= origin and _is_header(tar, start):
                return start
            at = window.find(_MAGIC, at + 1)
        position += len(chunk)
        tail = window[-len(_MAGIC) + 1 :]
        tar.seek(position)
    return None


def _is_header(tar: BinaryIO, position: int) -> bool:
    tar.seek(position)
    try:
        tarfile.TarInfo.frombuf(tar.read(BLOCK), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True
