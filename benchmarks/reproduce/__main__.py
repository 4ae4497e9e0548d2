"""Draw, curate, train, evaluate, report: `python -m benchmarks.reproduce --preset cpu --out runs/reproduce`.

Run again, it goes on where it stopped. Exit codes: 0 all done; 1 a step failed, or a check of cc3m; 2 wrong arguments,
or a folder of another plan; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce import cc3m, machine
from benchmarks.reproduce.executor import ended_by_signals, execute
from benchmarks.reproduce.plan import plan_of
from benchmarks.reproduce.presets import preset_of
from benchmarks.reproduce.report import write_report
from benchmarks.reproduce.steps import PLAN, Folder, Step
from files.errors import MisuseError
from files.locks import locked
from files.machine import cores

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
CC3M = "cc3m"


def reproduce(preset: str, out: Path, jobs: int | None) -> int:
    """Run a preset of the miniature and write its report, of what there is if a step failed; the exit code."""
    chosen = preset_of(preset)
    with locked(out, PLAN):
        lost = _run({"preset": preset}, plan_of(chosen, out), out, jobs or machine.fitting_jobs(chosen.device))
        page = write_report(chosen, out)
    print(f"the report: {page}", flush=True)
    return 1 if lost else 0


def reproduce_cc3m(request: cc3m.Request, *, run: bool) -> int:
    """Check what the paper's recipe needs, print its commands, and run them if that is asked for; the exit code."""
    well = True
    for finding in cc3m.checks(request):
        print(finding.line(), flush=True)
        well = well and finding.well
    steps = cc3m.plan(request)
    print("\nThe commands:", *(f"  {step.typed}" for step in steps), sep="\n", flush=True)
    if not (well and run):
        print("\nNothing was begun: " + ("give RUN=1 (--run) to begin" if well else "see what is missing above"))
        return 0 if well else 1
    asked = {"preset": CC3M, "data": request.data, "model": request.model}
    with locked(request.out, PLAN):
        return 1 if _run(asked, steps, request.out, jobs=1) else 0


def _run(asked: Mapping[str, Any], steps: Sequence[Step], out: Path, jobs: int) -> list[str]:
    """Run the steps in their folder; those that are lost."""
    folder = Folder(out)
    folder.begin(asked, steps)
    print(f"{asked['preset']}: {len(steps)} steps, {jobs} side by side, in {out}", flush=True)
    lost = execute(steps, folder, jobs, cores(), lambda text: print(text, flush=True))
    if lost:
        print(f"{len(lost)} steps failed, or wait for one that did: {', '.join(lost)}", file=sys.stderr, flush=True)
    return lost


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments and do it; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", default="cpu", help="smoke, cpu, gpu or cc3m (default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="folder of everything that is made")
    parser.add_argument("--jobs", type=int, help="commands side by side; default: the cores, with a GPU 1")
    paper = parser.add_argument_group("with --preset cc3m")
    paper.add_argument("--data", metavar="SHARDS", help="shards of CC3M: a folder or a pattern")
    paper.add_argument("--benchmarks", default="", metavar="NAME=PATH ...", help="what to measure on, in one argument")
    paper.add_argument("--model", default=cc3m.MODEL, help=f"encoder of the curation (default: {cc3m.MODEL})")
    paper.add_argument("--gpus", type=int, help="GPUs to train on; default: those that are there")
    paper.add_argument("--run", action="store_true", help="run the commands, if all checks are well")
    given = parser.parse_args(arguments)
    try:
        for name in ("jobs", "gpus"):
            if (number := getattr(given, name)) is not None and number < 1:
                raise MisuseError(f"--{name} {number}: give 1 or more")
        with ended_by_signals():
            if given.preset != CC3M:
                if given.data:
                    raise MisuseError(f"--data {given.data}: goes with --preset cc3m; {given.preset} draws its own")
                return reproduce(given.preset, given.out, given.jobs)
            if not given.data:
                raise MisuseError(
                    "--preset cc3m needs --data (make reproduce PRESET=cc3m DATA=...): the shards of CC3M"
                )
            gpus = given.gpus or max(1, len(machine.gpus()))
            benchmarks = tuple(given.benchmarks.split())
            return reproduce_cc3m(cc3m.Request(given.data, given.out, benchmarks, given.model, gpus), run=given.run)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not isinstance(code := getattr(error, "exit_code", None), int):
            raise
        print(f"error: {error}", file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main())
