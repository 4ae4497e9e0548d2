"""Pictures and masks: the bytes of an image file to an array, whole or an error with the path."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from data_cards.layouts import decoding
from data_cards.layouts.decoding import BadItem, decode_mask, decode_picture
from tests.tiny_world import png_bomb

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)), st.booleans())
def test_indices_are_the_values_whatever_the_palette(values: np.ndarray, palette: bool) -> None:
    image = Image.fromarray(values)
    if palette:
        image.putpalette(bytes(range(255, -1, -1)) * 3)
    np.testing.assert_array_equal(decode_mask(encoded(image), "x", "index"), values)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint16, shape)))
def test_sixteen_bits_are_read_as_they_are(values: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_mask(encoded(Image.fromarray(values)), "x", "index"), values)


def test_one_bit_is_read_as_0_and_1() -> None:
    values = np.array([[True, False, True]])
    read = decode_mask(encoded(Image.fromarray(values)), "x", "index")
    assert (read.dtype, read.tolist()) == (np.uint8, [[1, 0, 1]])


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, (*shape, 3))))
def test_red_and_green_and_colours_make_one_number(pixels: np.ndarray) -> None:
    content = encoded(Image.fromarray(pixels))
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    np.testing.assert_array_equal(decode_mask(content, "x", "red_green"), red + 256 * green)
    np.testing.assert_array_equal(decode_mask(content, "x", "colours"), red * 65536 + green * 256 + blue)


def test_values_of_32_bits_outside_16_are_refused() -> None:
    content = encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF")
    with pytest.raises(BadItem, match="holds values from 0 to 70000, where 0 to 65,535 are expected"):
        decode_mask(content, "x", "index")


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1", "LA"])
def test_pictures_of_any_mode_become_rgb(mode: str) -> None:
    image = Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).convert(mode)
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = decode_picture(encoded(image, kind), "x")
    assert (read.shape, read.dtype) == ((4, 6, 3), np.uint8)
    if mode != "1":
        assert np.abs(read.astype(int) - 200).max() <= 4


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, (*shape, 3))), st.integers(1, 40))
def test_large_pictures_are_taken_in_parts(pixels: np.ndarray, band: int) -> None:
    grey = pixels[..., 0].astype(np.uint16) * 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BAND", band)
        assert np.array_equal(decode_picture(encoded(Image.fromarray(pixels)), "x"), pixels)
        assert np.array_equal(decode_mask(encoded(Image.fromarray(pixels[..., 0])), "x", "index"), pixels[..., 0])
        assert np.array_equal(decode_mask(encoded(Image.fromarray(grey)), "x", "index"), grey)
        bits = decode_mask(encoded(Image.fromarray(pixels[..., 0] > 99)), "x", "index")
    assert (bits.dtype, bits.tolist()) == (np.uint8, (pixels[..., 0] > 99).astype(int).tolist())


def test_rows_too_long_for_pillow_are_read() -> None:
    """Of a row of over 2^31 bits Pillow gives no bytes."""
    assert decode_picture(png_bomb(89_478_485, 1), "x").shape == (1, 89_478_485, 3)


def test_a_note_of_orientation_does_not_turn_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new("RGB", (6, 4)), "JPEG", exif=exif)
    assert decode_picture(content, "x").shape == (4, 6, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("size", [(12_000, 10_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("error")
def test_a_few_bytes_cannot_claim_all_memory(size: tuple[int, int]) -> None:
    for read in (lambda: decode_picture(bomb(*size), "p/x.png"), lambda: decode_mask(bomb(*size), "p/x.png", "index")):
        with pytest.raises(BadItem, match=r"p/x\.png: oversized picture: .*pixels") as raised:
            read()
        assert raised.value.path == "p/x.png"


WHOLE = {
    "JPEG": encoded(Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)), "JPEG"),
    "PNG": encoded(Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32))),
}


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_broken_bytes_are_a_bad_item_and_nothing_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    for read in (lambda: decode_picture(bytes(content), "x"), lambda: decode_mask(bytes(content), "x", "index")):
        with contextlib.suppress(BadItem):
            read()
