"""How a picture is presented to a model: resized with its ratio kept, cut into windows that overlap, scores averaged.

The sizes are those of the card. Resizing is bilinear from the nearest pixels, to whole levels, as in GroupViT's
evaluation: a smoother one would give other figures than those that are published.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import Resize, Window

# More than what float64 loses of a level, and less than fp32 would. Halves are frequent and must become the same level
# on every machine: one more or less can send a patch to another group.
ROUNDING_ERROR = 1e-6
# What a card without a long side allows, in short sides: the pixels of a picture of 1 : LARGEST_RATIO, and the length.
LARGEST_RATIO, LONGEST = 4, 64
# Pictures of more pixels are never held whole as anything but bytes.
LARGE = 1 << 25


class Box(NamedTuple):
    """A window's place in a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, picture: Tensor) -> Tensor:
        """The part of [..., H, W] that the window shows; a view."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


def resized_sides(height: int, width: int, resize: Resize | None) -> tuple[int, int]:
    """Sides of a picture after resizing: the short one as the card says, less where the long one would be too long.

    Where the card does not say what is too long, a picture longer than 1 : LARGEST_RATIO gets as many pixels as one of
    that ratio, and at most LONGEST short sides: a banner costs no more than a photograph.
    """
    if resize is None:
        return height, width
    short, long = min(height, width), max(height, width)
    scale = resize.short_side / short
    if resize.long_side is not None:
        scale = min(scale, resize.long_side / long)
    elif long > LARGEST_RATIO * short:
        scale *= min((LARGEST_RATIO * short / long) ** 0.5, LONGEST * short / long)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_picture(picture: Tensor, sides: tuple[int, int]) -> Tensor:
    """Levels 0 to 255 [3, H, W] -> [3, *sides], whole levels, halves upwards, float64 where they are new."""
    if tuple(picture.shape[1:]) == sides:
        return picture
    if picture[0].numel() > LARGE:
        resized = bilinear_part(picture, sides, Box(0, 0, *sides), torch.float64)
    else:
        resized = F.interpolate(picture.double()[None], sides, mode="bilinear", align_corners=False)[0]
    return resized.add_(0.5 + ROUNDING_ERROR).floor_()


def bilinear(field: Tensor, sides: tuple[int, int], box: Box) -> Tensor:
    """[B, C, h, w] at `sides`, between the values bilinear, and of that the part that `box` shows."""
    if (box.height, box.width) == sides:
        return F.interpolate(field, sides, mode="bilinear", align_corners=False)
    return bilinear_part(field, sides, box, field.dtype)


def bilinear_part(field: Tensor, sides: tuple[int, int], box: Box, dtype: torch.dtype) -> Tensor:
    """The same of [..., h, w], without making the rest; dtype: of the result."""
    wanted = {-2: (sides[0], box.top, box.height), -1: (sides[1], box.left, box.width)}
    for axis in sorted(wanted, key=lambda axis: wanted[axis][2] / field.shape[axis]):  # first what makes it smaller
        field = _between(field, axis, *wanted[axis], dtype)
    return field


def _between(field: Tensor, axis: int, length: int, first: int, count: int, dtype: torch.dtype) -> Tensor:
    """Along an axis, `count` of `length` places from `first` on: mixed of the two values that each lies between."""
    places = torch.arange(first, first + count, dtype=torch.float64, device=field.device)
    places = ((places + 0.5) * (field.shape[axis] / length) - 0.5).clamp_(min=0)
    below = places.long()
    share = (places - below).to(dtype).unflatten(0, (-1, *[1] * (-1 - axis)))
    above = (below + 1).clamp_(max=field.shape[axis] - 1)
    mixed = field.index_select(axis, below).to(dtype) * (1 - share)
    return mixed.addcmul_(field.index_select(axis, above).to(dtype), share)


def tiles(height: int, width: int, pixels: int) -> Iterator[Box]:
    """Boxes of so many pixels at the most that cover a picture, whole rows where these are no longer."""
    wide = min(width, pixels)
    tall = max(1, pixels // wide)
    for top in range(0, height, tall):
        for left in range(0, width, wide):
            yield Box(top, left, min(tall, height - top), min(wide, width - left))


def how_many(length: int, size: int, stride: int) -> int:
    """Windows along a side."""
    return -(-max(length - size, 0) // stride) + 1


def positions(length: int, size: int, stride: int) -> list[int]:
    """Where windows of `size` begin along a side: every `stride`, the last one moved back to end with the side.

    A side shorter than a window has one window, which is as long as the side.
    """
    count = how_many(length, size, stride)
    return [max(min(place * stride, length - size), 0) for place in range(count)]


def windows_of(height: int, width: int, window: Window | None) -> list[Box]:
    """The windows of a picture, row by row; one that shows all of it where the card has none."""
    if window is None:
        return [Box(0, 0, height, width)]
    tall, wide = min(window.size, height), min(window.size, width)
    return [
        Box(top, left, tall, wide)
        for top in positions(height, window.size, window.stride)
        for left in positions(width, window.size, window.stride)
    ]


def add_window(total: Tensor, count: Tensor, box: Box, rows: Tensor, scores: Tensor) -> None:
    """Add a window's scores [k, h, w] to `rows` [k] of a picture's [K, H, W], and the window to its count [H, W].

    After all windows, total / count is the mean wherever they overlap.
    """
    box.of(total).index_add_(0, rows, scores)
    box.of(count).add_(1)


def to_model_sides(pixels: Tensor, multiple: int) -> Tensor:
    """Windows [B, 3, h, w] whose sides a model's patch does not divide, stretched to the nearest sides that it does.

    Padding would leave the content as it is, but put a border of nothing into the model's view of the picture.
    """
    height, width = (max(1, round(side / multiple)) * multiple for side in pixels.shape[2:])
    if (height, width) == tuple(pixels.shape[2:]):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
