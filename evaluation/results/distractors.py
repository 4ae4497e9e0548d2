"""What results say of distractors: names that stood beside the classes, and how far mIoU fell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_cards.cards import Card
from evaluation.figures.bootstrap import mean_iou_difference, mean_iou_interval
from evaluation.figures.distraction import most_taken, of_the_same_classes
from evaluation.figures.tally import PictureTally
from evaluation.models.vocabulary import RULE

MOST_NAMED = 10  # of the distractors, those that took the most


@dataclass(frozen=True)
class Distraction:
    """words: the distractors. numbers: how many of them stood beside the classes at once. source: whose words."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]
    source: str


def distracted_summary(told: Distraction, tally: PictureTally, card: Card) -> dict[str, Any]:
    """mIoU without and beside each number of distractors, and which of them took the most."""
    counts = tally.counts
    curve: list[dict[str, Any]] = [{"distractors": 0, "mean_iou": mean_iou_interval(counts).value}]
    for place, number in enumerate(told.numbers):
        beside = of_the_same_classes(tally.distracted[:, place], counts)
        fall = mean_iou_difference(counts, beside)
        curve.append(
            {
                "distractors": number,
                "mean_iou": mean_iou_interval(beside).value,
                "difference": {"value": fall.value, "low": fall.low, "high": fall.high},
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


def distractor_lines(found: Mapping[str, Any]) -> list[str]:
    """The summary in words, for a page and for the terminal."""
    without, *beside = found["curve"]
    steps = ", ".join(
        f"{_percent(one['mean_iou'])} beside {one['distractors']:,} "
        f"({_signed(one['difference']['value'])}, {_signed(one['difference']['low'])} to "
        f"{_signed(one['difference']['high'])})"
        for one in beside
    )
    lines = [f"mIoU {_percent(without['mean_iou'])} without distractors, {steps}"]
    if found["taken"]:
        named = ", ".join(f"{one['distractor']} {one['share']:.1%} (of {one['most_from']})" for one in found["taken"])
        lines.append(f"distractors that took the most pixels: {named}")
    return [*lines, f"distractors are of {found['vocabulary']}: {found['rule']}"]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}"
