"""Where a concept shows: the cosines of its words with the cells of the picture, as a sheet to lay over it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from curation.encoding.dense import DenseEncoder
from files.pictures import BadPicture, with_header

_SIDE = 256
_GLOW = (255, 92, 0)
_MOST = 0.78  # of what is below, so much is hidden at the hottest
_FLOOR = 0.35  # of the way from the least to the greatest that stays clear
_ORIENTATION = 0x0112


def heat_maps(encoder: DenseEncoder, picture: bytes, concepts: np.ndarray) -> np.ndarray:
    """Cosines float32 [K, h, w] of concepts, unit rows float32 [K, D], with a picture. Raises BadPicture."""
    (pixels,) = encoder.decode([picture])
    if isinstance(pixels, BadPicture):
        raise pixels
    return encoder.heat(np.stack([pixels]), [concepts])[0]


def heat_sheet(heat: np.ndarray, picture: bytes) -> bytes:
    """A PNG that glows where the map [h, w] is high, clear where it is low; turned as the picture is when shown."""
    least, greatest = float(heat.min()), float(heat.max())
    share = (heat - least) / max(greatest - least, 1e-6)
    glow = np.clip((share - _FLOOR) / (1 - _FLOOR), 0, 1) * _MOST * 255
    shown = with_header(picture)
    width, height = (max(1, round(_SIDE * side / max(shown.size))) for side in shown.size)  # as the picture's own
    veil = Image.fromarray(glow.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    sheet = Image.new("RGBA", veil.size, (*_GLOW, 0))
    sheet.putalpha(veil)
    turned = shown.getexif().get(_ORIENTATION)
    if turned:
        sheet.getexif()[_ORIENTATION] = turned
        sheet = ImageOps.exif_transpose(sheet)
    stream = io.BytesIO()
    sheet.save(stream, "PNG", exif=b"")
    return stream.getvalue()
