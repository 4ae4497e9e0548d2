"""A run that has ended, as an object to ask."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.run.run_log import LOG
from training.run.trainer import Outcome


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
