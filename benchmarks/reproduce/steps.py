"""A plan is a list of steps: each is one command, and a file in OUT/steps says that it was done, and how.

OUT/plan.json        what was asked for, and the command of every step
OUT/steps/NAME.json  of a step that ended well: command, seconds, when, on which machine, with which versions
OUT/logs/NAME.txt    what it printed
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from files.atomic import atomic
from files.errors import CocuError, MisuseError

PLAN = "plan.json"
FORM = 1


@dataclass(frozen=True)
class Step:
    """One command of a plan.

    command: as one types it; "cocu" and "python" are those of this environment. needs: names of steps that come
    before. writes: paths that have to be there when it has ended. stdout: a file for its standard output, whole or
    not there. alone: it uses all cores itself, so nothing runs beside it.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    writes: tuple[Path, ...] = ()
    stdout: Path | None = None
    alone: bool = False

    @property
    def typed(self) -> str:
        """The command as one types it."""
        return shlex.join(self.command)

    @property
    def kind(self) -> str:
        """What sort of step it is: train, eval, curate, ...; the first word of its name."""
        return self.name.partition("-")[0]


class Folder:
    """The folder of a reproduction, and what it remembers of its steps."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def log(self, step: Step) -> Path:
        """What the step printed."""
        return self.out / "logs" / f"{step.name}.txt"

    def record(self, name: str) -> dict[str, Any] | None:
        """What is noted of a step that ended well; None where it did not. Raises CocuError for a broken note."""
        path = self._record(name)
        return _read_json(path) if path.is_file() else None

    def done(self, step: Step) -> bool:
        """Whether the step ended well, and what it wrote is there still."""
        return self.record(step.name) is not None and not self.lacking(step)

    def lacking(self, step: Step) -> list[Path]:
        """What the step should have written and did not."""
        wanted = (*step.writes, step.stdout) if step.stdout else step.writes
        return [path for path in wanted if not path.exists()]

    def mark(self, step: Step, **facts: Any) -> None:
        """Note that a step has ended well."""
        write_json(self._record(step.name), {"name": step.name, "command": step.typed, **facts})

    def begin(self, asked: Mapping[str, Any], steps: Sequence[Step]) -> None:
        """Take the folder for a plan. Raises MisuseError where it holds another one, naming what differs.

        asked: what the plan was made of, such as the preset. Steps may be added to a plan, and none may change.
        """
        path = self.out / PLAN
        before: dict[str, Any] = {"asked": {}, "commands": {}}
        if path.is_file():
            before = _read_json(path)
            _refuse_changes(self.out, "asked for", before["asked"], asked)
            now = {step.name: step.typed for step in steps}
            _refuse_changes(self.out, "step", before["commands"], now)
        commands = {**before["commands"], **{step.name: step.typed for step in steps}}
        write_json(path, {"form": FORM, "asked": dict(asked), "commands": commands})

    def _record(self, name: str) -> Path:
        return self.out / "steps" / f"{name}.json"


def _refuse_changes(out: Path, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in before if name in now and before[name] != now[name]]
    if what != "step":
        changed += sorted({*before} ^ {*now})
    if changed:
        name = changed[0]
        raise MisuseError(
            f"--out {out}: was begun otherwise ({what} {name}):\n"
            f"  there: {before.get(name)}\n  now:   {now.get(name)}\ngive the same again, or another --out"
        )


def read_plan(out: Path) -> dict[str, Any]:
    """plan.json of a folder. Raises MisuseError where there is none."""
    path = out / PLAN
    if not path.is_file():
        raise MisuseError(f"{out}: holds no {PLAN}; give a folder that `python -m benchmarks.reproduce` began")
    return _read_json(path)


def write_json(path: Path, value: object) -> None:
    """Write JSON under a temporary name, synced, then renamed."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CocuError(f"{path}: cannot be read ({error}); delete it to do the step again") from error
