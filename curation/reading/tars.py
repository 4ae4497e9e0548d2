"""Tars of pairs as WebDataset and img2dataset write them: a sample of each, with its picture and its captions."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, BinaryIO

from curation.reading.captioned_tables import column_by_key
from curation.reading.formats import FORMATS, Format, Original
from curation.reading.pairs import (
    CAPTION_FIELDS,
    IMAGE_FIELDS,
    JSON_FIELDS,
    MAX_IMAGE_BYTES,
    MAX_TEXT_BYTES,
    CaptionOptions,
    Pair,
    checked_captions,
)
from files.addresses import open_tar
from files.errors import CocuError
from files.picture_tables import CAPTION_COLUMNS
from files.rejects import Reject, is_utf8
from files.shard_names import TAR_SUFFIXES, shard_suffix
from files.stretches import Stretches
from files.tar import MOST_MEMBERS, Fault, File, Sample, group_files, member_text, read_member, read_samples
from files.tar_headers import BLOCK

# Bytes of a tar that a pair takes besides its picture: two headers, a caption, padding.
BESIDES = 2_300
MEMBERS_SHOWN = 6


class Tar(Format):
    """A tar, plain or packed; one shard."""

    suffixes = TAR_SUFFIXES

    def pairs(self, options: CaptionOptions) -> Iterator[Pair | Reject]:
        """One pair or reject of each sample; last, what is wrong with the tar."""
        with open_tar(self.url, self.size) as tar:
            fault = tar.fault
            fallback: dict[str, str] | None = None
            for sample in read_samples(tar.file):
                if isinstance(sample, Reject):
                    if sample.key == "" and fault:  # two views of one fault
                        sample, fault = Reject("", f"{sample.reason}; {fault}"), ""
                    yield sample
                    continue
                if options.field is None and fallback is None and sample.member(CAPTION_FIELDS) is None:
                    try:
                        fallback = sibling_column(self.url, CAPTION_COLUMNS)
                    except CocuError as error:
                        fallback = {}
                        yield Reject("", f"captions beside the shard cannot be read: {error}")
                yield _pair(tar.file, sample, options, fallback or {})
            if fault:
                yield Reject("", fault)

    @contextmanager
    def originals(self, options: CaptionOptions) -> Iterator[Iterator[Original]]:
        """The samples, rejects of the reading among them."""
        with open_tar(self.url, self.size) as tar:
            yield _stored_samples(Stretches(tar.file))

    def weight(self, pairs: Sequence[Pair]) -> int:
        """Bytes of the tar, about."""
        return sum(len(pair.image) + BESIDES for pair in pairs)


FORMATS.add("tar", Tar)


def _stored_samples(tar: Stretches) -> Iterator[Original]:
    """As `read_samples`, the first of a key and none with too many members, with no more made of each than is asked."""
    seen: set[bytes] = set()
    for files in group_files(tar):
        if not isinstance(files, Fault) and files[0][1] not in seen:
            seen.add(files[0][1])
            if len(files) <= MOST_MEMBERS:
                yield _StoredSample(tar, files)


class _StoredSample:
    """A sample, copied byte for byte with whatever lies between its members."""

    __slots__ = ("_end", "_files", "_held", "_start", "_tar", "key")

    def __init__(self, tar: Stretches, files: Sequence[File]) -> None:
        self.key, self._tar, self._start, self._end = member_text(files[0][1]), tar, files[0][0], files[-1][5]
        self._files = {member_text(file[2]): file for file in files}
        self._held: memoryview | None = None

    @property
    def checksum(self) -> int:
        return pair_checksum(lambda fields: self._content(fields, MAX_IMAGE_BYTES))

    def parts(self, without: Collection[str]) -> bytes | memoryview:
        if self._files.keys().isdisjoint(without):
            return self._raw()
        pieces = [self._bytes_of(file, file[0]) for field, file in self._files.items() if field not in without]
        return b"".join(part for piece in pieces for part in (piece, bytes(-len(piece) % BLOCK)))

    def data(self, *fields: str) -> bytes | None:
        found = self._content(fields)
        return None if found is None else bytes(found)

    def _content(self, fields: Sequence[str], most: float = inf) -> memoryview | None:
        for field, file in self._files.items():
            if field in fields:
                return self._bytes_of(file, file[3]) if file[4] <= most else None
        return None

    def _bytes_of(self, file: File, start: int) -> memoryview:
        """Those of a file, up to its padding."""
        return self._raw()[start - self._start : file[3] + file[4] - self._start]

    def _raw(self) -> memoryview:
        if self._held is None:
            held = self._tar.stretch(self._start, self._end - self._start)
            if len(held) % BLOCK:  # its padding was cut off
                held = memoryview(bytes(held) + bytes(-len(held) % BLOCK))
            self._held = held
        return self._held


def pair_checksum(content: Callable[[Sequence[str]], bytes | memoryview | None]) -> int:
    """CRC-32 of what makes a pair: its picture, its text, its JSON.

    content: of the first member with one of these fields; None: there is none, or too large a one.
    """
    checksum = 0
    for fields in (IMAGE_FIELDS, CAPTION_FIELDS, JSON_FIELDS):
        data = content(fields)
        if data is not None:
            checksum = zlib.crc32(data, checksum)
    return checksum


def _pair(tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]) -> Pair | Reject:
    if not is_utf8(sample.key):
        return Reject(sample.key, "key is not UTF-8")
    image = sample.member(IMAGE_FIELDS)
    if image is None:
        return Reject(sample.key, f"no image: {_what_is_there(sample)}")
    if image.size > MAX_IMAGE_BYTES:
        return Reject(sample.key, f"oversized picture file: {image.size:,} bytes, the limit is {MAX_IMAGE_BYTES:,}")
    captions = _sample_captions(tar, sample, options, fallback)
    if isinstance(captions, Reject):
        return captions
    data = read_member(tar, image)

    def content(fields: Sequence[str]) -> bytes | None:
        member = sample.member(tuple(fields))
        if member is None or member.size > MAX_IMAGE_BYTES:
            return None
        return data if member is image else read_member(tar, member)

    return Pair(sample.key, data, captions, pair_checksum(content))


def _sample_captions(
    tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]
) -> tuple[str, ...] | Reject:
    member = sample.member(CAPTION_FIELDS if options.field is None else JSON_FIELDS)
    if member is None and sample.key not in fallback:
        return Reject(sample.key, f"no caption: {_what_is_there(sample)}{_described(tar, sample, options)}")
    if member is not None and member.size > MAX_TEXT_BYTES:
        return Reject(sample.key, f"oversized text member: {member.size:,} bytes, the limit is {MAX_TEXT_BYTES:,}")
    raw: Any = read_member(tar, member) if member else None
    if options.field is None:
        raw = fallback.get(sample.key) if raw is None else raw
    elif raw is not None:
        try:
            raw = json_field(raw, options.field)
            if raw is None:
                return Reject(sample.key, f"no caption: its .json has no {options.field}")
        except UnicodeDecodeError:
            return Reject(sample.key, "caption is not UTF-8")
        except (ValueError, RecursionError) as error:
            return Reject(sample.key, f"broken .json member: {error}")
    return checked_captions(sample.key, raw, options.all_captions)


def _what_is_there(sample: Sample) -> str:
    """The members of a sample without a picture, or without a caption, and what that may come from."""
    fields = [member.field for member in sample.members]
    shown = ", ".join([f".{field}" for field in fields[:MEMBERS_SHOWN]] + ["..."] * (len(fields) > MEMBERS_SHOWN))
    dotted = any("." in field and field.rpartition(".")[2] in (*IMAGE_FIELDS, *CAPTION_FIELDS) for field in fields)
    return f"it has {shown}" + ("; a key ends at the first dot of a name, what follows is the field" if dotted else "")


def _described(tar: BinaryIO, sample: Sample, options: CaptionOptions) -> str:
    """Which fields of its .json member may hold a caption, where none was asked for."""
    member = sample.member(JSON_FIELDS)
    if member is None or options.field is not None or member.size > MAX_TEXT_BYTES:
        return ""
    try:
        described = json.loads(read_member(tar, member))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(described, dict):
        return ""
    texts = [name for name, value in described.items() if value and isinstance(value, str | list)]
    texts.sort(key=lambda name: name not in (*CAPTION_COLUMNS, *(f"{one}s" for one in CAPTION_COLUMNS)))
    return f"; the .json has {', '.join(texts[:3])}: --caption-field {texts[0]}" if texts else ""


def json_field(raw: bytes, field: str) -> Any:
    """Value at a dotted path of a JSON object, None where the path ends early. Raises ValueError on broken JSON."""
    value = json.loads(raw)
    for name in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def sibling_column(url: str, names: Sequence[str]) -> dict[str, str]:
    """The first of these columns of img2dataset's Parquet file beside a shard, by key; {} where there is none.

    Raises CocuError when there is one that cannot be read.
    """
    suffix = shard_suffix(url)
    if not suffix or not url.lower().endswith(suffix):  # a signed address has no siblings
        return {}
    return column_by_key(url[: -len(suffix)] + ".parquet", names)
