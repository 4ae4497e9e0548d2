"""Image-caption pairs of a shard, read one at a time; what cannot be a pair becomes a reject with its reason."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from curation.captioned_tables import ColumnNames, caption_by_key, table_rows
from curation.errors import MisuseError
from curation.shards import Shard, is_remote, local_tar

IMAGE_FIELDS = ("jpg", "jpeg", "png", "webp")
CAPTION_FIELDS = ("txt", "text", "caption")
MAX_IMAGE_BYTES = 100 << 20
BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Reject:
    """A pair, or a part of a shard (key ""), that is left out, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with its captions (at least one, none empty). The first caption is the one that is embedded."""

    key: str
    image: bytes
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample: its field (name after the first dot, lower case), where its header and its data start."""

    field: str
    start: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive members of a tar that share a key; bytes [start, end) of the tar hold them with their headers."""

    key: str
    members: tuple[Member, ...]
    start: int
    end: int

    def member(self, fields: tuple[str, ...]) -> Member | None:
        """First member with one of these fields."""
        return next((m for m in self.members if m.field in fields), None)


@dataclass(frozen=True)
class CaptionOptions:
    """Where captions are found.

    field: dotted path into the `.json` member, for instance "captions" or "meta.alt"; None reads the text member.
    all_captions: a list gives all its captions instead of the first.
    columns: column names of tables of (image path, caption); None looks for the usual ones.
    """

    field: str | None = None
    all_captions: bool = False
    image_column: str | None = None
    caption_column: str | None = None

    def __post_init__(self) -> None:
        if self.all_captions and not self.field:
            raise MisuseError("--all-captions needs --caption-field: the JSON field that holds the list of captions")

    @property
    def columns(self) -> ColumnNames:
        """The columns as table readers take them."""
        return ColumnNames(self.image_column, self.caption_column)


def read_pairs(shard: Shard, options: CaptionOptions) -> Iterator[Pair | Reject]:
    """Pairs of a shard in file order. A broken shard gives its readable pairs and one reject with key "".

    Raises CurationError when the shard as a whole cannot be had (missing, unreachable).
    """
    if shard.is_table:
        yield from _table_pairs(shard, options)
        return
    with local_tar(shard) as path, path.open("rb") as tar:
        fallback: dict[str, str] | None = None
        for sample in read_samples(tar):
            if isinstance(sample, Reject):
                yield sample
                continue
            if options.field is None and sample.member(CAPTION_FIELDS) is None and fallback is None:
                fallback = sibling_captions(shard)
            yield _pair(tar, sample, options, fallback or {})


def read_samples(tar: BinaryIO) -> Iterator[Sample | Reject]:
    """Samples of an open, uncompressed tar, grouped by key. Repeated keys and broken stretches give rejects."""
    seen: set[str] = set()
    key, members, start, end = "", [], 0, 0  # type: str, list[Member], int, int

    def finished() -> Iterator[Sample | Reject]:
        if members:
            if key in seen:
                yield Reject(key, "repeated key: an earlier pair of this shard has it")
            else:
                seen.add(key)
                yield Sample(key, tuple(members), start, end)

    for info in _tar_members(tar):
        if isinstance(info, Reject):
            yield from finished()
            members = []
            yield info
            continue
        folder, slash, name = info.name.rpartition("/")
        stem, _, field = name.partition(".")
        this_key, field = folder + slash + stem, field.lower()
        if this_key != key or any(m.field == field for m in members):
            yield from finished()
            key, members, start = this_key, [], info.offset
        members.append(Member(field, info.offset, info.offset_data, info.size))
        end = info.offset_data + -(-info.size // BLOCK) * BLOCK
    yield from finished()


def _tar_members(tar: BinaryIO) -> Iterator[tarfile.TarInfo | Reject]:
    """Regular files of a tar. After a broken stretch reading goes on at the next sound header."""
    length = tar.seek(0, 2)
    position = 0
    while position < length:
        tar.seek(position)
        try:
            archive = tarfile.TarFile(fileobj=tar, mode="r")
            while (info := archive.next()) is not None:
                if info.offset_data + info.size > length:
                    yield Reject("", f"tar cut short at byte {length} in member {info.name}")
                    return
                if info.isreg():
                    yield info
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
            stop = archive.offset
        except (tarfile.TarError, OSError, ValueError) as error:
            if isinstance(error, OSError) and not isinstance(error, tarfile.TarError):
                raise
            stop = position if position else 0
            if tar.seek(0, 2) - stop < BLOCK or (stop == 0 and length < BLOCK):
                yield Reject("", f"unreadable tar: {error}")
                return
        tar.seek(stop)
        block = tar.read(BLOCK)
        if not block.strip(b"\0"):
            return  # the end-of-archive marker, or the end of the file
        sound = _next_header(tar, stop + BLOCK)
        if sound is None:
            yield Reject("", f"tar broken from byte {stop} to its end at {length}")
            return
        yield Reject("", f"tar broken between bytes {stop} and {sound}")
        position = sound


def _next_header(tar: BinaryIO, position: int) -> int | None:
    """Offset of the first block at or after `position` that is a tar header with a right checksum."""
    tar.seek(position)
    while len(block := tar.read(BLOCK)) == BLOCK:
        if block[257:262] == b"ustar":
            try:
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
                return position
            except tarfile.HeaderError:
                pass
        position += BLOCK
    return None


def read_member(tar: BinaryIO, member: Member) -> bytes:
    """Data of one member."""
    tar.seek(member.offset)
    return tar.read(member.size)


def _pair(tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]) -> Pair | Reject:
    image = sample.member(IMAGE_FIELDS)
    if image is None:
        return Reject(sample.key, "no image")
    if image.size > MAX_IMAGE_BYTES:
        return Reject(sample.key, f"picture file of {image.size:,} bytes; the limit is {MAX_IMAGE_BYTES:,}")
    captions = _sample_captions(tar, sample, options, fallback)
    if isinstance(captions, Reject):
        return captions
    return Pair(sample.key, read_member(tar, image), captions)


def _sample_captions(
    tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]
) -> tuple[str, ...] | Reject:
    if options.field is None:
        member = sample.member(CAPTION_FIELDS)
        raw: Any = read_member(tar, member) if member else fallback.get(sample.key)
    else:
        member = sample.member(("json",))
        try:
            raw = json_field(read_member(tar, member), options.field) if member else None
        except UnicodeDecodeError:
            return Reject(sample.key, "caption is not UTF-8")
        except ValueError as error:
            return Reject(sample.key, f"broken .json member: {error}")
    return checked_captions(sample.key, raw, options.all_captions)


def checked_captions(key: str, raw: Any, all_captions: bool) -> tuple[str, ...] | Reject:
    """Captions out of what a member, field or cell holds (bytes, text, a list of texts), or a reject."""
    if raw is None:
        return Reject(key, "no caption")
    if isinstance(raw, bytes):
        try:
            raw = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            return Reject(key, "caption is not UTF-8")
    texts = raw if isinstance(raw, list) else [raw]
    if not all(isinstance(text, str) for text in texts):
        return Reject(key, f"caption is of type {type(texts[0]).__name__}, not text")
    kept = [text.strip() for text in texts if text.strip()]
    if not kept:
        return Reject(key, "empty caption")
    return tuple(kept if all_captions else kept[:1])


def json_field(raw: bytes, field: str) -> Any:
    """Value at a dotted path of a JSON object, None where the path ends early. Raises ValueError on broken JSON."""
    value = json.loads(raw)
    for name in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def sibling_captions(shard: Shard) -> dict[str, str]:
    """Captions of img2dataset's Parquet file beside a shard, by key; {} where there is none."""
    for suffix in (".tar", ".tar.gz", ".tgz"):
        if shard.url.endswith(suffix):
            table = shard.url.removesuffix(suffix) + ".parquet"
            if not is_remote(table) and Path(table).is_file():
                return caption_by_key(table)
    return {}


def _table_pairs(shard: Shard, options: CaptionOptions) -> Iterator[Pair | Reject]:
    seen: set[str] = set()
    for row in table_rows(shard, options.columns):
        if row.key in seen:
            yield Reject(row.key, "repeated key: an earlier row has it")
            continue
        captions = checked_captions(row.key, row.caption, options.all_captions)
        if isinstance(captions, Reject):
            yield captions
            continue
        try:
            if row.image.stat().st_size > MAX_IMAGE_BYTES:
                yield Reject(row.key, f"picture file over {MAX_IMAGE_BYTES:,} bytes")
                continue
            image = row.image.read_bytes()
        except (OSError, ValueError) as error:
            yield Reject(row.key, f"image cannot be read: {row.image}: {getattr(error, 'strerror', None) or error}")
            continue
        seen.add(row.key)
        yield Pair(row.key, image, captions)
