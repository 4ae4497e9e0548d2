"""Scratch folders go at the end, and those of processes that were killed when the next one is made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from files.scratch import scratch_folder

OWNER = """
import sys
from files.scratch import scratch_folder
with scratch_folder("cocu-x-") as folder:
    (folder / "copy").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "place").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "place"))
    return tmp_path / "place"


def test_it_goes_at_the_end_of_its_process_alone(place: Path) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder("cocu-x-"))
        (folder / "copy").touch()
        child = os.fork()
        if not child:
            stack.close()  # as where a worker that was forked ends
            os._exit(0)
        os.waitpid(child, 0)
        assert (folder / "copy").exists()
    assert not any(place.iterdir())
    with pytest.raises(KeyError), scratch_folder("cocu-x-"):
        raise KeyError
    assert not any(place.iterdir())


def test_what_a_killed_process_left_goes_and_nothing_else(place: Path, root: Path) -> None:
    def owner() -> tuple[subprocess.Popen[str], Path]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        environment = {**os.environ, "TMPDIR": str(place)}
        process = subprocess.Popen([sys.executable, "-c", OWNER], cwd=root, env=environment, text=True, **pipes)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (living, kept), (killed, left) = owner(), owner()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (left / "copy").exists()
    precious = place.parent / "precious"
    precious.mkdir()
    (precious / ".lock").write_text("text")
    (place / "cocu-x-link").symlink_to(precious)  # what somebody else may have put there
    (place / "cocu-x-odd").mkdir()
    (place / "cocu-x-odd" / ".lock").symlink_to(precious / ".lock")
    (place / "cocu-x-new").mkdir()  # of a process that has not locked it yet
    (place / "cocu-x-file").touch()
    with scratch_folder("cocu-x-") as folder:
        names = {path.name for path in place.iterdir()}
    assert names == {kept.name, folder.name, "cocu-x-link", "cocu-x-odd", "cocu-x-new", "cocu-x-file"}
    assert (kept / "copy").exists()
    assert (precious / ".lock").read_text() == "text"
    living.communicate()
    assert not kept.exists()
