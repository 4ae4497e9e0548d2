"""Label maps as pictures: a colour for each class, outlines between them, and a legend that names them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_cards.cards import Card
from evaluation.labels.windows import LARGE

Colours = NDArray[np.uint8]

GREY = (120, 124, 130)  # of the background
IGNORED = (255, 255, 255)
OPACITY = 0.65
_TURN = 0.61803398875  # of the colour wheel from class to class: neighbours differ most
_SHADES = ((0.62, 0.93), (0.85, 0.72), (0.45, 0.80))  # saturation and value, in turn


def palette(count: int, background: int | None = None) -> Colours:
    """A colour for each class, uint8 [count, 3]; always the same. The background is grey."""
    found = [colorsys.hsv_to_rgb(index * _TURN % 1, *_SHADES[index % len(_SHADES)]) for index in range(count)]
    colours = (np.array(found).reshape(count, 3) * 255).round().astype(np.uint8)
    if background is not None:
        colours[background] = GREY
    return colours


def colours_of(card: Card) -> Colours:
    """A colour for each class of a card, uint8 [C, 3]: those that it gives, else those of `palette`."""
    colours = palette(len(card.classes), card.background_index)
    for index, one in enumerate(card.classes):
        if one.colour:
            colours[index] = tuple(bytes.fromhex(one.colour[1:]))
    return colours


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.integer], colours: Colours, opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """A picture [H, W, 3] under the colours of its labels [H, W], with outlines; labels without a colour are white."""
    outside = (labels < 0) | (labels >= len(colours))
    painted = colours[np.where(outside, 0, labels)].astype(np.float32)
    painted[outside] = IGNORED
    # Grey below, so that only labels have colours.
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    mixed = opacity * painted + (1 - opacity) * grey[..., None]
    mixed[outlines(labels)] = 255
    return mixed.round().astype(np.uint8)


def outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels [H, W] whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def shown_sides(height: int, width: int, side: int) -> tuple[int, int]:
    """Sides of a picture for the eye: small ones enlarged by a whole factor, large ones reduced to `side` pixels."""
    longest = max(height, width)
    scale = side / longest if longest > side else side // longest
    return max(1, round(height * scale)), max(1, round(width * scale))


def picture_at(image: NDArray[np.uint8], sides: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] in another size; enlarged, its pixels stay what they are."""
    if image[..., 0].size > LARGE:  # of which Pillow would need copies: few of its pixels are seen anyway
        down, across = (max(1, old // (4 * new)) for old, new in zip(image.shape, sides, strict=False))
        image = image[::down, ::across].copy()
    resample = Image.Resampling.NEAREST if sides[0] >= image.shape[0] else Image.Resampling.LANCZOS
    return np.array(Image.fromarray(image).resize(sides[::-1], resample))


def labels_at(labels: NDArray[np.integer], sides: tuple[int, int]) -> NDArray[np.int32]:
    """Labels [H, W] in another size, each pixel that of the nearest one."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(labels.shape, sides, strict=True)
    )
    return labels[rows[:, None], columns].astype(np.int32)


def with_legend(picture: Image.Image, entries: Sequence[tuple[str, tuple[int, ...]]]) -> Image.Image:
    """A picture with a legend below it: swatch and name, in as many columns as fit."""
    size = max(13, min(22, picture.width // 32))
    font = _font(size)
    line, pad = round(size * 1.7), round(size * 0.6)
    widest = max((round(font.getlength(name)) for name, _ in entries), default=0)
    column = widest + 2 * line
    width = max(picture.width, column + pad)
    columns = max(1, (width - pad) // column)
    rows = -(-len(entries) // columns)
    page = Image.new("RGB", (width, picture.height + rows * line + 2 * pad), "white")
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    for place, (name, colour) in enumerate(entries):
        left = pad + place % columns * column
        middle = picture.height + pad + place // columns * line + line // 2
        draw.rectangle((left, middle - size // 2, left + size, middle + size // 2), colour, outline=(90, 90, 90))
        draw.text((left + line, middle), name, (29, 33, 41), font, anchor="lm")
    return page


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that knows more than Latin letters; matplotlib brings one."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
