"""Pictures for training: DeiT's augmentation through torchvision v2's kernels, all numbers from the sample's seed.

Random resized crop (bicubic, or bilinear as GroupViT's release has it) and flip, then RandAugment m9 mstd0.5 in its
"increasing" form, all on uint8; random erasing fills with normal noise after normalisation, so that only its rectangle
is drawn here and `finish` erases on the device. The kernels are torchvision's, the policy is timm's, which DeiT used.
torchvision's own RandAugment counts magnitude in 31 bins, so that its bin 27 is timm's m9, and applies every operation
it draws, of 14; timm's applies each with probability 1/2, of 15, with a magnitude of its own. Two things differ from
timm: geometry is bilinear, for want of a bicubic kernel, where timm draws between the two, and posterising keeps at
least one bit, lest a picture turn black.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from files.errors import MisuseError
from files.pictures import MEAN, STD, BadPicture, decoding_cost, room_to_decode, to_rgb, with_header

LEVELS = ("none", "light", "deit")
RATIO = (3 / 4, 4 / 3)
TRIES = 10
OPERATIONS = 2
OPERATION_PROBABILITY = 0.5
MAGNITUDE, MAGNITUDE_STD = 0.9, 0.05
ERASE_PROBABILITY = 0.25
ERASE_AREA = (0.02, 1 / 3)
ERASE_RATIO = (0.3, 1 / 0.3)
NOTHING_ERASED = (0, 0, 0, 0)
_FILL = [round(255 * mean) for mean in MEAN]
_BILINEAR = InterpolationMode.BILINEAR

Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True)
class Augmentation:
    """How pictures are made from files. size: pixels of a side. crop_scale: area of the random crop, as shares.
    interpolation: of what is resized, bicubic or bilinear.

    level: none (shorter side resized, centre cut out), light (random resized crop, flip), deit (all).
    """

    size: int
    level: str = "deit"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise MisuseError(f"augment: {self.level}; expected one of {', '.join(LEVELS)}")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise MisuseError(f"crop_scale: {low:g} to {high:g}; expected two shares of the area, 0 < low <= high <= 1")

    def __call__(self, data: bytes | memoryview, random: Random) -> tuple[Tensor, Box]:
        """Bytes of a picture -> uint8 [3, size, size] and the rectangle to erase, of height 0 for none.

        Raises BadPicture.
        """
        picture = with_header(data)
        width, height = picture.size
        box = centre(height, width) if self.level == "none" else draw_crop(height, width, self.crop_scale, random)
        pixels = decode(picture, data, box, self.size, InterpolationMode(self.interpolation))
        if self.level == "none":
            return pixels, NOTHING_ERASED
        if random.random() < 0.5:
            pixels = F.horizontal_flip(pixels)
        if self.level == "light":
            return pixels, NOTHING_ERASED
        return rand_augment(pixels, random), draw_erasing(self.size, random)


def finish(
    pixels: Tensor,
    erase: Tensor | None = None,
    seeds: Tensor | None = None,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
) -> Tensor:
    """uint8 [B, 3, H, W] -> normalised float32, on the device of the pixels, with rectangles erased.

    erase: int64 [B, 4] on the CPU: top, left, height, width; height 0: none. They are filled with normal noise that is
    a function of the picture's seed, int64 [B] on the CPU, and the kind of device. mean, std: of levels 0 to 1. Nothing
    waits for the device.
    """
    device = pixels.device
    centre, spread = _of_pixels(mean, device), _of_pixels(std, device)
    normal = (pixels.float() - centre) / spread
    if erase is None or seeds is None:
        return normal
    areas = (erase[:, 2] * erase[:, 3]).tolist()
    if not any(areas):
        return normal
    generator = torch.Generator(device)
    noise = torch.cat(
        [
            torch.randn(3 * area, device=device, generator=generator.manual_seed(seed))
            for area, seed in zip(areas, seeds.tolist(), strict=True)
            if area
        ]
    )
    top, left, height, width = (column.view(-1, 1) for column in erase.to(device, non_blocking=True).unbind(1))
    row = torch.arange(pixels.shape[2], device=device)
    column = torch.arange(pixels.shape[3], device=device)
    rows = (row >= top) & (row < top + height)
    columns = (column >= left) & (column < left + width)
    return normal.masked_scatter_((rows[:, :, None] & columns[:, None, :])[:, None], noise)


@cache
def _of_pixels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Values of levels 0 to 1 for levels 0 to 255, [3, 1, 1], on the device; kept: to send them is to wait."""
    return torch.tensor(values, device=device).view(3, 1, 1) * 255


