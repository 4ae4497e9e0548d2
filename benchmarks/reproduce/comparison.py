"""The main table: CoCu's arm against the baseline, seed by seed, on the same pictures; whether the goals are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reproduce.arms import BASELINE, COCU
from benchmarks.reproduce.measured import FIGURES, Measured, Results, difference, spread

GOALS = {"miou": 0.20, "stuff": 0.40}  # least gain of CoCu over the baseline, a share of the baseline's figure
COMPARED = ("miou", "stuff", "things")


def main_table(results: Results, learner: str) -> dict[str, Any]:
    """Both arms of a learner, the differences of every seed, and the goals.

    arms: for each its figures over seeds. pairs: for each seed that both have, by figure, what it is of the baseline
    and of CoCu, the difference with its interval over pictures, and the gain, a share of the baseline's. goals: met in
    every seed or not; None as long as a seed is missing.
    """
    arms = []
    for arm in (BASELINE, COCU):
        found = results.of(arm, learner)
        figures = {name: spread([one.figures[name] for one in found.values()]) for name in FIGURES}
        arms.append({"arm": arm.name, "differs": arm.differs, "seeds": list(found), **figures})
    baseline, cocu = (results.of(arm, learner) for arm in (BASELINE, COCU))
    pairs: list[dict[str, Any]] = [
        {"seed": seed, **{name: _compared(one, cocu[seed], name) for name in COMPARED}}
        for seed, one in baseline.items()
        if seed in cocu
    ]
    whole = len(pairs) == len(
        {run.seed for run in results.runs if run.learner == learner and run.arm.name == COCU.name}
    )
    goals = [_goal(name, least, [pair[name] for pair in pairs], whole) for name, least in GOALS.items()]
    return {"learner": learner, "arms": arms, "pairs": pairs, "goals": goals}


def _compared(baseline: Measured, cocu: Measured, figure: str) -> dict[str, float | None]:
    before, after = baseline.figures[figure], cocu.figures[figure]
    gain = after / before - 1 if before and after is not None else None
    return {"baseline": before, "cocu": after, **difference(baseline, cocu, figure), "gain": gain}


def _goal(figure: str, least: float, pairs: Sequence[Mapping[str, float | None]], whole: bool) -> dict[str, Any]:
    met = all(reaches(pair["baseline"], pair["cocu"], least) for pair in pairs) if whole and pairs else None
    return {"figure": figure, "least_gain": least, "gains": [pair["gain"] for pair in pairs], "met": met}


def reaches(before: float | None, after: float | None, least: float) -> bool:
    """Whether `after` is at least a share of `least` above `before`, and above it at all."""
    return before is not None and after is not None and after > before and after >= (1 + least) * before
