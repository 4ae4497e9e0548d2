"""The rate of several processes: from the first shard of each to the last."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.speed.spread import rate


def test_rate_begins_when_each_process_has_done_a_shard(tmp_path: Path) -> None:
    for number, second in enumerate((10, 11, 12, 14, 15)):
        path = tmp_path / f"{number}.parquet"
        path.touch()
        os.utime(path, (second, second))
    pairs = {f"{number}": 100 for number in range(4)} | {"4": 50}
    assert rate(tmp_path, pairs, 2) == (100 + 100 + 50) / (15 - 11)
    assert rate(tmp_path, pairs, 1) == 350 / 5
