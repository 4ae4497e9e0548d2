"""The folder that a command fills is removed, moved, or replaced while it is at work: it ends with 1 and names it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.integration.faults import Undisturbed, WarmCommand, running
from tests.integration.processes import orphans
from tests.integration.writing_commands import command_of

# When it is at work: what it has written by then.
AT_WORK = {"data": "parts", "index": "embeddings", "curate": "tables/pairs", "train": "checkpoints", "eval": ".lock"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", AT_WORK)
def test_it_is_not_made_anew(name: str, undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    command = command_of(name, tmp_path, undisturbed)
    log, out, moved = tmp_path / "log", tmp_path / "out", tmp_path / "moved"
    for vanish in (shutil.rmtree, lambda folder: folder.rename(moved)):
        leader = warm.start(command.into(out), log)
        while running(leader) and not (out / AT_WORK[name]).exists():
            time.sleep(0.001)
        for _ in range(100):
            try:
                vanish(out)
                break
            except OSError:  # another file came while it was emptied
                continue
        assert warm.wait() == 1, log.read_text()
        last = log.read_text().strip().splitlines()[-1]
        assert last.startswith(f"error: {out}: was removed, moved or replaced while this run was at work there"), last
        assert "Traceback" not in log.read_text()
        assert orphans(leader) == []
        assert not out.exists()
    warm.start(command.into(moved), log)
    assert warm.wait() == 0, "what was moved away goes on where it lies: " + log.read_text()
