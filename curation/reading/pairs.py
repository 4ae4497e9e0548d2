"""Pairs of a picture and its captions; what cannot be one becomes a reject with its reason."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from files.addresses import is_remote
from files.errors import MisuseError
from files.pictures import FIELDS
from files.rejects import Reject, is_utf8

IMAGE_FIELDS = FIELDS
CAPTION_FIELDS = ("txt", "text", "caption")
JSON_FIELDS = ("json",)
MAX_IMAGE_BYTES = 100 << 20
MAX_TEXT_BYTES = 4 << 20
_OF_SOME_TABLES = ("images", "columns")


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with its captions (at least one, none empty). The first caption is the one that is embedded.

    checksum: CRC-32 of the picture and of the text members; tells later whether the pair is still the same.
    name: of the picture, where it is not the key.
    """

    key: str
    image: bytes
    captions: tuple[str, ...]
    checksum: int = 0
    name: str = ""

    @property
    def picture(self) -> str:
        """What the picture is called: path without ending, or key."""
        return self.name or self.key


@dataclass(frozen=True)
class CaptionOptions:
    """Where captions are found.

    field: dotted path into the `.json` member, for instance "captions" or "meta.alt"; None reads the text member.
    all_captions: a list gives all its captions instead of the first.
    image_column, caption_column: of tables of (image path, caption); None looks for the usual names.
    images: folder that the image paths of tables are relative to; None: the table's own. columns: what the columns of
    tables are called that begin with no header.
    """

    field: str | None = None
    all_captions: bool = False
    image_column: str | None = None
    caption_column: str | None = None
    images: str | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))  # a manifest has a list
        if self.all_captions and not (self.field or self.caption_column):
            raise MisuseError(
                "--all-captions needs --caption-field, the JSON field that holds the list of captions "
                "(or, for a table, --caption-column)"
            )

    def parameters(self) -> dict[str, Any]:
        """As a manifest names them; what only some tables need goes without saying."""
        said = {name: value for name, value in asdict(self).items() if value is not None or name not in _OF_SOME_TABLES}
        return {f"caption_{name}": value for name, value in said.items()}


def table_columns(no_header: bool, columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of columns as they are given, a text with commas or a list. Raises MisuseError for what cannot be."""
    if no_header != (columns is not None):
        raise MisuseError(
            "--no-header and --columns go together: a table either begins with the names of its columns, or they are "
            "given, as in --no-header --columns caption,url"
        )
    if columns is None:
        return None
    names = tuple(name.strip() for name in (columns.split(",") if isinstance(columns, str) else columns))
    if not names or not all(names) or len(set(names)) < len(names):
        raise MisuseError(f"--columns {','.join(names)}: give each column of the table a name of its own, with commas")
    return names


def image_folder(images: str | Path | None) -> str | None:
    """The folder --images, absolute, or a remote address. Raises MisuseError where there is no such folder."""
    if images is None or is_remote(str(images)):
        return None if images is None else str(images)
    folder = os.path.abspath(os.path.expanduser(str(images).removeprefix("file://")))
    if not os.path.isdir(folder):
        raise MisuseError(f"--images {images}: no such folder")
    return folder


def checksum_of(pair: int, before: int = 0) -> int:
    """Checksum of pairs in order: that of the last one joined to that of those before."""
    return zlib.crc32(pair.to_bytes(4, "little"), before)


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
