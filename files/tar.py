"""Members and samples of a WebDataset tar, found by offset; broken stretches are stepped over.

A member's key is its name up to the first dot after the last slash, its field what follows the dot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from files.rejects import Reject
from files.tar_headers import BLOCK, MAGIC, MAGIC_AT, BrokenTar, Header, Seekable, is_header, read_any, read_plain

MOST_MEMBERS = 1000  # of one key
# Headers of small members lie together: one read covers them and the next sample's first.
READ_AHEAD = 16 * BLOCK
_MOST_READ = 1 << 20
_NAME_SHOWN = 100
_META = re.compile(rb"__[^/]*__(/|\Z)")


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """(key, field in lower case) of a member; field b"" where it belongs to no sample, as in WebDataset.

    Such are files without an ending, hidden ones, and those named __so__ or in a folder named so.
    """
    start = name.rfind(b"/") + 1
    dot = name.find(b".", start)
    if dot <= start or dot == len(name) - 1 or (name.startswith(b"__") and _META.match(name)):
        return name, b""
    field = name[dot + 1 :]
    return name[:dot], field.lower() if field.isascii() else member_text(field).lower().encode(
        "utf-8", "surrogateescape"
    )


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


# A file of a sample: where its header starts, its key and field, where its data start, their size, and where the next
# header starts. Plain tuples, as training goes through the headers of a shard while batches wait.
File = tuple[int, bytes, bytes, int, int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """A stretch of a tar that is not read, and why. lost: its bytes, where they are known."""

    reason: str
    lost: int = 0


def read_samples(tar: Seekable) -> Iterator[Sample | Reject]:
    """Samples of an open, uncompressed tar, grouped by key. Repeated keys and broken stretches give rejects."""
    seen: set[str] = set()
    for files in group_files(tar):
        if isinstance(files, Fault):
            yield Reject("", files.reason)
            continue
        key = member_text(files[0][1])
        if key in seen:
            yield Reject(
                key,
                "repeated key: an earlier sample has it; members of one key must be adjacent (tar --sort=name)",
            )
            continue
        seen.add(key)
        if len(files) > MOST_MEMBERS:
            yield Reject(key, TOO_MANY)
        else:
            yield Sample(key, tuple(_member(file) for file in files))


TOO_MANY = f"too many members: more than {MOST_MEMBERS:,} have its key"


def read_member(tar: Seekable, member: Member) -> bytes:
    """Data of one member."""
    tar.seek(member.offset)
    return tar.read(member.size)


def find_members(tar: Seekable) -> Iterator[Member | Reject]:
    """Members of an open, uncompressed tar; each fault (`find_files`) gives a reject with key ""."""
    for file in find_files(tar):
        yield Reject("", file.reason) if isinstance(file, Fault) else _member(file)


def group_files(tar: Seekable) -> Iterator[list[File] | Fault]:
    """The files of each sample, and the faults. Of more than MOST_MEMBERS it gives so many, and the last.

    A fault ends a sample. What of it lies behind the fault is no sample of its own, and is passed over.
    """
    files: list[File] = []
    fields: set[bytes] = set()
    key: bytes | None = None
    broken_off: bytes | None = None
    for file in find_files(tar):
        if isinstance(file, Fault):
            if files:
                yield files
            yield file
            broken_off = broken_off if key is None else key
            files, key = [], None
            continue
        _, this, field, _, _, _ = file
        if this != key or field in fields:
            if this == broken_off:
                continue
            if files:
                yield files
            files, fields, key, broken_off = [file], {field}, this, None
        elif len(files) <= MOST_MEMBERS:
            files.append(file)
            fields.add(field)
        else:
            files[-1] = file
    if files:
        yield files


def find_files(tar: Seekable) -> Iterator[File | Fault]:
    """The files of samples of an open, uncompressed tar. Behind what is broken it goes on at the next sound header.

    Each broken stretch gives one fault, before the file that follows it. A tar whose end is missing was cut short, even
    where the cut falls between two members.
    """
    search = _Search(tar)
    position = base = 0
    window = b""
    file: File | Fault | None = None  # of the last header; given out when a header follows it: then its size is right
    last: tuple[int, int, int] | None = None  # where the last header starts, and its data start and end
    broken: _Broken | None = None
    while True:
        at = position - base
        if not 0 <= at <= len(window) - BLOCK:
            tar.seek(position)
            base, at, window = position, 0, tar.read(READ_AHEAD)
        block = window[at : at + BLOCK]
        header, error = read_plain(block, position), None
        if header is None or header[1] + header[2] > search.length:
            try:
                header = search.read(position)
            except BrokenTar as found:
                header, error = None, found
        if error is not None:
            begin, sound = search.go_on(block, position, last)
            if last is not None and begin == last[0]:
                file = None
        if file is not None:
            if broken is not None:
                yield broken.fault()
                broken = None
            yield file
            file = None
        if error is not None:
            if sound is None:
                yield from _at_the_end(block, position, search.length, error, broken)
                return
            hole = not block.strip(b"\0")
            broken = _Broken(begin, sound, "" if hole else str(error)) if broken is None else replace(broken, end=sound)
            position, last = sound, None
            continue
        assert header is not None
        name, data, size, following, sparse = header
        if sparse:
            file = Fault(f"sparse file: {_shown(name)} is not read")
        elif name:
            key, field = split_name(name)
            if field:
                file = position, key, field, data, size, following
        last = position, data, data + size
        position = following


@dataclass(frozen=True, slots=True)
class _Broken:
    """Bytes [begin, end) of a tar, which are passed over. reason: "" for zeros, where the tar may have ended."""

    begin: int
    end: int
    reason: str

    def fault(self) -> Fault:
        if not self.reason:
            return Fault(f"tar ends early: at byte {self.begin:,}, and goes on at byte {self.end:,}")
        reason = f"tar broken: from byte {self.begin:,} to {self.end:,} ({self.reason})"
        return Fault(reason, self.end - self.begin)


def _at_the_end(block: bytes, position: int, length: int, error: BrokenTar, broken: _Broken | None) -> Iterator[Fault]:
    """What there is to say where no sound header follows the block at `position`."""
    if not block.strip(b"\0"):
        if broken is not None:
            yield broken.fault()
        if position >= length:
            yield Fault(f"tar cut short: its end is missing at byte {length:,}" if length else "tar is empty")
        return
    begin, reason = (position, str(error)) if broken is None else (broken.begin, broken.reason or str(error))
    if broken is None and isinstance(error, _CutShort):
        said = f"tar cut short: at byte {length:,}, in {error.name}"
    elif begin == 0:
        said = f"not a tar: {reason}"
    elif length - begin < BLOCK:
        said = f"tar cut short: at byte {length:,}, in a header"
    else:
        said = f"tar broken: from byte {begin:,} to its end at {length:,} ({reason})"
    yield Fault(said, length - begin)


class _CutShort(BrokenTar):
    """A file that would go on behind the end of its tar."""

    def __init__(self, name: bytes, size: int) -> None:
        self.name = _shown(name) or "a member"
        super().__init__(f"{self.name} of {size:,} bytes, more than are there")


class _Search:
    """Looks for sound headers in a tar: those of files that lie in it to their end."""

    def __init__(self, tar: Seekable) -> None:
        self.length = tar.seek(0, 2)
        self._tar = tar
        self._seen: tuple[int, int | None] | None = None  # an offset, and the first sound header at or after it

    def read(self, position: int) -> Header:
        """The header at `position`. Raises BrokenTar where it is not sound."""
        header = read_any(self._tar, position)
        name, data, size, following, _ = header
        if data + size > self.length or following >= self.length + BLOCK:
            raise _CutShort(name, size or following - data)
        return header

    def go_on(self, block: bytes, position: int, last: tuple[int, int, int] | None) -> tuple[int, int | None]:
        """Where the broken stretch around `position` begins, and the sound header behind it; None: there is none.

        It begins at the last header where the data of that file hold another header, as they do where bytes were lost.
        """
        hole = not block.strip(b"\0")
        sound = self._next(position) if hole else None
        if last is not None and (sound is not None if hole else not is_header(block)):
            inner = self._within(last[1], position)
            if inner is not None:
                return last[0] if inner < last[2] else last[2], inner
        return position, sound if hole else self._next(position + 1)

    def _within(self, data: int, end: int) -> int | None:
        """A header among data of a file that should end at `end`, where no header is.

        A tar within the tar begins with a header at once. It is no such case, unless its headers lead beyond `end`.
        """
        inner = self._find(data, end)
        if inner != data:
            return inner
        position = inner
        try:
            while position < end:
                position = self.read(position)[3]
        except BrokenTar:
            return None
        return inner if position > end else None

    def _next(self, position: int) -> int | None:
        """Offset of the first sound header at or after `position`, of a file whose data hold no other."""
        if self._seen is None or not self._seen[0] <= position <= (self._seen[1] or self.length):
            sound = self._find(position, self.length)
            while sound is not None and (inner := self._within(*self.read(sound)[1:4:2])) is not None:
                sound = inner  # damage can leave a header its sum, but not its size
            self._seen = position, sound
        return self._seen[1]

    def _find(self, position: int, end: int) -> int | None:
        """Offset of the first sound header that starts in bytes [position, end)."""
        while (found := self._find_header(position, end)) is not None:
            try:
                self.read(found)
                return found
            except BrokenTar:
                position = found + 1
        return None

    def _find_header(self, position: int, end: int) -> int | None:
        """Offset of the first header with a right sum that starts in bytes [position, end), whatever it says."""
        size = READ_AHEAD
        while position < end:
            self._tar.seek(position)
            window = self._tar.read(min(size, end - position) + BLOCK)
            at = window.find(MAGIC, MAGIC_AT)
            while MAGIC_AT <= at < len(window) - BLOCK + MAGIC_AT + 1:
                start = at - MAGIC_AT
                if position + start < end and is_header(window[start : start + BLOCK]):
                    return position + start
                at = window.find(MAGIC, at + 1)
            position += size
            size = min(2 * size, _MOST_READ)
        return None


def _member(file: File) -> Member:
    position, key, field, data, size, _ = file
    return Member(member_text(key), member_text(field), position, data, size)


def member_text(raw: bytes) -> str:
    """A key or field as text; what is no UTF-8 in it stays apart."""
    return raw.decode("utf-8", "surrogateescape")


def _shown(name: bytes) -> str:
    text = member_text(name[:_NAME_SHOWN])
    return text if len(name) <= _NAME_SHOWN else f"{text}..."
