"""The report of a reproduction: every figure is read from a file that a step wrote.

    python -m benchmarks.reproduce.report runs/reproduce

writes OUT/report.json (all figures), OUT/report.md, OUT/report.html and OUT/plots, from what is there so far.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.reproduce.ablations import ablations, quality_against_training
from benchmarks.reproduce.comparison import main_table
from benchmarks.reproduce.convergence import convergence
from benchmarks.reproduce.document import html, markdown
from benchmarks.reproduce.measured import Results
from benchmarks.reproduce.presets import Preset, preset_of
from benchmarks.reproduce.sections import document
from benchmarks.reproduce.steps import Folder, read_plan
from files.atomic import atomic

FORM = 1


def write_report(preset: Preset, out: Path) -> Path:
    """Write the report of what OUT holds; the page. Raises CocuError for a file that cannot be read."""
    results = Results(preset, out)
    found: dict[str, Any] = {"form": FORM, "preset": _preset(preset)}
    found["learners"] = []
    for learner in results.learners():
        table = ablations(results, learner)
        found["learners"].append(
            {
                "learner": learner,
                "main": main_table(results, learner),
                "convergence": convergence(results, learner),
                "ablations": table,
                "quality": quality_against_training(table),
            }
        )
    found["made"] = made(out)
    _write(out / "report.json", json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    blocks = document(found, out)
    _write(out / "report.md", markdown(blocks, out))
    _write(out / "report.html", html(blocks))
    return out / "report.html"


def _preset(preset: Preset) -> dict[str, Any]:
    names = ("name", "note", "judged", "pairs", "validation_pairs", "epochs", "seed", "validation_seed", "device")
    return {name: getattr(preset, name) for name in names}


def made(out: Path) -> dict[str, Any]:
    """How the figures came about: machines, commits, versions, dates, seconds, and the command of every step.

    wall_seconds: time in which a step was running; step_seconds: of all steps together; both of the last time that a
    step was begun. again: steps that were begun more than once, as after an interruption.
    """
    folder = Folder(out)
    plan = read_plan(out)["commands"]
    records = {name: record for name in plan if (record := folder.record(name)) is not None}
    spans = [_span(record) for record in records.values()]

    def different(name: str) -> list[Any]:
        return list(
            {json.dumps(record.get(name), sort_keys=True): record.get(name) for record in records.values()}.values()
        )

    return {
        "machines": different("machine"),
        "commits": different("commit"),
        "versions": different("versions"),
        "began": min((record["began"] for record in records.values()), default=None),
        "wall_seconds": round(_covered(spans), 1),
        "step_seconds": round(sum(record["seconds"] for record in records.values()), 1),
        "steps": [
            {"name": name, "command": command, "seconds": records[name]["seconds"] if name in records else None}
            for name, command in plan.items()
        ],
        "again": [name for name, record in records.items() if record.get("again")],
        "missing": [name for name in plan if name not in records],
    }


def _span(record: dict[str, Any]) -> tuple[float, float]:
    began = datetime.fromisoformat(record["began"]).timestamp()
    return began, began + record["seconds"]


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds that at least one of the spans covers."""
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of a folder; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of `python -m benchmarks.reproduce`")
    given = parser.parse_args(arguments)
    try:
        print(write_report(preset_of(read_plan(given.out)["asked"]["preset"]), given.out))
    except Exception as error:
        if not isinstance(code := getattr(error, "exit_code", None), int):
            raise
        print(f"error: {error}", file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
