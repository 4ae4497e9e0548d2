"""mIoU against the background's threshold, on the data that is evaluated: a look at how much hangs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evaluation.figures.confusion import mean_ious
from evaluation.results.result import Result
from files.atomic import atomic, write_json

# Finer where the published thresholds lie.
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(19)) + tuple(
    round(0.9 + 0.01 * step, 2) for step in range(11)
)
SWEEP, PLOT = "background_sweep.json", "background_sweep.png"
LABEL = "tuned on the evaluated data"


def write_sweep(folder: Path, result: Result) -> dict[str, Any]:
    """Write the sweep of a benchmark that has a background as JSON and as a plot; what results.json says of it."""
    assert result.card.background is not None
    values = mean_ious(result.tally.swept.astype(np.float64)).tolist()
    best = int(np.argmax(values))
    found = {
        "label": LABEL,
        "thresholds": list(THRESHOLDS),
        "mean_iou": values,
        "best_threshold": THRESHOLDS[best],
        "best_mean_iou": values[best],
        "card_threshold": result.card.background.threshold,
    }
    write_json(folder / SWEEP, found)
    _plot(folder / PLOT, found, result.card.pretty_name)
    return found


def _plot(path: Path, found: dict[str, Any], name: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(found["thresholds"], [100 * value for value in found["mean_iou"]], color="#0f766e", marker=".")
    axes.axvline(found["card_threshold"], color="#a9aeb6", linestyle="--", label="the card's threshold")
    best = found["best_threshold"], 100 * found["best_mean_iou"]
    axes.plot(*best, "o", color="#b45309", label=f"best: {best[1]:.2f} at {best[0]:g}, {LABEL}")
    axes.set(xlabel="threshold of the background", ylabel="mIoU, %", title=f"{name}\n({LABEL}: not a result)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
