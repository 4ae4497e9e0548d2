"""Prints what `cocu eval` measured: tables on a terminal, aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.printing.lines import tell
from cli.printing.terminal_table import print_table

if TYPE_CHECKING:
    from evaluation.results.comparison import Compared

MOST_LISTED = 10  # bad pictures; results.json has all


def print_results(content: Mapping[str, Any], out: Path, *, with_gallery: bool) -> None:
    """The figures of a run, what was left out, where the rest is, and last what gives reason to doubt the figures."""
    from evaluation.results.distractors import DISTRACTOR_HEADS, distractor_lines, distractor_rows
    from evaluation.results.text import overview_row, percent, search_line, told

    heads = [
        "benchmark",
        "split",
        "pictures",
        "mIoU",
        "95 % interval",
        "stuff",
        "things",
        "pixels",
        "classes",
        "boundary",
    ]
    print_table(heads, [overview_row(one) for one in content["benchmarks"]], right=range(2, 10))
    if said := search_line(content["checkpoint"]):
        tell(said)
    for one in content["benchmarks"]:
        rules = one["rules"]
        words = rules.get("background words", ())
        named = f", {len(words)} background words of {rules['background words from']}: {told(words)}" if words else ""
        tell(f"{one['name']}: protocol {rules['protocol']}{named}")
        if beside := one.get("distractors"):
            print_table(DISTRACTOR_HEADS, distractor_rows(beside), right=range(6))
            for said in distractor_lines(beside):
                tell(f"{one['name']}: {said}")
        if swept := one.get("background_sweep"):
            tell(
                f"{one['name']}: background threshold {swept['best_threshold']:g} gives "
                f"{percent(swept['best_mean_iou'])}, {swept['label']}; the card's is {swept['card_threshold']:g}"
            )
        if bad := one["left_out"]:
            share = f"{len(bad) / (len(bad) + one['pictures']):.1%}"
            tell(
                f"{one['name']}: {len(bad):,} bad picture{'s' if len(bad) > 1 else ''} left out, {share} of those read"
            )
            for each in bad[:MOST_LISTED]:
                tell(f"  {each['path']}: {each['reason']}")
            if len(bad) > MOST_LISTED:
                tell(f"  and {len(bad) - MOST_LISTED:,} more, in {out / 'results.json'}")
    speeds = ", ".join(f"{one['name']} {one['pictures_per_second'] or 0:.1f}" for one in content["benchmarks"])
    tell(f"pictures/s: {speeds}")
    tell(f"wrote {out / 'results.md'}" + (f" and {out / 'gallery.html'}" if with_gallery else ""))
    for one in content["benchmarks"]:
        for said in one["warnings"]:
            tell(f"warning: {one['name']}: {said}")


def print_comparison(compared: Sequence[Compared], out: Path | None) -> None:
    """Each benchmark's results side by side, and where the rest is."""
    from evaluation.results.comparison_files import overview

    for one in compared:
        tell(f"{one.benchmark}, {one.pictures:,} pictures")
        print_table(["result", "mIoU", "95 % interval", "difference", "95 % interval"], overview(one), range(1, 5))
        for note in one.notes:
            tell(f"note: {note}")
    tell(f"differences are from {compared[0].names[0]}, on the same pictures; * where the interval leaves out 0")
    if out is not None:
        tell(f"wrote {out / 'comparison.md'} and {out / 'comparison.png'}")
