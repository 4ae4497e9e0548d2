"""Results as text: Markdown tables of an evaluation, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.results.distractors import DISTRACTOR_HEADS, distractor_lines, distractor_rows
from evaluation.results.result import RESULTS, TABLE
from files.atomic import write_json, write_text


def write_results(
    out: Path, head: Mapping[str, Any], benchmarks: Sequence[Mapping[str, Any]], left: Sequence[str] = ()
) -> None:
    """Write results.json and results.md; results.json is the last of all, and says that the rest is whole.

    left: names of the benchmarks that are still to come.
    """
    content = {**head, "benchmarks": list(benchmarks)} | ({"unfinished": list(left)} if left else {})
    write_text(out / TABLE, results_text(content))
    write_json(out / RESULTS, content)


def results_text(content: Mapping[str, Any]) -> str:
    """results.md: tables for people, of what results.json holds."""
    checkpoint = content["checkpoint"]
    left = content.get("unfinished", ())
    lines = [
        f"# {checkpoint['name']}",
        "",
        *([f"Not finished: {', '.join(left)} not measured yet.", ""] if left else []),
        f"{checkpoint['kind']}, weights {checkpoint['sha256'][:12]}; {content['date']}; cocu {content['cocu']}, "
        f"torch {content['torch']}, {content['device']}, {content['precision']}.",
        *(["", f"{said[0].upper()}{said[1:]}."] if (said := search_line(checkpoint)) else []),
        "",
        "mIoU, and what else is in per cent; the interval holds 95 % of resamples of the pictures.",
        "",
        *markdown_table(
            ["benchmark", "split", "pictures", "mIoU", "interval", "stuff", "things", "pixels", "classes", "boundary"],
            [overview_row(one) for one in content["benchmarks"]],
            right=range(2, 10),
        ),
        "",
        "stuff, things: mIoU over these alone. pixels: pixel accuracy. classes: mean accuracy. boundary: boundary IoU.",
        "",
        "```",
        " ".join(content["command"]),
        "```",
    ]
    for one in content["benchmarks"]:
        lines += _benchmark_text(one)
    return "\n".join(lines) + "\n"


def search_line(checkpoint: Mapping[str, Any]) -> str | None:
    """Which dense mode a search found, how and on what; None where none was made."""
    dense = checkpoint.get("dense", {})
    if "scores" not in dense:
        return None
    left = f" ({dense['left_out']:,} bad ones left out)" if dense["left_out"] else ""
    return (
        f"dense mode {dense['mode']}, of {len(dense['scores'])} the one whose {dense['chosen_by']}: "
        f"{dense['pictures']:,} of {dense['chosen_on']}{left}, without labels"
    )


def overview_row(one: Mapping[str, Any]) -> list[str]:
    """A benchmark's figures in a line, as results.md and the terminal show them."""
    pictures = f"{one['pictures']:,}"
    if one["pictures"] < one["pictures_in_split"]:
        pictures += f" of {one['pictures_in_split']:,}"
    miou = one["mean_iou"]
    return [
        one["name"],
        one["split"],
        pictures,
        percent(miou["value"]),
        f"{percent(miou['low'])} to {percent(miou['high'])}",
        percent(one["stuff_mean_iou"] and one["stuff_mean_iou"]["value"]),
        percent(one["things_mean_iou"] and one["things_mean_iou"]["value"]),
        percent(one["pixel_accuracy"]),
        percent(one["mean_accuracy"]),
        percent(one["boundary_mean_iou"]),
    ]


def percent(share: float | None) -> str:
    """A share 0..1 in per cent, or a dash."""
    return "-" if share is None else f"{100 * share:.2f}"


def told(value: Any) -> str:
    """A rule's value in a line."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of a Markdown table; right: columns of numbers."""
    bars = ["---:" if index in right else "---" for index in range(len(head))]
    return [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (head, bars, *rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _benchmark_text(one: Mapping[str, Any]) -> list[str]:
    rows = [[row["class"], row["kind"], *_shares(row), f"{row['pictures']:,}"] for row in one["classes"]]
    rules = "; ".join(f"{name}: {told(value)}" for name, value in one["rules"].items())
    lines = [
        "",
        f"## {one['name']}: {one['pretty_name']}",
        "",
        f"{one['path']}, {one['pictures']:,} pictures in {one['seconds']:.1f} s. {rules}. "
        f"Card {one['card_sha256'][:12]}.",
        "",
    ]
    if swept := one.get("background_sweep"):
        lines += [
            f"Background threshold {swept['best_threshold']:g} gives {percent(swept['best_mean_iou'])}: the best of "
            f"{len(swept['thresholds'])}, tuned on the evaluated data, and no result.",
            "",
        ]
    if beside := one.get("distractors"):
        lines += [*markdown_table(DISTRACTOR_HEADS, distractor_rows(beside), right=range(6)), ""]
        lines += [*(f"- {said}." for said in distractor_lines(beside)), ""]
    if one["warnings"]:
        lines += [*(f"- Warning: {said}." for said in one["warnings"]), ""]
    lines += markdown_table(["class", "kind", "IoU", "accuracy", "boundary IoU", "pictures"], rows, right=range(2, 6))
    if one["left_out"]:
        lines += ["", f"Left out, as they are bad ({len(one['left_out']):,}):", ""]
        lines += [f"- {bad['key']}: {bad['path']}: {bad['reason']}" for bad in one["left_out"]]
    return lines


def _shares(row: Mapping[str, Any]) -> list[str]:
    return [percent(row[name]) for name in ("iou", "accuracy", "boundary_iou")]
