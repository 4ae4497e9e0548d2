"""The miniature: a small world drawn from a seed, with pictures, captions, and the truth about both.

A pair is a pure function of the split, the seed, its index and the size of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_cards.miniature.captions.writer import write_caption
from data_cards.miniature.scenes.drawing import draw_scene
from data_cards.miniature.scenes.scene import Scene
from data_cards.miniature.stuff.textures import TILE
from files.atomic import atomic
from files.errors import MisuseError

NAME = "miniature"
SPLITS = ("train", "val", "clip")
FULL_CAPTIONS = 4  # of a pair of the split clip
SMALLEST, LARGEST = 32, TILE
# Each a word of the seed sequence.
MOST_PAIRS = MOST_SEED = 2**32


@dataclass(frozen=True)
class DrawnPair:
    """A picture and what is said about it.

    image: uint8 [size, size, 3]. mask: uint8 [size, size], the card's class indices.
    captions: one, as people write on the web; of the split "clip" several that name whatever shows.
    """

    key: str
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    captions: tuple[str, ...]
    scene: Scene

    @property
    def caption(self) -> str:
        """The first of the captions."""
        return self.captions[0]


def draw_pair(split: str, seed: int, index: int, size: int = 64) -> DrawnPair:
    """Draw pair number `index` of a split, its picture `size` pixels high and wide.

    Pairs of two splits or two seeds have nothing in common. Raises MisuseError for an unknown split
    or a number out of range.
    """
    check_request(split, seed, index + 1, size)
    drawing = draw_scene(_generator(split, seed, index, 0), size)
    rng = _generator(split, seed, index, 1)
    if split == "clip":
        captions = tuple(write_caption(rng, drawing.scene, "full") for _ in range(FULL_CAPTIONS))
    else:
        captions = (write_caption(rng, drawing.scene, "web"),)
    return DrawnPair(f"{split}-{index:08d}", drawing.image, drawing.mask, captions, drawing.scene)


def check_request(split: str, seed: int, pairs: int, size: int) -> None:
    """Raise MisuseError, naming the value and what would be accepted, where there is no such data."""
    if split not in SPLITS:
        raise MisuseError(f"split {split!r}: give one of {', '.join(SPLITS)}")
    for name, value, least, most in (
        ("seed", seed, 0, MOST_SEED - 1),
        ("pairs", pairs, 1, MOST_PAIRS),
        ("size", size, SMALLEST, LARGEST),
    ):
        if not least <= value <= most:
            raise MisuseError(f"{name} {value}: give a whole number from {least} to {most}")


def contact_sheet(
    split: str, seed: int, rows: int = 6, columns: int = 8, size: int = 64, scale: int = 3
) -> Image.Image:
    """The first pictures of a split side by side, each pixel drawn `scale` wide."""
    pad = max(1, size // 32)
    sheet = np.full((rows * (size + pad) - pad, columns * (size + pad) - pad, 3), 255, np.uint8)
    for index in range(rows * columns):
        top, left = (index // columns) * (size + pad), (index % columns) * (size + pad)
        sheet[top : top + size, left : left + size] = draw_pair(split, seed, index, size).image
    return Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1))


def write_contact_sheet(path: Path, split: str, seed: int, size: int = 64) -> None:
    """Write a contact sheet as PNG."""
    with atomic(path) as temporary:
        contact_sheet(split, seed, size=size).save(temporary, "PNG")


def _generator(split: str, seed: int, index: int, stream: int) -> np.random.Generator:
    words = [int.from_bytes(split.encode(), "little"), seed, index, stream]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
