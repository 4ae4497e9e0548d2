"""Processes, threads and copies: signals, deaths and ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import training.batches.loader
from files.errors import MisuseError
from tests.integration.processes import Children
from tests.training.loader_world import digest, loader, make_shards, take
from training.batches.batch import Batch
from training.batches.loader import BatchOptions

# More workers than cores.
MORE_WORKERS = "ignore:This DataLoader will create"
pytestmark = pytest.mark.filterwarnings(MORE_WORKERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Batch]:
    """The first 40 batches of the undisturbed run: three epochs and a half."""
    with loader(folder) as undisturbed:
        return take(undisturbed, 40)


def test_remote_shards_are_trained_on_and_copies_removed(
    folder: Path, whole: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = fsspec.filesystem("memory")
    for path in sorted(folder.glob("*.tar")):
        memory.pipe(f"/trained/{path.name}", path.read_bytes())
    for workers in (0, 2):
        with loader(["memory://trained/*.tar"], workers=workers, resume=None) as batches:
            assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]
            assert list(tmp_path.iterdir())
        assert not list(tmp_path.iterdir())
    with loader(["memory://trained/*.tar"], resume=whole[20].position) as batches:
        assert digest(next(batches)) == digest(whole[21])
        with pytest.raises(MisuseError, match="say how many"):
            batches.samples  # noqa: B018


def test_samples_and_steps(folder: Path, tmp_path: Path) -> None:
    with loader(folder, cache=tmp_path) as batches:
        assert (batches.samples, batches.steps_per_epoch) == (52, 13)
        assert len(list((tmp_path / "tar-index").iterdir())) == 3  # of a tar without pairs nothing is worth keeping
    with loader(folder, samples=1000, batch_size=7, world_size=2) as batches:
        assert (batches.samples, batches.steps_per_epoch) == (1000, 71)
    with loader(folder, batch_size=100) as batches:
        assert batches.steps_per_epoch == 1
        assert len(next(batches)) == 100


def test_workers_leave_signals_to_the_main_process_and_end_with_it(
    folder: Path, whole: list[Batch], children: Children
) -> None:
    batches = loader(folder, workers=2)
    found = [digest(batch) for batch in take(batches, 2)]  # one of each worker: both have begun
    begun = children()
    assert len(begun) == 2
    for child in begun:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGINT)
    found += [digest(batch) for batch in take(batches, 38)]
    assert found == [digest(batch) for batch in whole]
    batches.close()
    for child in begun:
        child.join(60)
        assert not child.is_alive()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


def python(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", MORE_WORKERS, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_a_dead_worker_is_an_error_that_says_so(folder: Path) -> None:
    # In a process of its own: torch's handler of SIGCHLD may raise once more, wherever the process then is.
    code = (
        "import multiprocessing, os, signal\n"
        "from files.errors import CocuError\n"
        "from training.batches.loader import BatchOptions, Loader\n"
        f"loader = Loader([{str(folder)!r}], BatchOptions(4, 16, workers=2))\n"
        "next(loader)\n"
        "os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)\n"
        "try:\n"
        "    for _ in range(100):\n"
        "        next(loader)\n"
        "except CocuError as error:\n"
        "    print(error.exit_code, 'fewer workers' in str(error), flush=True)\n"
        "    os._exit(0)\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout.strip()) == (0, "1 True"), done.stderr


@pytest.mark.parametrize("failing", [False, True])
def test_a_process_may_end_with_the_loader_open(folder: Path, failing: bool) -> None:
    # A traceback that is kept keeps the frames alive that know the workers.
    kill = (
        "import os, signal, sys, multiprocessing as m\n"
        "os.kill(m.active_children()[0].pid, signal.SIGKILL)\n"
        "try:\n    list(loader)\nexcept Exception as error:\n    kept = error\n"
    )
    code = (
        "from training.batches.loader import BatchOptions, Loader\n"
        f"loader = Loader([{str(folder)!r}], BatchOptions(4, 16, workers=2))\n"
        "print(len(next(loader)))\n"
    ) + kill * failing
    done = python(code)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "4", "")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"shuffle_buffer": 0}, "shuffle_buffer: 0"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"workers": -1}, "-1 workers"),
        ({"concepts": "curated"}, "concepts: curated; expected one of none, caption"),
        ({"concepts_per_image": 0}, "concepts_per_image: 0"),
        ({"concept_temperature": 0}, "concept_temperature: 0"),
        ({"augment": "heavy"}, "augment: heavy"),
    ],
)
def test_wrong_arguments_are_refused(folder: Path, options: dict[str, Any], what: str) -> None:
    with pytest.raises(MisuseError, match=what):
        loader(folder, **options)


@given(st.integers(1, 5000), st.integers(8, 1024))
def test_parts_divide_a_batch_evenly(batch: int, size: int) -> None:
    part = BatchOptions(batch, size).part
    parts = -(-batch // part)
    assert 1 <= part <= batch
    assert part * parts - batch < parts  # none is shorter by more than one on average
    assert part == 1 or (part - 1) * 3 * size * size < training.batches.loader.PART_BYTES
