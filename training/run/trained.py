"""How a run ended, and the run as an object to ask."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.batches.batch import SampleCounts
from training.processes import Wish
from training.run.run_log import LOG


@dataclass
class RunProgress:
    """What a run remembers besides weights, optimizer, random states and its place in the data."""

    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. asked: TERMINATE or INTERRUPT if a signal ended it, else GO_ON. leads: this process speaks.

    best: the checkpoint that RUN/best points to; None where nothing was saved. counts: of the samples read.
    """

    asked: Wish
    leads: bool
    steps: int
    progress: RunProgress
    best: Path | None
    counts: SampleCounts = field(default_factory=SampleCounts)


@dataclass(frozen=True)
class Trained:
    """A run, at its end or where it was asked to end."""

    path: Path
    outcome: Outcome

    @property
    def best(self) -> Path | None:
        """RUN/best: what measured best, the last checkpoint where nothing was measured; None before the first."""
        return self.path / "best" if self.outcome.best else None

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of RUN/log.jsonl: event ("train", "validation", "skipped"), step, and figures such as loss."""
        return [json.loads(line) for line in (self.path / LOG).read_text("utf-8").splitlines()]

    def __repr__(self) -> str:
        progress = self.outcome.progress
        best = "".join(f", best {name} {value:g}" for name, value in progress.best.items() if name != "step")
        return f"<run {self.path}: step {progress.step:,} of {self.outcome.steps:,}{best}>"
