"""Pairs of a picture and its captions; what cannot be one becomes a reject with its reason."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

from files.errors import MisuseError
from files.pictures import FIELDS
from files.rejects import Reject, is_utf8

IMAGE_FIELDS = FIELDS
CAPTION_FIELDS = ("txt", "text", "caption")
JSON_FIELDS = ("json",)
MAX_IMAGE_BYTES = 100 << 20
MAX_TEXT_BYTES = 4 << 20


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

    def parameters(self) -> dict[str, Any]:
        """As a manifest names them."""
        return {f"caption_{name}": value for name, value in asdict(self).items()}


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
