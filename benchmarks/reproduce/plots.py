"""The report's plots, drawn from its figures: convergence, ablations, curation quality against mIoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"baseline": "#8a909a", "cocu": "#0f766e", "oracle": "#4c5fd5", "shuffled": "#b45309"}
_OTHER = "#6bb3ab"
_DPI = 110
_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # over the lines that it would lie across


def draw_convergence(path: Path, table: Mapping[str, Any]) -> bool:
    """mIoU and loss against samples seen, mean and range over seeds; False where there is no curve.

    The loss is that of captions, or self-training's own.
    """
    curves = table["curves"]
    if not curves:
        return False
    figure = _figure(10, 4)
    panels = figure.subplots(1, 2)
    for axes, name, label, scale in (
        (panels[0], "miou", "zero-shot mIoU, %", 100.0),
        (panels[1], "caption_loss", "validation loss", 1.0),
    ):
        for arm in dict.fromkeys(curve["arm"] for curve in curves):
            samples, values = _over_seeds([curve for curve in curves if curve["arm"] == arm], name)
            colour, seeds = COLOURS.get(arm, _OTHER), len(values)
            axes.plot(
                samples,
                scale * values.mean(0),
                "o-",
                ms=3.5,
                color=colour,
                label=f"{arm} ({seeds} seed{'s' if seeds > 1 else ''})",
            )
            axes.fill_between(samples, scale * values.min(0), scale * values.max(0), color=colour, alpha=0.18, lw=0)
        axes.set(xlabel="samples seen", ylabel=label)
        axes.set_xlim(left=0)
        _plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=_DPI)
    return True


def _over_seeds(curves: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], np.ndarray]:
    """Samples [P] that all seeds were measured at, and the values there [S, P]."""
    common = sorted(set.intersection(*(set(curve["samples"]) for curve in curves)))
    values = [[curve[name][curve["samples"].index(at)] for at in common] for curve in curves]
    return common, np.array(values, dtype=np.float64)


def draw_ablations(path: Path, table: Mapping[str, Any]) -> bool:
    """Bars of mIoU, with lines at the baseline, CoCu and the oracle; False where nothing was measured."""
    rows = [row for row in table["rows"] if row["miou"]["mean"] is not None]
    if not rows:
        return False
    figure = _figure(8.5, 1.1 + 0.3 * len(rows))
    axes = figure.subplots()
    values = [100 * row["miou"]["mean"] for row in rows]
    axes.barh(range(len(rows)), values, 0.72, color=[COLOURS.get(row["arm"], _OTHER) for row in rows])
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.2f}", va="center", fontsize=8, color="#1d2129", bbox=_LABEL)
    for row, value in zip(rows, values, strict=True):
        if row["arm"] in ("baseline", "cocu", "oracle"):
            axes.axvline(value, color=COLOURS[row["arm"]], lw=1, ls="--")
    axes.set_yticks(range(len(rows)), [row["arm"] for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.1 * max(values) or 1)
    axes.set(xlabel="zero-shot mIoU, %")
    _plain(axes, "x")
    figure.savefig(path, dpi=_DPI)
    return True


def draw_quality(path: Path, quality: Mapping[str, Any]) -> bool:
    """F1 of the curation against mIoU, every arm named; False where there is no point."""
    points = quality["points"]
    if not points:
        return False
    figure = _figure(8.5, 5)
    axes = figure.subplots()
    places = np.array([[point["f1"], 100 * point["miou"]] for point in points])
    for point, at in zip(points, places, strict=True):
        axes.plot(*at, "o", color=COLOURS.get(point["arm"], _OTHER), ms=7)
    axes.margins(0.05)
    _name_at_the_right(axes, points, places)
    axes.set(xlabel="curation: F1 of gap recall@5 and precision@5", ylabel="zero-shot mIoU, %")
    _plain(axes, "both")
    figure.savefig(path, dpi=_DPI)
    return True


def _name_at_the_right(axes: Any, points: Sequence[Mapping[str, Any]], places: np.ndarray) -> None:
    """Names of points [P, 2] in a column beside the axes, in the order of height, each with a thin line to its own."""
    low, high = axes.get_ylim()
    order = np.argsort(places[:, 1], kind="stable")
    apart = min((high - low) / 26, (high - low) / max(1, len(points) - 1))
    heights = places[order, 1].copy()
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + apart)
    if len(heights) and heights[-1] > high:  # pushed out at the top: all below give way
        heights[-1] = high
        for i in range(len(heights) - 2, -1, -1):
            heights[i] = min(heights[i], heights[i + 1] - apart)
    for i, height in zip(order.tolist(), heights.tolist(), strict=True):
        axes.annotate(
            points[i]["arm"],
            places[i],
            (1.03, height),
            textcoords=("axes fraction", "data"),
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#8a909a", "lw": 0.5, "relpos": (0, 0.5), "shrinkB": 4},
        )


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Any, grid: str = "y") -> None:
    axes.grid(axis=grid, alpha=0.25)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
