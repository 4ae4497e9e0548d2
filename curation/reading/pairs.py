"""Image-caption pairs of a shard, read one at a time; what cannot be a pair becomes a reject with its reason."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from curation.reading.captioned_tables import ColumnNames, ImageRow, caption_by_key, read_image, table_rows
from curation.reading.shards import Shard
from files.addresses import open_tar, unreachable
from files.errors import CocuError, MisuseError
from files.rejects import Reject, is_utf8
from files.shard_names import TAR_SUFFIXES, shard_suffix
from files.tar import Member, Sample, read_member, read_samples

IMAGE_FIELDS = ("jpg", "jpeg", "png", "webp")
CAPTION_FIELDS = ("txt", "text", "caption")
JSON_FIELDS = ("json",)
MAX_IMAGE_BYTES = 100 << 20
MAX_TEXT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with its captions (at least one, none empty). The first caption is the one that is embedded.

    checksum: CRC-32 of the picture and of the text members; tells later whether the pair is still the same.
    """

    key: str
    image: bytes
    captions: tuple[str, ...]
    checksum: int = 0


@dataclass(frozen=True)
class CaptionOptions:
    """Where captions are found.

    field: dotted path into the `.json` member, for instance "captions" or "meta.alt"; None reads the text member.
    all_captions: a list gives all its captions instead of the first.
    image_column, caption_column: of tables of (image path, caption); None looks for the usual names.
    """

    field: str | None = None
    all_captions: bool = False
    image_column: str | None = None
    caption_column: str | None = None

    def __post_init__(self) -> None:
        if self.all_captions and not (self.field or self.caption_column):
            raise MisuseError(
                "--all-captions needs --caption-field, the JSON field that holds the list of captions "
                "(or, for a table, --caption-column)"
            )

    @property
    def columns(self) -> ColumnNames:
        """The columns as table readers take them."""
        return ColumnNames(self.image_column, self.caption_column)


def read_pairs(shard: Shard, options: CaptionOptions) -> Iterator[Pair | Reject]:
    """Pairs of a shard in file order. A broken shard gives its readable pairs and one reject with key "".

    Raises CocuError when the shard as a whole cannot be had (missing, unreachable, changed).
    """
    try:
        if shard.is_table:
            yield from (item if isinstance(item, Reject) else item[1] for item in table_pairs(shard, options))
        else:
            yield from _tar_pairs(shard, options)
    except OSError as error:
        raise unreachable(shard.url, error) from error


def _tar_pairs(shard: Shard, options: CaptionOptions) -> Iterator[Pair | Reject]:
    with open_tar(shard.url, shard.size) as tar:
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
                    fallback = sibling_captions(shard)
                except CocuError as error:
                    fallback = {}
                    yield Reject("", f"captions beside the shard cannot be read: {error}")
            yield _pair(tar.file, sample, options, fallback or {})
        if fault:
            yield Reject("", fault)


def pair_checksum(sample: Sample, read: Callable[[Member], bytes]) -> int:
    """CRC-32 of the members of a sample that make the pair: its picture, its text, its JSON."""
    checksum = 0
    for fields in (IMAGE_FIELDS, CAPTION_FIELDS, JSON_FIELDS):
        member = sample.member(fields)
        if member is not None and member.size <= MAX_IMAGE_BYTES:
            checksum = zlib.crc32(read(member), checksum)
    return checksum


def checksum_of(pair: int, before: int = 0) -> int:
    """Checksum of pairs in order: that of the last one joined to that of those before."""
    return zlib.crc32(pair.to_bytes(4, "little"), before)


