"""Pictures: every kind that shards hold is decoded, and what is cut, odd or a bomb is rejected from few bytes."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from files import pictures
from files.pictures import FORMATS, MAX_PIXELS, BadPicture, decode, open_picture
from tests.examples import examples
from tests.tiny_world import picture, png_bomb

# Opens the bomb in a process of its own, and prints the memory that this took.
MEASURE = """
import resource, sys
from files.pictures import BadPicture, open_picture
open_picture(open(sys.argv[1], "rb").read(), 224)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_picture(open(sys.argv[2], "rb").read(), 224)
except BadPicture as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("PNG", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        *(("GIF", mode) for mode in ("P", "L", "1")),
        *(("BMP", mode) for mode in ("RGB", "L", "P", "1")),
    ],
)
def test_formats_and_modes(form: str, mode: str) -> None:
    source = Image.open(io.BytesIO(picture(0))).convert(mode)
    found = open_picture(encoded(source, form))
    assert (found.mode, found.size) == ("RGB", source.size)


def test_sixteen_bit_greys_are_scaled() -> None:
    greys = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    found = np.asarray(open_picture(encoded(Image.fromarray(greys), "PNG")))
    assert np.abs(found[..., 0].astype(int) - (greys >> 8)).max() <= 1


@pytest.mark.parametrize("size", [32, 100, 224])
def test_jpegs_are_decoded_near_the_size_needed(size: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    whole = Image.fromarray(coarse).resize((1600, 1200), Image.Resampling.BICUBIC)
    found = open_picture(encoded(whole, "JPEG", quality=95), size)
    assert size <= min(found.size) < 2 * max(size, 150)
    small = np.asarray(found.resize((64, 48)), float)
    assert np.abs(small - np.asarray(whole.resize((64, 48)), float)).mean() < 4


@pytest.mark.parametrize("form", FORMATS)
def test_cut_pictures_are_rejected(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(BadPicture, match=r"^(truncated|unreadable) picture: ."):
            open_picture(data[: int(share * len(data))])


def test_a_truncated_jpeg_is_called_so() -> None:
    with pytest.raises(BadPicture, match=r"truncated picture: "):
        open_picture(picture(0, (400, 300))[:2000], 32)


def test_formats_that_shards_do_not_hold_are_not_tried() -> None:
    for form in ("PPM", "EPS", "TGA"):
        with pytest.raises(BadPicture, match=r"unreadable picture: not in a known format \(JPEG, PNG"):
            open_picture(encoded(Image.new("RGB", (8, 8)), form))
    with pytest.raises(BadPicture, match="not in a known format"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n")


def test_a_bomb_is_rejected_from_its_header(tmp_path: object) -> None:
    bomb = png_bomb(20_000, 20_000)
    assert len(bomb) < 100_000
    paths = [f"{tmp_path}/{name}.png" for name in ("good", "bomb")]
    for path, data in zip(paths, (picture(0, form="PNG"), bomb), strict=True):
        with open(path, "wb") as target:
            target.write(data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True, env={**os.environ}
    )
    reason, kilobytes = done.stdout.splitlines()
    assert reason == "oversized picture: more than 100,000,000 pixels"
    assert int(kilobytes) < 20_000, "decoded, it would take 50 to 1,200 MB"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_of_pixels() -> None:
    side = int(MAX_PIXELS**0.5)
    assert open_picture(png_bomb(side, side // 8)).size == (side, side // 8)
    with pytest.raises(BadPicture, match="oversized picture: 10001 x 10001 pixels, the limit is 100,000,000"):
        open_picture(png_bomb(side + 1, side + 1))


def test_long_and_narrow_pictures_are_not_enlarged_without_bound() -> None:
    strip = encoded(Image.new("RGB", (60_000, 2)), "PNG")
    assert open_picture(strip).size == (60_000, 2)
    with pytest.raises(BadPicture, match="60000 x 2 pixels, too long and narrow"):
        open_picture(strip, 224)


def test_text_chunks_that_unpack_without_bound() -> None:
    data = picture(0, form="PNG")
    body = b"zTXt" + b"k\0\0" + zlib.compress(bytes(200 << 20))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(BadPicture, match="Decompressed data too large"):
        open_picture(data[:33] + chunk + data[33:])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_large_webp_has_the_same_pixels(mode: str, lossless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, len(mode)), dtype=np.uint8)
    image = Image.fromarray(noise, mode).resize((211, 97), Image.Resampling.BICUBIC)
    still = encoded(image, "WEBP", lossless=lossless, quality=60)
    moving = encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)])
    usual = [np.asarray(open_picture(data)) for data in (still, moving)]
    monkeypatch.setattr(pictures, "LARGE_WEBP", 100)
    for data, pixels in zip((still, moving), usual, strict=True):
        assert np.array_equal(open_picture(data), pixels)
    with pytest.raises(BadPicture):
        open_picture(still[: len(still) // 2])


# Eight large pictures in four threads; prints what that took beyond one small one.
TOGETHER = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from files.pictures import decode
data = open(sys.argv[1], "rb").read()
shrink = lambda picture: picture.resize((8, 8))
decode(open(sys.argv[2], "rb").read(), shrink, 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: decode(data, shrink, 8), range(8)))
assert all(pixels.shape == (8, 8, 3) for pixels in found)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_large_pictures_in_flight_are_bounded_together(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(encoded(Image.new("RGBA", (9000, 9000)), "PNG", compress_level=1))
    (tmp_path / "small.png").write_bytes(picture(0, form="PNG"))
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, tmp_path / "large.png", tmp_path / "small.png"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1 << 20, "kilobytes; four at a time take 2.5 GB"


def test_decode_gives_pixels_or_the_reason() -> None:
    found = decode(picture(0), lambda image: image.resize((8, 4)), 32)
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((4, 8, 3), np.uint8)
    assert isinstance(decode(b"", lambda image: image, 32), BadPicture)


@given(st.data())
@examples(150)
def test_no_bytes_make_it_fail(data: st.DataObject) -> None:
    raw = bytearray(picture(0, form=data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with warnings.catch_warnings(record=True):
        found = decode(bytes(raw), lambda image: image.resize((4, 4)), 32)
    assert isinstance(found, BadPicture) or found.shape == (4, 4, 3)
