"""Bilinear resizing of whole levels as OpenCV does it, in fixed point, which the published figures were measured with.

Weights have 11 bits. Along a row both values are multiplied and added as they are; along a column the sums lose 4 bits
before they are multiplied, and the products 16 after it. One in eight values is another level than with exact numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

ONE = 1 << 11


def resize_as_opencv(picture: Tensor, sides: tuple[int, int]) -> Tensor:
    """Levels uint8 [3, H, W] -> uint8 [3, *sides], as `cv2.resize` with INTER_LINEAR makes them, on the CPU or a GPU.

    A picture that gets exactly half as tall and wide is averaged over its blocks of 2 x 2, as there.
    """
    height, width = picture.shape[1:]
    if (height, width) == sides:
        return picture
    if (height, width) == (2 * sides[0], 2 * sides[1]):
        blocks = picture.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        return (blocks.sum((2, 4), dtype=torch.int32) + 2 >> 2).to(torch.uint8)
    rows, columns = (_weights(*lengths, picture.device) for lengths in zip((height, width), sides, strict=True))
    left, right, of_right = columns
    # Outside the first and the last column their value counts alone; rows have weights there, too, twice of one row.
    of_right = torch.where((left < 0) | (left >= width - 1), 0, of_right)
    left, right = left.clamp(0, width - 1), right.clamp(0, width - 1)
    above, below, of_below = rows
    used, inverse = torch.cat([above.clamp(0, height - 1), below.clamp(0, height - 1)]).unique(return_inverse=True)
    levels = picture[:, used].to(torch.int32)
    mixed = levels[:, :, left] * (ONE - of_right) + levels[:, :, right] * of_right
    first, second = inverse.split(len(above))
    weight = of_below[:, None]
    upper = (mixed[:, first] >> 4) * (ONE - weight) >> 16
    lower = (mixed[:, second] >> 4) * weight >> 16
    return (upper + lower + 2 >> 2).clamp(0, 255).to(torch.uint8)


def _weights(length: int, wanted: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `wanted` places along a side: the value before it, the one behind it, and the weight of the latter.

    Places are in single precision, weights rounded to the nearest, halves to the even.
    """
    scale = 1.0 / (wanted / length)
    places = ((torch.arange(wanted, dtype=torch.float64, device=device) + 0.5) * scale - 0.5).float()
    before = places.floor()
    weight = ((places - before) * ONE).round().to(torch.int32)
    return before.long(), before.long() + 1, weight
