"""The ablations: each arm beside CoCu's, between floor and ceiling; and whether better curation trains better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.reproduce.arms import BASELINE, BOUNDS, COCU, ORACLE, Arm
from benchmarks.reproduce.measured import FIGURES, Measured, Results, difference, spread


def ablations(results: Results, learner: str) -> dict[str, Any]:
    """A row for each arm, over the seeds that all of them were to have, so that rows compare.

    Of a row: quality of its concepts (recall, precision, f1), figures over seeds, difference from CoCu's arm with its
    interval over pictures, seed by seed, and the share of the gap between baseline and oracle that it closes.
    """
    arms = results.arms(learner)
    wanted = [{run.seed for run in results.runs if run.arm == arm and run.learner == learner} for arm in arms]
    seeds = sorted(set.intersection(*wanted)) if wanted else []
    found = {arm.name: {seed: one for seed, one in results.of(arm, learner).items() if seed in seeds} for arm in arms}
    return {"learner": learner, "seeds": seeds, "rows": [_row(arm, found, results) for arm in arms]}


def _row(arm: Arm, found: Mapping[str, Mapping[int, Measured]], results: Results) -> dict[str, Any]:
    mine, cocu = found[arm.name], found.get(COCU.name, {})
    quality = results.quality(arm)
    return {
        "arm": arm.name,
        "group": arm.group,
        "differs": arm.differs,
        "curation": arm.curation.name if arm.concepts == "curated" else None,
        "overrides": list(arm.overrides),
        "recall": quality and quality.recall,
        "precision": quality and quality.precision,
        "f1": quality and quality.f1,
        **{name: spread([one.figures[name] for one in mine.values()]) for name in FIGURES},
        "from_cocu": [
            {"seed": seed, **difference(cocu[seed], one, "miou")}
            for seed, one in mine.items()
            if seed in cocu and arm.name != COCU.name
        ],
        "gap_closed": spread(
            [
                gap_closed(one.figures["miou"], *(_miou(found, bound.name, seed) for bound in (BASELINE, ORACLE)))
                for seed, one in mine.items()
            ]
        ),
    }


def _miou(found: Mapping[str, Mapping[int, Measured]], arm: str, seed: int) -> float | None:
    one = found.get(arm, {}).get(seed)
    return one.figures["miou"] if one else None


def gap_closed(miou: float | None, baseline: float | None, oracle: float | None) -> float | None:
    """(arm - baseline) / (oracle - baseline); None where the oracle is not above the baseline, so there is no gap."""
    if miou is None or baseline is None or oracle is None or oracle <= baseline:
        return None
    return (miou - baseline) / (oracle - baseline)


def quality_against_training(table: Mapping[str, Any]) -> dict[str, Any]:
    """F1 of curation against mIoU, over arms that differ in nothing but the curation; with their correlation.

    The bounds stretch the scale, so the correlation is given without them, too.
    """
    points = [
        {"arm": row["arm"], "f1": row["f1"], "miou": row["miou"]["mean"]}
        for row in table["rows"]
        if row["f1"] is not None and row["miou"]["mean"] is not None and not row["overrides"]
    ]
    bounds = {arm.name for arm in BOUNDS}
    return {
        "points": points,
        "all": correlation(points),
        "without_bounds": correlation([point for point in points if point["arm"] not in bounds]),
    }


def correlation(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pearson's and Spearman's correlation of f1 and miou; null for fewer than three points, or one value only."""
    f1, miou = (np.array([point[name] for point in points], dtype=np.float64) for name in ("f1", "miou"))
    return {"points": len(points), "pearson": _pearson(f1, miou), "spearman": _pearson(_ranks(f1), _ranks(miou))}


def _pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share the mean of theirs."""
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return below + (equal - 1) / 2
