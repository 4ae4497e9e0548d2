"""What a layout is: a way in which a benchmark's files lie, and the door by which a new one enters.

A layout is one file in this room: a function that finds the files, and a line that adds it to `LAYOUTS`. Cards name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from data_cards.cards import Card
from data_cards.masks import Masks
from files.errors import MisuseError
from files.registry import Registry


class FoundFiles(Protocol):
    """The files of a data set: what a layout finds."""

    @property
    def keys(self) -> Sequence[str]:
        """What each picture is called, in order."""

    @property
    def masks(self) -> Masks:
        """The kind of masks that was found, of those the card names."""

    def picture(self, index: int) -> tuple[str, bytes]:
        """Path and content of a picture. Raises BadItem when it cannot be read."""

    def mask(self, index: int) -> tuple[str, bytes]:
        """Path and content of its mask. Raises BadItem when it is missing or cannot be read."""

    def picture_file(self, index: int) -> str:
        """Where a picture is, or should be."""

    def mask_file(self, index: int) -> str:
        """Where its mask is, or should be."""

    def missing(self) -> list[str]:
        """The pictures and masks that are not there."""


def refuse_unused_split(card: Card, path: Path, split: str, why: str) -> None:
    """Raises MisuseError for another split than the card's, where its name chooses nothing: figures would bear it."""
    if split != card.split:
        raise MisuseError(f"--split {split}: {card.name}={path}: {why}; leave --split out")


# Card, the path that the user gave, split -> the files. Raises MisuseError where they do not lie there.
Layout = Callable[[Card, Path, str], FoundFiles]

LAYOUTS: Registry[Layout] = Registry("layout", "cocu.layouts", room="data_cards.layouts")
