"""A comparison as files: Markdown and a bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.results.comparison import Compared
from evaluation.results.text import markdown_table, percent
from files.atomic import atomic, write_text
from files.errors import MisuseError

TEXT, CHART = "comparison.md", "comparison.png"


_COLOURS = ("#a9aeb6", "#0f766e", "#b45309", "#4c5fd5", "#b0306a", "#7a8f2a")


_MOST_CLASSES = 25  # in a chart


def comparison_text(compared: Sequence[Compared]) -> str:
    """comparison.md."""
    lines = [
        "# " + ", ".join(compared[0].names),
        "",
        f"IoU in per cent. Differences are from {compared[0].names[0]}, on the same pictures; beside them the 95 % "
        "interval of a paired bootstrap over pictures. A difference whose interval leaves out 0 is marked *.",
    ]
    for one in compared:
        lines += ["", f"## {one.benchmark}", "", f"{one.pictures:,} pictures.", ""]
        lines += [f"- {note}." for note in one.notes] + ([""] if one.notes else [])
        lines += markdown_table(["result", "mIoU", "interval", "difference", "interval"], overview(one), range(1, 5))
        heads = ["class", *one.names, *(part for name in one.names[1:] for part in (f"{name}: difference", "interval"))]
        lines += ["", *markdown_table(heads, _class_rows(one), range(1, len(heads)))]
    return "\n".join(lines) + "\n"


def overview(one: Compared) -> list[list[str]]:
    """A row for each result: mIoU and its interval, difference from the first and its interval."""
    rows = []
    for name, miou, difference in zip(one.names, one.miou, (None, *one.difference), strict=True):
        row = [name, percent(miou.value), _span(miou.low, miou.high)]
        rows.append([*row, *(_difference(difference.value, difference.low, difference.high) if difference else "--")])
    return rows


def _class_rows(one: Compared) -> list[list[str]]:
    return [
        [name, *(percent(_said(value)) for value in one.iou[:, index])]
        + [
            cell
            for each in one.class_differences
            for cell in _difference(each.value[index], each.low[index], each.high[index])
        ]
        for index, name in enumerate(one.classes)
    ]


def _difference(value: float, low: float, high: float) -> tuple[str, str]:
    if np.isnan([value, low, high]).any():
        return "-", "-"
    return f"{100 * value:+.2f}{' *' if low > 0 or high < 0 else ''}", _span(low, high, "+.2f")


def _span(low: float, high: float, form: str = ".2f") -> str:
    return "-" if np.isnan([low, high]).any() else f"{100 * low:{form}} to {100 * high:{form}}"


def _said(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def write_comparison(out: Path, compared: Sequence[Compared]) -> None:
    """Write comparison.md, and comparison.png: bars of each benchmark, and of its classes."""
    if out.exists() and not out.is_dir():
        raise MisuseError(f"{out}: is a file; give a folder")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / TEXT, comparison_text(compared))
    _chart(out / CHART, compared)


def _chart(path: Path, compared: Sequence[Compared]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [_charted_classes(one) for one in compared]
    heights = [2.8, *(0.9 + 0.16 * len(classes) * len(compared[0].names) for classes in shown)]
    figure = Figure(figsize=(8.5, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _bars(panels[0], compared)
    for axes, one, classes in zip(panels[1:], compared, shown, strict=True):
        _class_bars(axes, one, classes)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _bars(axes: Any, compared: Sequence[Compared]) -> None:
    """mIoU with its interval, benchmark by benchmark."""
    names = compared[0].names
    places, width = np.arange(len(compared)), 0.8 / len(names)
    for number, name in enumerate(names):
        values = np.array([[one.miou[number].value, one.miou[number].low, one.miou[number].high] for one in compared])
        value, low, high = 100 * np.nan_to_num(values).T
        # A percentile interval may lie beside the figure of the whole.
        around = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
        where = places + (number - (len(names) - 1) / 2) * width
        colour = _COLOURS[number % len(_COLOURS)]
        axes.bar(where, value, width * 0.92, yerr=around, color=colour, label=name, ecolor="#5c6370", capsize=3)
    axes.set_xticks(places, [f"{one.benchmark}\n{one.pictures:,} pictures" for one in compared])
    axes.set_xlim(-0.6, len(compared) - 0.4)
    axes.set(ylabel="mIoU, %", title="mIoU, with 95 % intervals over pictures")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _class_bars(axes: Any, one: Compared, classes: Sequence[int]) -> None:
    """IoU of classes, those that differ most first."""
    height = 0.8 / len(one.names)
    for number, name in enumerate(one.names):
        where = np.arange(len(classes)) + (number - (len(one.names) - 1) / 2) * height
        values = 100 * np.nan_to_num(one.iou[number, list(classes)])
        axes.barh(where, values, height * 0.92, color=_COLOURS[number % len(_COLOURS)], label=name)
    axes.set_yticks(np.arange(len(classes)), [one.classes[index] for index in classes], fontsize=8)
    axes.set_ylim(len(classes) - 0.4, -0.6)
    some = (
        f", the {len(classes)} of {len(one.classes)} classes that differ most"
        if len(classes) < len(one.classes)
        else ""
    )
    axes.set(xlabel="IoU, %", title=f"{one.benchmark}{some}")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _charted_classes(one: Compared) -> list[int]:
    """Classes that occur, those first whose IoU differs most from the first result's; so many as a chart bears."""
    spread = np.nanmax(np.abs(np.nan_to_num(one.iou[1:]) - np.nan_to_num(one.iou[:1])), axis=0)
    order = np.argsort(-spread, kind="stable")
    return [int(index) for index in order if not np.isnan(one.iou[:, index]).all()][:_MOST_CLASSES]
