"""What keeps a figure from meaning what it seems to: a truth in which classes never occur, or that holds nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import Card
from evaluation.figures.confusion import TRUE
from files.errors import CocuError

MOST_NAMED = 10  # classes in a sentence; classes.csv has all


def refuse_empty_truth(counts: NDArray[np.int64], card: Card, path: Path) -> None:
    """Raises CocuError where of N pictures, counts [N, 3, C], no pixel counts: no figure is of anything."""
    if not counts[:, TRUE].any():
        raise CocuError(
            f"{card.name}={path}: nothing could be measured: in {len(counts):,} masks every pixel is ignored "
            f"(ignore_index {card.ignore_index}). Are these the masks of this card and split? `cocu data check` tells"
        )


def doubts_about(counts: NDArray[np.int64], card: Card) -> tuple[str, ...]:
    """Sentences on a truth that is not empty, counts [N, 3, C]: which classes and which pictures it lacks."""
    names = [one.name for one in card.classes]
    pixels = counts[:, TRUE]
    absent = [name for name, total in zip(names, pixels.sum(axis=0).tolist(), strict=True) if not total]
    blank = int((pixels.sum(axis=1) == 0).sum())
    said = []
    if len(absent) == len(names) - 1 and absent:
        (only,) = set(names) - set(absent)
        said.append(
            f"the truth holds nothing but {only!r}, so whoever says {only!r} everywhere is right: "
            "are these the masks of this card and split?"
        )
    if absent:
        more = f" and {len(absent) - MOST_NAMED:,} more" if len(absent) > MOST_NAMED else ""
        said.append(
            f"{len(absent):,} of {len(names):,} classes never occur in the truth; predicted anywhere, such a class has "
            f"an IoU of 0, else none: {', '.join(absent[:MOST_NAMED])}{more}"
        )
    if blank:
        said.append(f"in {blank:,} of {len(counts):,} masks every pixel is ignored; these pictures count nowhere")
    return tuple(said)
