"""How far an evaluation is, for the person who waits: a bar on a terminal, a line in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from files.event_log import log_event
from files.saying import ProgressLine, in_notebook, watched


@contextmanager
def shown(leads: bool) -> Iterator[Callable[[str, int, int], None]]:
    """What is told a benchmark's name, how many of its pictures were done now, and of how many."""
    console = Console(stderr=True, quiet=not watched())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    line = ProgressLine(at_once=True) if leads and in_notebook() else None
    with Progress(*columns, console=console, transient=True, disable=not (leads and watched())) as bar:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.advance(tasks[name], done)
            completed = bar.tasks[tasks[name]].completed
            log_event(
                "progress", stage=name, unit="pictures", done=int(completed), share=round(completed / max(1, total), 4)
            )
            if line and (line.due or completed == total):
                line.tell(f"{name}: {completed:,.0f} of {total:,} pictures")

        yield advance
