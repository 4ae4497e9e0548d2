"""Worker processes: they end with the process that started them, and leave Ctrl-C to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from files.errors import CocuError
from files.workers import WorkerPool, begin
from tests.integration.processes import at_work

# Starts two workers, which write their numbers into a folder, and then works or waits with them for ever.
PROGRAM = """
import sys, time
from tests.files.test_workers import busy, note, together
from files.workers import WorkerPool

if __name__ == "__main__":
    pool = WorkerPool(2, note, (sys.argv[1],))
    pool.map(together, [sys.argv[1]] * 2)
    try:
        print("ready", flush=True)
        pool.map(busy, [float(sys.argv[2])] * 2)
        time.sleep(60)
    except KeyboardInterrupt:
        pool.close(at_once=True)
        sys.exit(130)
"""


# Begins two processes, which write their numbers into a folder and wait for ever.
BEGUN = """
import sys, time
from tests.files.test_workers import note_and_wait, together
from files.workers import begin

if __name__ == "__main__":
    processes = [begin(note_and_wait, sys.argv[1]) for _ in range(2)]
    together(sys.argv[1])
    print("ready", flush=True)
    time.sleep(60)
"""


def note_and_wait(folder: str) -> None:
    note(folder)
    time.sleep(60)


def note(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()


def together(folder: str) -> None:
    """Wait for both."""
    while len(os.listdir(folder)) < 2:
        time.sleep(0.01)


def busy(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def start(folder: Path, root: Path, seconds: float, text: str = PROGRAM) -> tuple["subprocess.Popen[str]", list[int]]:
    program = subprocess.Popen(
        [sys.executable, "-c", text, str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        start_new_session=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program, [int(path.name) for path in folder.iterdir()]


def alive(processes: list[int], seconds: float = 60) -> list[int]:
    """Those that still run after up to so many seconds."""
    end = time.monotonic() + seconds
    while (left := [process for process in processes if at_work(process)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize(("text", "seconds"), [(PROGRAM, 0), (PROGRAM, 60), (BEGUN, 0)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(
    number: signal.Signals, text: str, seconds: float, tmp_path: Path, root: Path
) -> None:
    program, workers = start(tmp_path, root, seconds, text)
    assert len(workers) == 2
    assert alive(workers, 0) == workers
    program.send_signal(number)
    program.communicate(timeout=60)
    assert alive(workers) == []


def test_ctrl_c_ends_all_without_a_word_from_the_workers(tmp_path: Path, root: Path) -> None:
    program, workers = start(tmp_path, root, 60)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to parent and workers
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "Traceback" not in err
    assert alive(workers) == []


def test_a_worker_that_dies_is_reported() -> None:
    pool = WorkerPool(1, os.getpid, ())
    try:
        assert pool.map(len, ["ab", "c"]) == [2, 1]
        with pytest.raises(CocuError, match=r"one of 1 worker processes died.*--workers"):
            pool.map(os._exit, [3])
    finally:
        pool.close()


def tell_threads(file: str) -> None:
    Path(file).write_text(os.environ.get("OPENBLAS_NUM_THREADS", "none"))


@pytest.mark.parametrize("before", [None, "3"])
def test_a_worker_has_one_thread_for_products(
    tmp_path: Path, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if before:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", before)
    process = begin(tell_threads, str(tmp_path / "told"))
    process.join(60)
    assert (tmp_path / "told").read_text() == "1"
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before
