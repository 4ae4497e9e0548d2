"""Results side by side: each benchmark and class, with paired bootstrap differences from the first result.

Differences are of the same pictures under both, drawn together, which is far sharper than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import ClassIntervals, Interval, iou_differences, mean_iou_difference, mean_iou_interval
from evaluation.confusion import ious
from evaluation.results import Counts, markdown_table, percent, read_counts, read_results
from files.errors import CocuError, MisuseError

TEXT, CHART = "comparison.md", "comparison.png"
_COLOURS = ("#a9aeb6", "#0f766e", "#b45309", "#4c5fd5", "#b0306a", "#7a8f2a")
_MOST_CLASSES = 25  # in a chart


@dataclass(frozen=True)
class Compared:
    """A benchmark under R results, on the N pictures that all of them measured.

    names: of the results. classes: of the benchmark. miou: of each result. iou: of each class [R, C]. difference,
    class_differences: of results 1.. from the first. notes: what was measured otherwise, and pictures left out.
    """

    benchmark: str
    names: tuple[str, ...]
    pictures: int
    classes: tuple[str, ...]
    miou: tuple[Interval, ...]
    iou: NDArray[np.float64]
    difference: tuple[Interval, ...]
    class_differences: tuple[ClassIntervals, ...]
    notes: tuple[str, ...]


def compare(folders: Sequence[Path]) -> list[Compared]:
    """Compare result folders, the first is what the others are held against.

    Raises MisuseError: fewer than two folders, one without results, no benchmark or no picture in common.
    CocuError: results that are damaged.
    """
    if len(folders) < 2:
        raise MisuseError("give two or more result folders to compare")
    contents = [read_results(folder) for folder in folders]
    by_name = [{one["name"]: one for one in content["benchmarks"]} for content in contents]
    common = [name for name in by_name[0] if all(name in each for each in by_name)]
    if not common:
        listed = "; ".join(
            f"{folder} has {', '.join(each) or 'none'}" for folder, each in zip(folders, by_name, strict=True)
        )
        raise MisuseError(f"the results have no benchmark in common: {listed}")
    names = result_names(folders)
    return [_compared(name, folders, names, [each[name] for each in by_name]) for name in common]


def result_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """What the results are called: the folders' last parts, as many as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{folder} ({number})" for number, folder in enumerate(folders, 1))


def _compared(
    benchmark: str, folders: Sequence[Path], names: tuple[str, ...], said: Sequence[Mapping[str, Any]]
) -> Compared:
    found = [read_counts(folder / benchmark) for folder in folders]
    for folder, one in zip(folders, found, strict=True):
        if one.classes != found[0].classes:
            raise CocuError(
                f"{folder / benchmark}: its classes are not those of {folders[0] / benchmark}; "
                "evaluate both with one card"
            )
    keys, counts = paired(found)
    if not keys:
        raise MisuseError(f"{benchmark}: the results have no picture in common")
    return Compared(
        benchmark=benchmark,
        names=names,
        pictures=len(keys),
        classes=found[0].classes,
        miou=tuple(mean_iou_interval(one) for one in counts),
        iou=np.stack([ious(one.sum(0, dtype=np.float64)) for one in counts]),
        difference=tuple(mean_iou_difference(counts[0], one) for one in counts[1:]),
        class_differences=tuple(iou_differences(counts[0], one) for one in counts[1:]),
        notes=tuple(_notes(names, said, [len(one.keys) for one in found], len(keys))),
    )


def paired(found: Sequence[Counts]) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """The keys that all have, in the order of the first, and the counts of these pictures under each."""
    others = [set(one.keys) for one in found[1:]]
    keys = tuple(key for key in found[0].keys if all(key in other for other in others))
    places = [{key: place for place, key in enumerate(one.keys)} for one in found]
    chosen = [one.counts[[place[key] for key in keys]] for one, place in zip(found, places, strict=True)]
    return keys, chosen


def _notes(names: Sequence[str], said: Sequence[Mapping[str, Any]], measured: Sequence[int], common: int) -> list[str]:
    notes = [
        f"{name} measured {count:,} pictures; {common:,} are compared, those that all have"
        for name, count in zip(names, measured, strict=True)
        if count != common
    ]
    for name, one in zip(names[1:], said[1:], strict=True):
        if one["card_sha256"] != said[0]["card_sha256"]:
            notes.append(f"{name} was measured with another card than {names[0]}")
        rules = [{**each["rules"], "split": each["split"]} for each in (said[0], one)]
        for rule in dict.fromkeys([*rules[0], *rules[1]]):
            if (first := rules[0].get(rule)) != (other := rules[1].get(rule)):
                notes.append(f"{name} was measured with {rule} {other}, {names[0]} with {first}")
    return notes


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
    (out / TEXT).write_text(comparison_text(compared), encoding="utf-8")
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
    figure.savefig(path, dpi=110)


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
