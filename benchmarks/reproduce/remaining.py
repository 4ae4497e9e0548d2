"""How long the rest takes, judged by the steps of the same kind that are done."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.reproduce.steps import Folder, Step


def remaining(left: Sequence[Step], folder: Folder, jobs: int) -> str:
    """ "; about 12 min left"; "at least" where a kind has not been seen yet. Empty where nothing can be said."""
    seen: dict[str, list[float]] = {}
    for path in sorted((folder.out / "steps").glob("*.json")):
        record = folder.record(path.stem)
        if record is not None:
            seen.setdefault(record["name"].partition("-")[0], []).append(record["seconds"])
    known = [median(seen[step.kind]) for step in left if step.kind in seen]
    if not known:
        return ""
    seconds = max(sum(known) / jobs, max(known))
    how = "about" if len(known) == len(left) else "at least"
    return f"; {how} {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
