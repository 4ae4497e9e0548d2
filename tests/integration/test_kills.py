"""SIGKILL of the command, or of one of its workers, at random moments: run again, it gives the same bytes.

After every kill nothing of the command goes on, and what is told is a message. `make test-all` tries each command and
victim `ROUNDS` times with other moments each time, `make test` some of them once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.faults import Undisturbed, WarmCommand
from tests.integration.processes import at_work, orphans, workers
from tests.integration.training_processes import losses
from tests.integration.writing_commands import COMMANDS, Tried, tried_once

ROUNDS = 6
WITH_WORKERS = ("data", "index", "anchors", "train")
QUICK = {("index", "worker"), ("train", "worker"), ("eval", "main")}  # the others' like stand in tests of their own
TIMES = ("seconds", "stage_seconds", "date", "pictures_per_second")


@pytest.fixture(scope="module")
def known() -> dict[str, Tried]:
    """Filled as they are asked for."""
    return {}


def contents(out: Path) -> dict[str, Any]:
    """All that is in the folder, byte for byte but for times; hidden files, too."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if not path.is_dir() and path.name != ".lock"):
        name = str(path.relative_to(out))
        if path.name in ("manifest.json", "results.json"):
            found[name] = _without_times(json.loads(path.read_text()))
        elif path.name == "log.jsonl":
            found[name] = losses(out)
        elif path.name in ("results.md", "gallery.html", "trainer.pt"):
            found[name] = None  # they hold times; what they say besides is in results.json, or comes out in the weights
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(part) for name, part in value.items() if name not in (*TIMES, "command")}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def kill(victim: str, leader: int, seconds: float, dice: random.Random) -> None:
    """Kill the command, or one of its workers when it has some, at a moment of the `seconds` that it takes."""
    end = time.monotonic() + dice.uniform(0.05, 0.95) * seconds
    while victim == "worker" and not workers(leader) and at_work(leader):
        time.sleep(0.002)
    time.sleep(max(0, end - time.monotonic()))
    with contextlib.suppress(ProcessLookupError, IndexError):  # it has ended, or all of them
        os.kill(leader if victim == "main" else dice.choice(workers(leader)), signal.SIGKILL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "victim"),
    [
        pytest.param(name, victim, marks=() if (name, victim) in QUICK else pytest.mark.slow)
        for name in COMMANDS
        for victim in ("main", "worker")
        if victim == "main" or name in WITH_WORKERS
    ],
)
def test_killed_at_a_random_moment_and_run_again(
    name: str,
    victim: str,
    known: dict[str, Tried],
    undisturbed: Undisturbed,
    warm: WarmCommand,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    thorough = "slow" in {mark.name for mark in request.node.iter_markers()} or not request.config.getoption("-m")
    if name not in known:
        known[name] = tried_once(name, tmp_path, undisturbed, warm)
    tried = known[name]
    expected = contents(tried.whole)
    log, hit, halfway, seconds = tmp_path / "log", 0, 0, tried.seconds
    for number in range(ROUNDS if thorough else 1):
        seed = random.randrange(2**32)
        out = tmp_path / f"out-{number}"
        leader = warm.start(tried.command.into(out), log)
        kill(victim, leader, seconds, random.Random(seed))
        code, said = warm.wait(), log.read_text()
        assert orphans(leader) == [], said
        assert code in (0, 1 if victim == "worker" else -signal.SIGKILL), said  # 0: it was too late, or did without
        hit += code != 0
        seconds *= 0.7 if code == 0 else 1  # it is quicker now than when it was timed
        if code >= 0:
            assert "Traceback" not in said, said
            assert "bug in cocu" not in said, said
            assert code == 0 or "died" in said or "ended unexpectedly" in said, said
        halfway += any(out.rglob(".*.tmp"))
        leader = warm.start(tried.command.into(out), log)
        code, said = warm.wait(), log.read_text()
        if code == 2 and name == "eval":  # it had ended when it was killed
            assert "holds results" in said
            code = 0
        assert code == 0, f"seed {seed}: {said}"
        assert "Traceback" not in said, said
        assert orphans(leader) == []
        found = contents(out)
        assert list(found) == list(expected), f"seed {seed}"
        assert [name for name in found if found[name] != expected[name]] == [], f"seed {seed}"
    print(f"{name}, {victim}: {number + 1} kills, {hit} ended it, {halfway} amid a file; all equal after a rerun")
    assert hit or not thorough
