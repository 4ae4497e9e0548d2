"""Kills and Ctrl-C in the midst of whole commands: run again, they give what an undisturbed run gives."""

import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.commands import World
from tests.integration.faults import SHARDS, Undisturbed, WarmCommand, build, curate, run, same

KILLS = 10


def progress(out: Path) -> int:
    """Files written so far; the state files go when all is done."""
    return sum(len(names) for _, _, names in os.walk(out))


@dataclass
class Kills:
    """What the kills of a command hit."""

    hit: int = 0
    at_work: int = 0
    halfway: int = 0
    files: list[int] = field(default_factory=list)


def kill_again_and_again(warm: WarmCommand, arguments: tuple[object, ...], out: Path, last: int, seed: int) -> Kills:
    """Start a command and kill it, `KILLS` times over: at random moments of its work, the later ones later in it."""
    dice = random.Random(seed)
    kills = Kills()
    for aim in sorted(dice.randrange(1, last) for _ in range(KILLS)):
        before = progress(out)
        warm.start(arguments, out.parent / "log", max(0, aim - before), later=dice.uniform(1e-6, 0.03))
        kills.hit += warm.wait() == -signal.SIGPROF
        assert "Traceback" not in (out.parent / "log").read_text()
        kills.at_work += progress(out) > before
        kills.halfway += any(out.rglob(".*.tmp"))
        kills.files.append(progress(out))
    print(kills)
    return kills


@pytest.mark.timeout(300)
def test_index_builds_that_are_killed(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    arguments = build(undisturbed.shards, tmp_path / "index", undisturbed.model)
    files = 2 * SHARDS + 18  # embeddings and states; vocabulary, arrays, FAISS files, their states, manifest, rejects
    kills = kill_again_and_again(warm, arguments, tmp_path / "index", files, seed=1)
    assert kills.hit >= KILLS - 2
    assert kills.at_work >= KILLS // 2
    run(*arguments)
    same(tmp_path / "index", undisturbed.index)
    assert "already finished; nothing to do" in run(*arguments)


@pytest.mark.timeout(300)
def test_curate_runs_that_are_killed(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    arguments = curate(undisturbed.index, tmp_path / "curated")
    kills = kill_again_and_again(warm, arguments, tmp_path / "curated", 4 * SHARDS + 3, seed=2)
    assert kills.hit >= KILLS - 2
    assert kills.at_work >= KILLS // 2
    run(*arguments)
    same(tmp_path / "curated", undisturbed.curated)
    assert "already finished; nothing to do" in run(*arguments)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", ["index", "curated"])
def test_ctrl_c(stage: str, undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    out, log = tmp_path / stage, tmp_path / "log"
    index = build(undisturbed.shards, out, undisturbed.model)
    arguments = index if stage == "index" else curate(undisturbed.index, out)
    for files in (0, 5, 20):
        process = warm.start(arguments, log, files, signal.SIGSTOP)
        assert warm.stands(), log.read_text()
        os.killpg(process, signal.SIGINT)
        os.killpg(process, signal.SIGCONT)
        assert warm.wait() == 130, log.read_text()
        assert log.read_text().endswith("interrupted; run the same command again to go on\n")
        assert "Traceback" not in log.read_text()
        assert not any(out.rglob(".*.tmp"))
    warm.start(arguments, log)
    assert warm.wait() == 0, log.read_text()
    same(out, undisturbed.folder / stage)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_before_every_single_file_is_put_in_place(world: World, warm: WarmCommand, tmp_path: Path) -> None:
    log, index, curated = (tmp_path / name for name in ("log", "index", "curated"))

    def end(arguments: tuple[object, ...], renames: int | None = None) -> int:
        warm.start(arguments, log, renames)
        return warm.wait()

    assert end(build(world.shards, index, world.model)) == 0
    assert end(curate(index, curated)) == 0
    for whole, arguments in (
        (index, lambda out: build(world.shards, out, world.model)),
        (curated, lambda out: curate(index, out)),
    ):
        kills = 0
        while end(arguments(tmp_path / f"{whole.name}-{kills}"), kills) == -signal.SIGKILL:
            out = tmp_path / f"{whole.name}-{kills}"
            assert end(arguments(out)) == 0, log.read_text()
            same(out, whole)
            kills += 1
        assert kills >= 10
