"""Tables whose rows are pairs: which columns hold what, what a row is called, and what a cell of pictures holds.

Curation reads them, and training reads what curation wrote of them: they must see the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from files.pictures import FIELDS, USUAL_FIELDS, BadPicture, field_of
from files.rejects import is_utf8

IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_path", "file_name", "filename", "path", "file")
CAPTION_COLUMNS = ("caption", "text", "title", "sentence", "alt", "description", "captions", "txt")
# Columns of pictures, as img2dataset and others call them, and of keys beside those.
PICTURE_COLUMNS = ("img", "image_bytes", "jpg", "jpeg", "png", "webp")
KEY_COLUMNS = ("key", "__key__", "uid", "id", "image_id")
_JPEG = b"\xff\xd8\xff"  # as most are
# No path has one, or is longer; every picture has one early.
NO_LETTER, _EARLY, _LONGEST_PATH = b"\0", 64, 4096


def picture_of(cell: Any) -> tuple[bytes | None, str]:
    """What a cell of pictures holds: (the picture itself or None, its path or what it is called).

    Hugging Face has pictures as {"bytes": ..., "path": ...}, of which one may be missing; others as bytes alone.
    """
    if isinstance(cell, dict):
        data, path = cell.get("bytes"), cell.get("path")
        return (data if isinstance(data, bytes) and data else None), as_text(path)
    if isinstance(cell, bytes) and (NO_LETTER in cell[:_EARLY] or len(cell) > _LONGEST_PATH):
        return cell, ""
    return None, as_text(cell)


def picture_field(path: str, data: bytes) -> str:
    """How a picture is called in a tar: by its own ending where every trainer reads that, else by its format."""
    own = PurePosixPath(path).suffix.lower().removeprefix(".")
    if own in USUAL_FIELDS:
        return own
    try:
        return FIELDS[0] if data.startswith(_JPEG) else field_of(data)
    except BadPicture:  # it is left out as soon as it is decoded
        return own


def key_column(names: Sequence[str], image: str, caption: str | None) -> str | None:
    """The column of keys among these beside the two others; None where there is none."""
    return next((name for name in KEY_COLUMNS if name in names and name not in (image, caption)), None)


def row_key(cell: Any, path: str, table: str, number: int) -> str:
    """Key of a row that holds its picture: that of the table, else its path's, else of file and row, from 0."""
    own = as_text(cell).replace(".", "_").lstrip("/") or (table_key(path) if path else "")
    if not own or not is_utf8(own) or any(letter < " " for letter in own):
        own = f"{table_key(PurePosixPath(table).name)}-{number:08d}"
    return own


def table_key(path: str) -> str:
    """Key of an image path: without its suffix; dots would split the key in a WebDataset, so they become "_"."""
    local = PurePosixPath(urlsplit(path).path if "://" in path else path)
    return (str(local.with_suffix("")) if local.name else str(local)).lstrip("./").replace(".", "_") or path


def free_key(key: str, taken: dict[str, int]) -> str:
    """The key, or the key with the first number that nobody has; it is then taken. taken: the last number of each."""
    number, free = next(
        (n, one) for n in count(taken.get(key, 0) + 1) if (one := key if n == 1 else f"{key}-{n}") not in taken
    )
    taken[free] = 1
    taken[key] = number
    return free


def as_text(cell: Any) -> str:
    """A cell that names something, "" where it is empty; bytes that are no UTF-8 become surrogates."""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "surrogateescape")
    return "" if cell is None else str(cell)


def flattened(cells: Sequence[Any]) -> Iterator[Any]:
    """What cells hold, one by one; a cell may hold a list."""
    return (one for cell in cells for one in (cell if isinstance(cell, list) else [cell]))


def picture_paths(column: Any) -> list[str]:
    """What the pictures of an Arrow column are called, "" where nobody says so."""
    if not has_bytes(column.type) or (place := column.type.get_field_index("path")) < 0:
        return [""] * len(column)
    return [as_text(path) for path in as_cells(column.flatten()[place])]


def as_cells(column: Any) -> list[Any]:
    """What an Arrow column holds, its text as bytes."""
    return list(column.cast(text_as_bytes(column.type)).to_pylist())


def has_bytes(kind: Any) -> bool:
    """Whether an Arrow type is of objects with bytes, as Hugging Face has pictures."""
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner) or pa.types.is_null(inner))


def text_as_bytes(kind: Any) -> Any:
    """The Arrow type with its text as bytes: one cell that is no UTF-8 must not spoil its column."""
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_dictionary(kind):
        return text_as_bytes(kind.value_type)
    if is_a.is_string(kind) or is_a.is_large_string(kind) or is_a.is_string_view(kind):
        return pa.large_binary()
    if is_a.is_struct(kind):
        return pa.struct([kind.field(i).with_type(text_as_bytes(kind.field(i).type)) for i in range(kind.num_fields)])
    if is_a.is_list(kind) or is_a.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(text_as_bytes(kind.value_type)))
    if is_a.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(text_as_bytes(kind.value_type)), kind.list_size)
    return kind
