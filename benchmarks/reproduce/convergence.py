"""How fast both arms learn: validations against samples seen, and when CoCu reaches the baseline's end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.arms import BASELINE, COCU
from benchmarks.reproduce.measured import Results
from files.strict_yaml import parse_yaml


def convergence(results: Results, learner: str) -> dict[str, Any]:
    """Curves of the runs that were measured on their way, and for each seed when the baseline's last mIoU was reached.

    curves: arm, seed, samples, miou, caption_loss, lists of one length. reached: by seed the target, and of both arms
    the samples at which their curve first reaches it; ratio: the baseline's over CoCu's.
    """
    curves = [
        {"arm": run.arm.name, "seed": run.seed, **curve}
        for run in results.runs
        if run.learner == learner and run.watched and (curve := read_curve(results.place.run(run.name))) is not None
    ]
    by_arm = {
        arm.name: {curve["seed"]: curve for curve in curves if curve["arm"] == arm.name} for arm in (BASELINE, COCU)
    }
    reached = [
        {"seed": seed, **_reached(by_arm[BASELINE.name][seed], by_arm[COCU.name][seed])}
        for seed in by_arm[BASELINE.name]
        if seed in by_arm[COCU.name]
    ]
    return {"learner": learner, "curves": curves, "reached": reached}


def read_curve(run: Path) -> dict[str, list[float]] | None:
    """The validations of a run: samples seen, miou and caption_loss after them; None where there are none."""
    log, config = run / "log.jsonl", run / "config.yaml"
    if not (log.is_file() and config.is_file()):
        return None
    batch = parse_yaml(config.read_text(encoding="utf-8")).values["data"]["batch"]
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]
    found = [line for line in lines if line["event"] == "validation" and line.get("miou") is not None]
    if not found:
        return None
    return {
        "samples": [line["step"] * batch for line in found],
        "miou": [line["miou"] for line in found],
        "caption_loss": [line.get("caption_loss", line.get("loss")) for line in found],
    }


def _reached(baseline: dict[str, Any], cocu: dict[str, Any]) -> dict[str, Any]:
    target = baseline["miou"][-1]
    ours, bound = first_reached(cocu["samples"], cocu["miou"], target)
    theirs, _ = first_reached(baseline["samples"], baseline["miou"], target)
    ratio = theirs / ours if ours and theirs else None
    return {"target": target, "baseline": theirs, "cocu": ours, "cocu_at_most": bound, "ratio": ratio}


def first_reached(samples: Sequence[float], values: Sequence[float], target: float) -> tuple[float | None, bool]:
    """The samples at which a curve first reaches the target, between two points in a straight line.

    None: it does not. True: it did so before its first point, so that the samples are a bound from above.
    """
    for at, value in enumerate(values):
        if value >= target:
            if at == 0:
                return float(samples[0]), value > target
            share = (target - values[at - 1]) / (value - values[at - 1])
            return samples[at - 1] + share * (samples[at] - samples[at - 1]), False
    return None, False
