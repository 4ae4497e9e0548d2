"""Benchmarks on disk: the pictures of a data set with their true labels, read as its card says.

`open_benchmark` finds the files, by the layout that the card names; nothing is decoded before an item is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import Card
from data_cards.layouts.decoding import BadItem, decode_mask, decode_picture
from data_cards.layouts.layout import LAYOUTS, FoundFiles
from data_cards.masks import UNCLAIMED, Form, LabelMapping
from files.errors import MisuseError


@dataclass(frozen=True)
class Benchmark:
    """Pictures with their true labels. It can be sent to another process, and read by several threads.

    split: which one was opened. source: the files. mapping: from the masks' values to classes.
    """

    card: Card
    split: str
    source: FoundFiles
    mapping: LabelMapping

    def __len__(self) -> int:
        return len(self.source.keys)

    @property
    def keys(self) -> Sequence[str]:
        """What each picture is called, in order."""
        return self.source.keys

    def image(self, index: int) -> NDArray[np.uint8]:
        """A picture: RGB uint8 [H, W, 3]. Raises BadItem: it cannot be read."""
        path, content = self.source.picture(index)
        return decode_picture(content, path)

    def mask_values(self, index: int) -> NDArray[np.integer]:
        """The values of its mask [H, W] as they are in the file. Raises BadItem: it is missing or cannot be read."""
        path, content = self.source.mask(index)
        return decode_mask(content, path, self.mapping.form)

    def truth(self, index: int) -> NDArray[np.unsignedinteger]:
        """Its labels [H, W]: class indices, or the card's ignore_index; uint8 where these are below 256, else uint16.

        Raises BadItem: the mask is missing, cannot be read, or holds values that no class has.
        """
        values = self.mask_values(index)
        classes = self.mapping.to_classes(values)
        if (unclaimed := classes == UNCLAIMED).any():
            raise BadItem(self.source.mask_file(index), _strangers(values[unclaimed], values.size, self.mapping))
        return classes.astype(self.truth_type, copy=False)

    def item(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]:
        """Picture uint8 [H, W, 3] and labels [H, W], as `image` and `truth` give them.

        Raises BadItem: one of them is bad, or their sizes differ.
        """
        image, truth = self.image(index), self.truth(index)
        if image.shape[:2] != truth.shape:
            height, width = image.shape[:2]
            raise BadItem(
                self.source.mask_file(index),
                f"is {truth.shape[1]} x {truth.shape[0]}, its picture {self.source.picture_file(index)} "
                f"is {width} x {height} pixels",
            )
        return image, truth

    @property
    def truth_type(self) -> type[np.uint8] | type[np.uint16]:
        """What `truth` gives."""
        largest = max(len(self.card.classes) - 1, self.card.ignore_index or 0)
        return np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16


def open_benchmark(card: Card, path: str | Path, split: str | None = None) -> Benchmark:
    """The pictures and masks that lie under `path`, of the card's split or of another.

    Raises MisuseError (exit code 2): a layout that nobody reads, a path where the data set does not lie, a
    split without pictures; the text says what was looked for and what is there. CocuError (1): a tar is cut off.
    """
    if card.layout not in LAYOUTS:
        known = ", ".join(sorted(LAYOUTS))
        raise MisuseError(f"card {card.name}: layout {card.layout!r} has no reader; give one of {known}")
    path, split = Path(path), split or card.split
    if not path.exists():
        raise MisuseError(f"{card.name}={path}: there is no such file or folder")
    source = LAYOUTS[card.layout](card, path, split)
    return Benchmark(card, split, source, card.mapping(source.masks))


def write_values(values: Sequence[int], form: Form, most: int = 5) -> str:
    """Values of masks as a card writes them: at most so many, and how many more."""
    named = ", ".join(f"#{value:06x}" if form == "colours" else str(value) for value in values[:most])
    return f"{named} and {len(values) - most} more" if len(values) > most else named


def _strangers(values: NDArray[np.integer], pixels: int, mapping: LabelMapping) -> str:
    """Which values of a mask no class has, the most frequent first."""
    found, counts = np.unique(values, return_counts=True)
    named = write_values([int(value) for value in found[np.argsort(-counts, kind="stable")]], mapping.form)
    return f"holds {named}, which no class of the card has ({counts.sum() / pixels:.1%} of its pixels)"