def decode(
    picture: Image.Image,
    data: bytes | memoryview,
    box: Box,
    size: int,
    interpolation: InterpolationMode = InterpolationMode.BICUBIC,
) -> Tensor:
    """Cut `box` out of an opened picture and resize it: uint8 [3, size, size]. Raises BadPicture.

    An orientation in EXIF is not applied: the encoder that curated saw the picture as it is stored.
    """
    width, height = picture.size
    top, left, tall, wide = box
    try:
        shrink = math.floor(min(tall, wide) / size)
        if picture.format == "JPEG" and shrink >= 2:
            picture.draft("RGB", (width // shrink, height // shrink))
        with room_to_decode(decoding_cost(picture, data, (width, height))):
            pixels = _decoded(picture, data, shrink)
            _, down, across = pixels.shape
            if (down, across) != (height, width):  # decoded smaller
                y, x = down / height, across / width
                tall, wide = max(1, round(tall * y)), max(1, round(wide * x))
                top, left = min(round(top * y), down - tall), min(round(left * x), across - wide)
            return F.resized_crop(pixels, top, left, tall, wide, [size, size], interpolation, antialias=True)
    except Exception as error:  # neither library has a base class for what broken files make it raise
        text = " ".join(str(error).split()) or type(error).__name__
        kind = "truncated" if "truncated" in text else "unreadable"
        raise BadPicture(f"{kind} picture: {text[-200:]}") from error


def _decoded(picture: Image.Image, data: bytes | memoryview, shrink: int) -> Tensor:
    """All pixels, uint8 [3, H, W]; of a JPEG that does with half of its sides or less, those of its draft.

    torchvision is the faster at full size, and Pillow the one that can decode smaller.
    """
    if picture.format == "JPEG" and shrink < 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the bytes are read-only: nobody writes
            return decode_jpeg(torch.frombuffer(data, dtype=torch.uint8), mode=ImageReadMode.RGB)
    return torch.from_numpy(np.array(to_rgb(picture, data))).permute(2, 0, 1)


def centre(height: int, width: int) -> Box:
    """The largest square in the middle."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def draw_crop(height: int, width: int, scale: tuple[float, float], random: Random) -> Box:
    """A random crop: area uniform in `scale`, the log of its ratio uniform in RATIO; the centre if none fits."""
    for _ in range(TRIES):
        area = height * width * _between(*scale, random)
        ratio = math.exp(_between(math.log(RATIO[0]), math.log(RATIO[1]), random))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            return _below(height - tall + 1, random), _below(width - wide + 1, random), tall, wide
    wide, tall = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def draw_erasing(size: int, random: Random) -> Box:
    """The rectangle to erase, with ERASE_PROBABILITY, of a square picture."""
    if random.random() >= ERASE_PROBABILITY:
        return NOTHING_ERASED
    for _ in range(TRIES):
        area = size * size * _between(*ERASE_AREA, random)
        ratio = math.exp(_between(math.log(ERASE_RATIO[0]), math.log(ERASE_RATIO[1]), random))
        tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < tall < size and 0 < wide < size:
            return _below(size - tall + 1, random), _below(size - wide + 1, random), tall, wide
    return NOTHING_ERASED


def rand_augment(pixels: Tensor, random: Random) -> Tensor:
    """OPERATIONS of those below, each applied with OPERATION_PROBABILITY. uint8 [3, H, W], also the result."""
    for _ in range(OPERATIONS):
        operation = _OPERATIONS[_below(len(_OPERATIONS), random)]
        if random.random() < OPERATION_PROBABILITY:
            magnitude = min(max(random.gauss(MAGNITUDE, MAGNITUDE_STD), 0.0), 1.0)
            pixels = operation(pixels, magnitude, 1.0 if random.random() < 0.5 else -1.0)
    return pixels


def _shear(pixels: Tensor, x: float, y: float) -> Tensor:
    angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return F.affine(pixels, 0.0, [0, 0], 1.0, angles, interpolation=_BILINEAR, fill=_FILL, center=[0.0, 0.0])


def _translate(pixels: Tensor, x: float, y: float) -> Tensor:
    """By whole pixels: what is pushed out is cut off, the gap is filled."""
    _, height, width = pixels.shape
    right, down = round(x * width), round(y * height)
    kept = F.crop(pixels, max(0, -down), max(0, -right), height - abs(down), width - abs(right))
    gap = [max(0, right), max(0, down), max(0, -right), max(0, -down)]
    return F.pad(kept, gap, fill=_FILL)


def _solarize_add(pixels: Tensor, magnitude: float) -> Tensor:
    return torch.where(pixels < 128, pixels + int(110 * magnitude), pixels)


# Each by magnitude m, from 0 to 1, and a sign.
_OPERATIONS: tuple[Callable[[Tensor, float, float], Tensor], ...] = (
    lambda pixels, m, sign: F.autocontrast(pixels),
    lambda pixels, m, sign: F.equalize(pixels),
    lambda pixels, m, sign: F.invert(pixels),
    lambda pixels, m, sign: F.rotate(pixels, sign * 30 * m, interpolation=_BILINEAR, fill=_FILL),
    lambda pixels, m, sign: F.posterize(pixels, max(1, 4 - int(4 * m))),
    lambda pixels, m, sign: F.solarize(pixels, min(255, 256 - int(256 * m))),
    lambda pixels, m, sign: _solarize_add(pixels, m),
    lambda pixels, m, sign: F.adjust_saturation(pixels, max(0.1, 1 + sign * 0.9 * m)),
    lambda pixels, m, sign: F.adjust_contrast(pixels, max(0.1, 1 + sign * 0.9 * m)),
    lambda pixels, m, sign: F.adjust_brightness(pixels, max(0.1, 1 + sign * 0.9 * m)),
    lambda pixels, m, sign: F.adjust_sharpness(pixels, max(0.1, 1 + sign * 0.9 * m)),
    lambda pixels, m, sign: _shear(pixels, sign * 0.3 * m, 0.0),
    lambda pixels, m, sign: _shear(pixels, 0.0, sign * 0.3 * m),
    lambda pixels, m, sign: _translate(pixels, sign * 0.45 * m, 0.0),
    lambda pixels, m, sign: _translate(pixels, 0.0, sign * 0.45 * m),
)


def _between(low: float, high: float, random: Random) -> float:
    return low + (high - low) * random.random()


def _below(count: int, random: Random) -> int:
    return int(random.random() * count)
