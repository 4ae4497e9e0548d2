"""Progress of a long stage: a bar on a terminal, plain lines of text elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from files.event_log import log_event
from files.saying import ProgressLine, watched

LOGGED_SECONDS = 1.0  # between two lines of progress


class Progress:
    """A stage of known weight (bytes or rows) in which pairs are counted. A context manager; writes to stderr.

    Weight moves the bar and the time left; pairs give the rate.
    """

    def __init__(self, stage: str, weight: int, unit: str = "pairs") -> None:
        self.stage, self.weight, self.unit = stage, max(1, weight), unit
        self.done = 0.0
        self.pairs = 0
        self._start = time.monotonic()
        self._line = ProgressLine()
        self._bar: Any = None
        self._task: Any = None
        self._logged = 0.0

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        self._line = ProgressLine()
        log_event("stage begins", stage=self.stage, unit=self.unit)
        if watched():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[pairs]:,} " + self.unit),
                progress.TextColumn("{task.fields[rate]:,.0f}/s"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.stage, total=self.weight, pairs=0, rate=0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = {"done": self.pairs, "seconds": round(self.seconds, 3), "failed": kind is not None}
        log_event("stage ends", stage=self.stage, unit=self.unit, **ended)
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self.pairs:
            self._plain()

    def advance(self, pairs: int, weight: float = 0.0) -> None:
        """Count pairs, and the weight that they stand for."""
        self.pairs += pairs
        self.done += weight
        if self.seconds - self._logged >= LOGGED_SECONDS:
            self._logged = self.seconds
            share = round(min(1.0, self.done / self.weight), 4)
            log_event(
                "progress",
                stage=self.stage,
                unit=self.unit,
                done=self.pairs,
                share=share,
                per_second=round(self.rate, 1),
            )
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, pairs=self.pairs, rate=self.rate)
        elif self.done < self.weight and self._line.due:
            self._plain()

    @property
    def seconds(self) -> float:
        """Wall seconds since the stage began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Pairs a second so far."""
        return self.pairs / max(self.seconds, 1e-9)

    def _plain(self) -> None:
        share = min(1.0, self.done / self.weight)
        left = f", {self.seconds * (1 - share) / share:,.0f} s left" if 0 < share < 1 else ""
        self._line.tell(f"{self.stage}: {share:4.0%}, {self.pairs:,} {self.unit}, {self.rate:,.0f}/s{left}")


def size_text(size: float) -> str:
    """Bytes as people read them: 1_234_567 -> "1.2 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


class Stopwatch:
    """Wall seconds by stage: each lap goes from the one before it."""

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds: dict[str, float] = {} if seconds is None else seconds
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
