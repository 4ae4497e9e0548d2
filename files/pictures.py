"""Picture bytes -> the pixels that an encoder wants: decoded once, near the size needed, guarded against bombs."""

from __future__ import annotations

import ctypes
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from files.room import Room

MAX_PIXELS = 100_000_000
# What all pictures that are being decoded may take together; one that takes more is decoded while no other is.
DECODING = Room(1 << 30)
# Bytes that decoding takes for a pixel, copies on the way to RGB included; other formats take at most so many.
_BYTES, _MOST_BYTES = {"JPEG": 8, "MPO": 8, "WEBP": 16}, 9
# Pillow holds a WebP four times; a still one of more pixels goes another way, to the same values.
LARGE_WEBP, _LARGE_WEBP_BYTES = 16_000_000, 8
# Of each pixel of the file, as a progressive JPEG is held whole whatever part of it is wanted.
_PROGRESSIVE_BYTES = 6
# Pillow points to each row, in the picture and in what it makes of it.
_BYTES_OF_A_ROW = 24
_LARGE = 128 << 20
# ImageNet's, of levels 0 to 1: what our learners' pixels are normalised by.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Pillow reads dozens of formats, some by way of other programs; these are the ones that shards and benchmarks hold.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Endings of pictures in shards, those that every trainer reads first; and how a picture of a format is called.
FIELDS = ("jpg", "jpeg", "png", "webp", "jfif", "gif", "bmp", "tif", "tiff")
_FIELD_OF = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
USUAL_FIELDS = FIELDS[:4]
# What Pillow has to say of a picture that can be read concerns nobody. For good: threads share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadPicture(Exception):
    """A picture that cannot be used; the message is the reject's reason."""


def open_picture(data: bytes, size: int | None = None) -> Image.Image:
    """Decode a picture to RGB.

    size: pixels that its shorter side has to have at the least; JPEGs are decoded at 1/2, 1/4 or 1/8 where that is
    enough (DCT scaling), which is what makes large photographs cheap. An orientation in EXIF is not applied, nor does
    open_clip's training loader: encoders have seen pictures as they are stored. Raises BadPicture.
    """
    picture, cost = _at_size(data, size)
    with room_to_decode(cost), _faults():
        return to_rgb(picture, data)


def _at_size(data: bytes, size: int | None) -> tuple[Image.Image, int]:
    """A picture of which no pixel has been read, set to be decoded near a size; and the bytes that this will take."""
    picture = with_header(data)
    with _faults():
        check_ratio(*picture.size, size or 1)
        whole = picture.size
        if size is not None and picture.format == "JPEG":
            picture.draft("RGB", (size, size))
        return picture, decoding_cost(picture, data, whole)


def decoding_cost(picture: Image.Image, data: bytes | memoryview, whole: tuple[int, int]) -> int:
    """Bytes that decoding it takes, as measured; whole: its sides in the file, of which it may be decoded smaller."""
    of_a_pixel = _BYTES.get(picture.format or "", _MOST_BYTES)
    if _is_large_webp(picture, data):
        of_a_pixel = _LARGE_WEBP_BYTES
    progressive = whole[0] * whole[1] * _PROGRESSIVE_BYTES if "progressive" in picture.info else 0
    return picture.width * picture.height * of_a_pixel + progressive + picture.height * _BYTES_OF_A_ROW


def with_header(data: bytes | memoryview) -> Image.Image:
    """A picture of which the header has been read, and no pixel. Raises BadPicture for none, or one too large."""
    with _faults():
        picture: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if not 0 < picture.width * picture.height <= MAX_PIXELS:
            raise BadPicture(
                f"oversized picture: {picture.width} x {picture.height} pixels, the limit is {MAX_PIXELS:,}"
            )
        return picture


def field_of(data: bytes) -> str:
    """The ending for a picture of these bytes, by its format. Raises BadPicture."""
    return _FIELD_OF[with_header(data).format or ""]


def to_rgb(picture: Image.Image, data: bytes | memoryview) -> Image.Image:
    """All pixels in RGB; 16 bits a channel are scaled to 8, transparency falls away. What Pillow raises passes.

    data: the bytes that it was opened from.
    """
    if _is_large_webp(picture, data):
        return _large_webp(data)
    picture.load()
    if picture.mode.startswith("I;16"):  # converting it would cut off all above 255 instead of scaling
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("P", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _is_large_webp(picture: Image.Image, data: bytes | memoryview) -> bool:
    if picture.format != "WEBP" or picture.width * picture.height <= LARGE_WEBP:
        return False
    animated = data[12:16] == b"VP8X" and data[20] & 2
    return len(data) > 20 and not animated


def _large_webp(data: bytes | memoryview) -> Image.Image:
    import torch
    from torchvision.io import ImageReadMode, decode_webp

    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return Image.fromarray(decode_webp(encoded, ImageReadMode.RGB).permute(1, 2, 0).numpy())


def load(picture: Image.Image) -> Image.Image:
    """The picture with all its pixels read as they are stored. Raises BadPicture."""
    with room_to_decode(decoding_cost(picture, b"", picture.size)), _faults():
        picture.load()
    return picture


@contextmanager
def room_to_decode(cost: int) -> Iterator[None]:
    """Inside the block `cost` bytes of what pictures may take together are taken."""
    with DECODING.taken(cost):
        yield
        if cost > _LARGE:
            _trim()


def _trim() -> None:
    """Give back to the system what threads have freed: else each keeps for itself what its largest picture took."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


@contextmanager
def _faults() -> Iterator[None]:
    """What Pillow raises, as BadPicture."""
    try:
        yield
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture(f"unreadable picture: not in a known format ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadPicture(f"oversized picture: more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow has no base class for what broken files make it raise
        kind = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise BadPicture(f"{kind} picture: {error or type(error).__name__}") from error


def check_ratio(width: int, height: int, shorter: int) -> None:
    """Raises BadPicture for one that would be too large when its shorter side is enlarged to `shorter`."""
    if shorter**2 * max(width, height) > MAX_PIXELS * min(width, height):
        raise BadPicture(f"oversized picture: {width} x {height} pixels, too long and narrow to be resized")


def decode(data: bytes, transform: Callable[[Image.Image], Any], size: int | None = None) -> np.ndarray | BadPicture:
    """`transform` of the decoded picture, or the reason why there is none; never raises for bad data."""
    try:
        picture, cost = _at_size(data, size)
        with room_to_decode(cost):
            with _faults():
                picture = to_rgb(picture, data)
            found = np.asarray(transform(picture))
            del picture  # before its room is another's
            return found
    except BadPicture as error:
        return error
