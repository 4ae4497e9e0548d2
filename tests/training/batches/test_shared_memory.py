"""Shared memory: what workers hold is known beforehand, and what does not fit ends in a message, not in a wait."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import training.batches.loader
from files.errors import CocuError, MisuseError
from tests.integration.processes import Children, stopped
from tests.training.loader_world import loader, make_shards, take
from training.batches.loader import BatchOptions
from training.batches.shared_memory import held, workers_that_fit

# More workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


def in_use(children: Children) -> int:
    """Bytes of torch's shared memory that this process and its children have open or mapped.

    The children make no more meanwhile, which would be counted beside what had been given back by then.
    """
    found: dict[str, int] = {}
    workers = [child.pid for child in children() if child.pid is not None]
    with stopped(workers):
        for pid in (os.getpid(), *workers):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if match := re.match(r"(\w+)-(\w+) .*? (\d+)\s+/dev/shm/torch_", line):
                    found[match[3]] = int(match[2], 16) - int(match[1], 16)
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(file).startswith("/dev/shm/torch_"):
                        found[str(file.stat().st_ino)] = file.stat().st_size
    return sum(found.values())


@pytest.mark.parametrize("part", [2, 8])
def test_no_more_is_held_than_was_foreseen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part: int, children: Children
) -> None:
    monkeypatch.setattr(training.batches.loader, "PART_BYTES", part * 3 * 64 * 64)
    options = BatchOptions(batch_size=8, image_size=64, workers=2)
    assert options.part == part
    most = 0
    with loader(folder, batch_size=8, image_size=64, workers=2) as batches:
        for _ in range(4):
            kept = next(batches)
            begun = time.monotonic()  # the workers get as far ahead as they may
            while (seconds := time.monotonic() - begun) < 1 or (most <= held(options, 2) / 4 and seconds < 60):
                most = max(most, in_use(children))
                time.sleep(0.05)
        assert len(kept) == 8
    assert held(options, 2) / 4 < most <= held(options, 2)  # the peak is short, and need not be met


def test_the_workers_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    train, val = BatchOptions(512, 224), BatchOptions(256, 224)
    both = held(train, 3) + held(val, 3)
    assert held(train, 0) == 0
    assert workers_that_fit(None, 3, [train, val], both) == 3
    assert workers_that_fit(7, 3, [train], None) == 7  # no limit is known
    assert workers_that_fit(0, 3, [train], 0) == 0
    assert not capsys.readouterr().err
    assert workers_that_fit(None, 3, [train, val], both - 1) == 2
    assert workers_that_fit(None, 3, [train, val], 2 * both - 1, ranks=2) == 2
    assert workers_that_fit(None, 3, [train], 64 << 10) == 0
    assert "/dev/shm has 0 MB free: 0 are used" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(MisuseError, match=r"--workers 3: .*/dev/shm.*--workers 2, .*--shm-size") as caught:
        workers_that_fit(3, 1, [train, val], both - 1)
    assert caught.value.exit_code == 2


FULL = RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("torch.Tensor.share_memory_", FULL, r"No space left.*/dev/shm.*--shm-size.*--workers"),
        ("torch.Tensor.share_memory_", OSError(24, "Too many open files"), r"open files.*ulimit -n.*--workers"),
        # In the thread that hands things over, where nobody would hear of it.
        ("multiprocessing.reduction.DupFd", OSError(24, "Too many open files"), r"/dev/shm.*--shm-size.*--workers"),
    ],
)
def test_what_cannot_be_handed_over_ends_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, error: Exception, said: str, children: Children
) -> None:
    def fail(*_: Any) -> torch.Tensor:
        raise error

    with loader(folder, workers=1) as batches:
        monkeypatch.setattr(what, fail)  # workers are forks, and have it, too
        with pytest.raises(CocuError, match=said) as caught:
            take(batches, 50)
    assert caught.value.exit_code == 1
    assert "Traceback" not in str(caught.value)
    assert not children()
