"""What the runs of a reproduction came to, read from the files that they left: figures, counts, curation quality."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reproduce.arms import Arm
from benchmarks.reproduce.plan import Places, TrainingRun, runs_of
from benchmarks.reproduce.presets import Preset
from data_cards.cards import read_card
from evaluation.figures.bootstrap import Interval, mean_iou_difference
from evaluation.results.comparison import paired
from evaluation.results.result import PictureCounts, members_of_kind, read_counts, read_results
from files.errors import CocuError

BENCHMARK = "miniature"
FIGURES = ("miou", "stuff", "things", "pixel_accuracy")
QUALITY_K = 5


@dataclass(frozen=True)
class Measured:
    """A run that was measured: shares 0 to 1 by the names of FIGURES, and the counts of every picture."""

    run: TrainingRun
    figures: Mapping[str, float | None]
    counts: PictureCounts


@dataclass(frozen=True)
class Quality:
    """How well a curation recovers what captions leave out: recall and precision of the five best, 0 to 1."""

    recall: float | None
    precision: float | None

    @property
    def f1(self) -> float | None:
        """Their harmonic mean."""
        if self.recall is None or self.precision is None:
            return None
        total = self.recall + self.precision
        return 2 * self.recall * self.precision / total if total else 0.0


class Results:
    """All that the runs of a preset left in a folder; what is not there yet is left out."""

    def __init__(self, preset: Preset, out: Path) -> None:
        self.preset, self.place = preset, Places(out)
        self.runs = runs_of(preset)
        found = {run: _measured(run, self.place.eval(run.name)) for run in self.runs}
        self.measured = {run: one for run, one in found.items() if one is not None}

    def learners(self) -> list[str]:
        """The learners that were to be trained."""
        return list(dict.fromkeys(run.learner for run in self.runs))

    def of(self, arm: Arm, learner: str) -> dict[int, Measured]:
        """The measured runs of an arm, by seed."""
        return {
            run.seed: one for run, one in self.measured.items() if run.arm.name == arm.name and run.learner == learner
        }

    def arms(self, learner: str) -> list[Arm]:
        """The arms that a learner was to train with, in the order of the runs."""
        return list(dict.fromkeys(run.arm for run in self.runs if run.learner == learner))

    def quality(self, arm: Arm) -> Quality | None:
        """Of the concepts that an arm trains with; None for captions alone or nothing, or where it was not measured."""
        path = self.place.score(arm.curation)
        if arm.concepts != "curated" or not path.is_file():
            return None
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))["scores"]["curated"]
            at = str(QUALITY_K)
            return Quality(scores["recall"][at]["value"], scores["precision"][at]["value"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CocuError(f"{path}: cannot be read ({error!r}); delete it and run again") from error


def _measured(run: TrainingRun, folder: Path) -> Measured | None:
    if not (folder / "results.json").is_file():
        return None
    one = next(one for one in read_results(folder)["benchmarks"] if one["name"] == BENCHMARK)
    figures = {
        "miou": one["mean_iou"]["value"],
        "stuff": (one["stuff_mean_iou"] or {}).get("value"),
        "things": (one["things_mean_iou"] or {}).get("value"),
        "pixel_accuracy": one["pixel_accuracy"],
    }
    return Measured(run, figures, read_counts(folder / BENCHMARK))


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation (of a sample; null for one) and the values themselves."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "values": list(values),
    }


def difference(first: Measured, second: Measured, figure: str) -> dict[str, float | None]:
    """A figure of `second` less that of `first`, on the same pictures: value, low, high of the paired bootstrap.

    figure: miou, stuff or things.
    """
    kinds: dict[str, Any] = {"stuff": "stuff", "things": "thing"}
    members = members_of_kind(read_card(BENCHMARK), kinds[figure]) if figure in kinds else None
    _, (one, other) = paired([first.counts, second.counts])
    return _numbers(mean_iou_difference(one, other, members))


def _numbers(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: value if value == value else None for name, value in values.items()}
