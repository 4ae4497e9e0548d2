"""How a picture is presented to a model: resized with its ratio kept, cut into windows that overlap, scores averaged.

The sizes are those of the card. Resizing is bilinear from the nearest pixels, to whole levels, as in GroupViT's
evaluation: a smoother one would give other figures than those that are published.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import Resize, Window

# More than what float64 loses of a level, and less than fp32 would. Halves are frequent and must become the same level
# on every machine: one more or less can send a patch to another group.
ROUNDING_ERROR = 1e-6
# What a card without a long side allows, in short sides: the pixels of a picture of 1 : LARGEST_RATIO, and the length.
LARGEST_RATIO, LONGEST = 4, 64


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
    """Levels 0 to 255 [3, H, W] -> float64 [3, *sides], whole levels, halves upwards."""
    picture = picture.double()
    if tuple(picture.shape[1:]) == sides:
        return picture
    resized = F.interpolate(picture[None], sides, mode="bilinear", align_corners=False)[0]
    return resized.add_(0.5 + ROUNDING_ERROR).floor_()


def positions(length: int, size: int, stride: int) -> list[int]:
    """Where windows of `size` begin along a side: every `stride`, the last one moved back to end with the side.

    A side shorter than a window has one window, which is as long as the side.
    """
    count = -(-max(length - size, 0) // stride) + 1
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
