"""What was tried of shards that could not be done: `failed/SHARD.json`, until the shard is done.

[{"attempt": 1, "worker": "process 17 on host", "error": "...", "time": "2026-01-31T12:00:00+00:00"}, ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curation.reading.shards import Shard
from files.atomic import write_json
from files.remote_folders import remove
from files.shapes import ShapeFault, check_shape
from files.strict_json import JsonFault, read_json

FAILED = "failed"
SHAPE = [{"attempt": int, "worker": str, "error": str, "time": str}]


def attempts_at(folder: Path, shard: str) -> list[dict[str, Any]]:
    """What was tried of a shard, in the folder of a run; nothing where that was not kept."""
    path = folder / FAILED / f"{shard}.json"
    with suppress(FileNotFoundError, JsonFault, ShapeFault):  # broken by the disk: it counts anew
        kept = read_json(path)
        check_shape(kept, SHAPE)
        return list(kept)
    return []


def keep_attempt(folder: Path, shard: str, worker: str, error: str) -> None:
    """One more that failed."""
    before = attempts_at(folder, shard)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    told = error.encode("utf-8", "backslashreplace").decode()  # names of files may hold what is no text
    one = {"attempt": len(before) + 1, "worker": worker, "error": told, "time": now}
    write_json(folder / FAILED / f"{shard}.json", [*before, one])


def forget_attempts(folder: Path, shard: str | None = None) -> None:
    """Of a shard that is done, or of all."""
    if shard is None:
        remove(folder / FAILED, ignore_errors=True)
        return
    if (path := folder / FAILED / f"{shard}.json").exists():
        remove(path)
    with suppress(OSError):  # others are there
        (folder / FAILED).rmdir()


def failed_shards(folder: Path, shards: Sequence[Shard]) -> list[Shard]:
    """Those that were tried, and failed."""
    return [shard for shard in shards if (folder / FAILED / f"{shard.name}.json").exists()]
