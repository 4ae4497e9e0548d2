"""What results say of distractors: names that stood beside the classes, and how far mIoU fell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import Card
from evaluation.figures.bootstrap import mean_iou_difference, mean_iou_interval
from evaluation.figures.distraction import most_taken, of_the_same_classes
from evaluation.figures.tally import PictureTally
from evaluation.models.vocabulary import RULE

DISTRACTOR_HEADS = ["distractors", "mIoU", "fall", "95 % interval", "pixels", "taken"]
MOST_NAMED = 10  # of the distractors, those that took the most


@dataclass(frozen=True)
class Distraction:
    """words: the distractors. numbers: how many of them stood beside the classes at once. source: whose words."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]
    source: str


def distracted_summary(told: Distraction, tally: PictureTally, card: Card) -> dict[str, Any]:
    """Figures without and beside each number of distractors, and which of them took the most."""
    counts = tally.counts
    alone = {"value": 0.0, "low": 0.0, "high": 0.0}
    curve = [{"distractors": 0, "mean_iou": mean_iou_interval(counts).value, "difference": alone, **_pixels(counts)}]
    for place, number in enumerate(told.numbers):
        beside = of_the_same_classes(tally.distracted[:, place], counts)
        fall = mean_iou_difference(counts, beside)
        curve.append(
            {
                "distractors": number,
                "mean_iou": mean_iou_interval(beside).value,
                "difference": {"value": fall.value, "low": fall.low, "high": fall.high},
                **_pixels(tally.distracted[:, place]),
            }
        )
    pixels = int(counts[:, 1].sum())
    return {
        "rule": RULE,
        "vocabulary": told.source,
        "words": list(told.words),
        "curve": curve,
        "taken": [
            {"distractor": told.words[one], "share": many / pixels, "most_from": card.classes[loser].name}
            for one, many, loser in most_taken(tally.taken, MOST_NAMED)
        ],
    }


def distractor_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The curve as rows under DISTRACTOR_HEADS."""
    return [
        [
            f"{one['distractors']:,}",
            _percent(one["mean_iou"]),
            _signed(one["difference"]["value"]),
            f"{_signed(one['difference']['low'])} to {_signed(one['difference']['high'])}",
            _percent(one["pixel_accuracy"]),
            _percent(one["taken"]),
        ]
        for one in found["curve"]
    ]


def distractor_lines(found: Mapping[str, Any]) -> list[str]:
    """What else there is to say: which took the most, and where they are from."""
    named = ", ".join(f"{one['distractor']} {one['share']:.1%} (of {one['most_from']})" for one in found["taken"])
    took = [f"distractors that took the most pixels: {named}"] if named else []
    return [*took, f"distractors are of {found['vocabulary']}: {found['rule']}"]


def _pixels(counts: NDArray[np.int64]) -> dict[str, float]:
    """Of counts [N, 3, C]: the share of the pixels that are right, and of those given to no class."""
    right, true, predicted = counts.sum((0, 2))
    return {"pixel_accuracy": float(right / true), "taken": float(1 - predicted / true)}


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}"