def _pair(tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]) -> Pair | Reject:
    if not is_utf8(sample.key):
        return Reject(sample.key, "key is not UTF-8")
    image = sample.member(IMAGE_FIELDS)
    if image is None:
        return Reject(sample.key, "no image")
    if image.size > MAX_IMAGE_BYTES:
        return Reject(sample.key, f"oversized picture file: {image.size:,} bytes, the limit is {MAX_IMAGE_BYTES:,}")
    captions = _sample_captions(tar, sample, options, fallback)
    if isinstance(captions, Reject):
        return captions
    data = read_member(tar, image)
    checksum = pair_checksum(sample, lambda member: data if member is image else read_member(tar, member))
    return Pair(sample.key, data, captions, checksum)


def _sample_captions(
    tar: BinaryIO, sample: Sample, options: CaptionOptions, fallback: dict[str, str]
) -> tuple[str, ...] | Reject:
    member = sample.member(CAPTION_FIELDS if options.field is None else JSON_FIELDS)
    if member is not None and member.size > MAX_TEXT_BYTES:
        return Reject(sample.key, f"oversized text member: {member.size:,} bytes, the limit is {MAX_TEXT_BYTES:,}")
    raw: Any = read_member(tar, member) if member else None
    if options.field is None:
        raw = fallback.get(sample.key) if raw is None else raw
    elif raw is not None:
        try:
            raw = json_field(raw, options.field)
        except UnicodeDecodeError:
            return Reject(sample.key, "caption is not UTF-8")
        except (ValueError, RecursionError) as error:
            return Reject(sample.key, f"broken .json member: {error}")
    return checked_captions(sample.key, raw, options.all_captions)


def checked_captions(key: str, raw: Any, all_captions: bool) -> tuple[str, ...] | Reject:
    """Captions out of what a member, field or cell holds (bytes, text, a list of these), or a reject.

    Of a list, what is no caption is passed over as long as there is one.
    """
    if raw is None:
        return Reject(key, "no caption")
    kept: list[str] = []
    problem = "empty caption"
    for item in raw if isinstance(raw, list) else [raw]:
        text = item
        if isinstance(item, bytes):
            try:
                text = item.decode("utf-8-sig")
            except UnicodeDecodeError:
                problem = "caption is not UTF-8"
                continue
        if not isinstance(text, str):
            problem = problem if text is None else f"caption is no text: it is of type {type(text).__name__}"
        elif not is_utf8(text):
            problem = "caption is not UTF-8"
        elif text := text.strip():
            if len(text) > MAX_TEXT_BYTES:
                problem = f"oversized caption: {len(text):,} characters"
                continue
            kept.append(text)
            if not all_captions:
                break
    return tuple(kept) or Reject(key, problem)


def json_field(raw: bytes, field: str) -> Any:
    """Value at a dotted path of a JSON object, None where the path ends early. Raises ValueError on broken JSON."""
    value = json.loads(raw)
    for name in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def sibling_captions(shard: Shard) -> dict[str, str]:
    """Captions of img2dataset's Parquet file beside a shard, by key; {} where there is none.

    Raises CocuError when there is one that cannot be read.
    """
    suffix = shard_suffix(shard.url)
    if suffix not in TAR_SUFFIXES or not shard.url.lower().endswith(suffix):  # a signed address has no siblings
        return {}
    return caption_by_key(shard.url[: -len(suffix)] + ".parquet")


def table_pairs(shard: Shard, options: CaptionOptions) -> Iterator[tuple[ImageRow, Pair] | Reject]:
    """Pairs of a part of a table, each with its row. Raises MisuseError when the table lacks a column."""
    seen: set[str] = set()
    for row in table_rows(shard, options.columns):
        if isinstance(row, Reject):
            yield row
            continue
        if row.key in seen:
            yield Reject(row.key, "repeated key: an earlier row has it")
            continue
        captions = checked_captions(row.key, row.caption, options.all_captions)
        if isinstance(captions, Reject):
            yield captions
            continue
        image = read_image(row, MAX_IMAGE_BYTES)
        if isinstance(image, Reject):
            yield image
            continue
        seen.add(row.key)
        yield row, Pair(row.key, image, captions, zlib.crc32(captions[0].encode(), zlib.crc32(image)))
