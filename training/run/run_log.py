"""What a run says of itself: a bar or lines for the person, JSON lines always, TensorBoard, Weights & Biases.

RUN/log.jsonl    one JSON object a line: {"event": "train" | "validation" | "skipped", "step": ..., figures}
RUN/tensorboard  the same figures
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from files.atomic import naming, write_text
from files.errors import MisuseError
from files.event_log import log_event
from files.locks import check_held
from files.printable import printable_lines
from files.saying import ProgressLine, say, watched
from training.run.throughput import spoken

LOG = "log.jsonl"
SKIPPED = "skipped.jsonl"


class RunLog:
    """The log of a run from step `start` on. A context manager; lines of later steps, of a run that was killed, go."""

    def __init__(
        self,
        run: Path,
        start: int,
        steps: int,
        config: Mapping[str, Any],
        tensorboard: bool = True,
        wandb: bool = False,
    ) -> None:
        self.run, self.steps = run, steps
        self._step = start
        self._line = ProgressLine(at_once=True)
        self._bar: Any = None
        self._wandb = _start_wandb(run, config) if wandb else None
        self._tensorboard = _start_tensorboard(run, start) if tensorboard else None
        for name in (LOG, SKIPPED):
            _forget_after(run / name, start)
        self._file = (run / LOG).open("a", encoding="utf-8")

    def __enter__(self) -> RunLog:
        if watched():
            from rich import progress
            from rich.console import Console
            from rich.table import Column

            figures = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # gives way where the terminal is narrow
            self._bar = progress.Progress(
                progress.BarColumn(bar_width=10),
                progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f}", table_column=Column(no_wrap=True)),
                progress.TimeRemainingColumn(table_column=Column(no_wrap=True)),
                progress.TextColumn("{task.description}", table_column=figures),
                console=Console(stderr=True),
                expand=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self.steps, completed=self._step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        with naming(self.run / LOG):  # what had no room is tried once more
            self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)

    def train(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of training after `step` steps."""
        self._record("train", step, figures)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=_line(figures))
        elif self._line.due or step == self.steps:
            self._line.tell(f"step {step:,} of {self.steps:,}: {_line(figures)}")

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of a validation after `step` steps."""
        self._record("validation", step, figures)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.say(f"step {step:,}, validation: {shown}")

    def skipped(self, step: int, loss: float, keys: Sequence[str]) -> None:
        """A step was skipped; its keys go into a file of their own."""
        self._record("skipped", step, {"loss": loss})
        with naming(self.run / SKIPPED), (self.run / SKIPPED).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "loss": _json_number(loss), "keys": list(keys)}) + "\n")
        self.say(
            f"step {step:,}: the loss or its gradient is not finite ({loss}); skipped, keys in {self.run / SKIPPED}"
        )

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        if self._bar is not None:
            self._bar.console.print(printable_lines(text), highlight=False, markup=False, soft_wrap=True)
        else:
            say(text)

    def _record(self, event: str, step: int, figures: Mapping[str, float]) -> None:
        check_held(self.run / LOG)
        numbers = {name: _json_number(value) for name, value in figures.items()}
        with naming(self.run / LOG):
            line = {"event": event, "step": step, "time": round(time.time(), 3), **numbers}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        log_event(event, step=step, of=self.steps, **numbers)
        finite = {f"{event}/{name}": value for name, value in numbers.items() if value is not None}
        if self._tensorboard is not None:
            for name, value in finite.items():
                self._tensorboard.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(finite, step=step)


def _line(figures: Mapping[str, float]) -> str:
    """The figures that a person watches, in one line."""
    shown = [f"loss {figures['loss']:.4f}", f"lr {figures['lr']:.2e}", f"{figures['pairs_per_s']:,.0f} pairs/s"]
    # The first is the one in which a collapse shows; the others are in the log.
    health = [f"{name.partition('/')[2]} {value:.2f}" for name, value in figures.items() if name.startswith("health/")]
    shown += [*health[:1], f"data wait {figures['data_wait']:.0%}", f"{figures['memory_gb']:.1f} GB"]
    if "mfu" in figures:
        shown.append(f"MFU {figures['mfu']:.0%}")
    if figures.get("seconds_left", 0) > 0:  # not at the end, nor where it is not known
        shown.append(f"{spoken(figures['seconds_left'])} left")
    if figures.get("skipped"):
        shown.append(f"skipped {figures['skipped']:.0f}")
    if figures.get("bad_pairs"):
        shown.append(f"bad pairs {figures['bad_pairs']:.1%}")
    if figures.get("broken_shards"):
        shown.append(f"broken shards {figures['broken_shards']:.0f}")
    return ", ".join(shown)


def _json_number(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else None


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines of later steps, and a last line that was cut off."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _start_tensorboard(run: Path, start: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)


def _start_wandb(run: Path, config: Mapping[str, Any]) -> Any:
    try:
        import wandb
    except ImportError:
        raise MisuseError(
            "--wandb: wandb is not installed; install it (pip install wandb), or leave out --wandb"
        ) from None
    return wandb.init(project="cocu", name=run.name, dir=str(run), id=run.name, resume="allow", config=dict(config))
