"""Pictures small enough to put dozens of them into one page."""

from __future__ import annotations

import io

from PIL import ImageOps

from files.pictures import BadPicture, open_picture

SIDE = 320


def thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """A JPEG of at most `side` pixels a side, upright; None for a picture that cannot be decoded."""
    try:
        picture = open_picture(data, side)
    except BadPicture:
        return None
    # Only the pixels go on: no place or camera of the original.
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((side, side))
    stream = io.BytesIO()
    upright.save(stream, "JPEG", quality=80, optimize=True, exif=b"")
    return stream.getvalue()
