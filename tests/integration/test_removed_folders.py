"""The folder that a command fills is removed, moved, or replaced while it is at work: it ends with 1 and names it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.faults import Undisturbed, WarmCommand
from tests.integration.processes import orphans
from tests.integration.writing_commands import command_of

# When it is at work: how many files it has put in place by then.
AT_WORK = {"data": 1, "index": 5, "curate": 6, "train": 4, "eval": 0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", AT_WORK)
def test_it_is_not_made_anew(name: str, undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    command = command_of(name, tmp_path, undisturbed)
    log, out, moved = tmp_path / "log", tmp_path / "out", tmp_path / "moved"
    for vanish in (shutil.rmtree, lambda folder: folder.rename(moved)):
        leader = warm.start(command.into(out), log, AT_WORK[name], signal.SIGSTOP)
        assert warm.stands(), log.read_text()
        vanish(out)
        os.kill(leader, signal.SIGCONT)
        assert warm.wait() == 1, log.read_text()
        last = log.read_text().strip().splitlines()[-1]
        assert last.startswith(f"error: {out}: was removed, moved or replaced while this run was at work there"), last
        assert "Traceback" not in log.read_text()
        assert orphans(leader) == []
        assert not out.exists()
    warm.start(command.into(moved), log)
    assert warm.wait() == 0, "what was moved away goes on where it lies: " + log.read_text()
