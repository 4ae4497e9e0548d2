"""Reading a picture or a mask, whole or not at all: what is wrong with a file is said with its path."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_cards.masks import Form
from files.errors import CocuError
from files.pictures import BadPicture, decode, load, with_header

BAND = 1 << 22  # pixels


class BadItem(CocuError):
    """A picture or mask that cannot be used. A caller may count it and go on.

    path: the file; a member of a tar is tar/member. reason: what is wrong with it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def decode_picture(content: bytes, path: str) -> NDArray[np.uint8]:
    """The bytes of an image file -> RGB uint8 [H, W, 3]; grey, CMYK and palette pictures are converted.

    The pixels are taken as stored, without regard to a note of orientation, as masks are drawn on them.
    Raises BadItem: no image, cut off, too large.
    """
    found = decode(content, _pixels)
    if isinstance(found, BadPicture):
        raise BadItem(path, "is empty" if not content else str(found)) from found
    return found


def _pixels(picture: Image.Image) -> NDArray[Any]:
    """A copy that can be written to, in parts: of the whole Pillow would make two more, and of a long row none."""
    height, width = picture.height, picture.width
    if height * width <= BAND:
        return np.array(picture)
    corner = np.asarray(picture.crop((0, 0, 1, 1)))
    found = np.empty((height, width, *corner.shape[2:]), corner.dtype)
    rows, columns = max(1, BAND // width), min(width, BAND)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            box = (left, top, min(left + columns, width), min(top + rows, height))
            found[top : box[3], left : box[2]] = np.asarray(picture.crop(box))
    return found


def decode_mask(content: bytes, path: str, form: Form) -> NDArray[np.integer]:
    """The bytes of a mask file -> its values [H, W]: uint8, uint16, or int64 for colours.

    A palette's indices are the values: its colours are for the eye. Raises BadItem: no image, cut off, too
    large, of another form.
    """
    try:
        image = load(with_header(content))
    except BadPicture as error:
        raise BadItem(path, "is empty" if not content else str(error)) from error
    if form == "index":
        return _indices(image, path)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise BadItem(path, f"is an image of mode {image.mode}, where RGB is expected")
    channels = _pixels(image.convert("RGB"))
    if form == "red_green":
        return channels[..., 0] + np.uint16(256) * channels[..., 1]
    colours = channels[..., 0].astype(np.int64)
    for channel in (1, 2):
        colours <<= 8
        colours |= channels[..., channel]
    return colours


def _indices(image: Image.Image, path: str) -> NDArray[np.integer]:
    if image.mode in ("L", "P"):
        return _pixels(image)
    if image.mode == "1":
        return _pixels(image).astype(np.uint8)
    if image.mode.startswith("I"):  # 16 or 32 bits, one channel
        values = _pixels(image)
        if values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
            return values.astype(np.uint16)
        raise BadItem(path, f"holds values from {values.min()} to {values.max()}, where 0 to 65,535 are expected")
    raise BadItem(
        path,
        f"is an image of mode {image.mode}, where one channel or a palette is expected; a mask that was converted to "
        "colours has lost its labels: take the original",
    )
