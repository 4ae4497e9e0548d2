"""A folder belongs to one process at a time, and a foreign one to nobody of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from files.errors import MisuseError
from files.locks import locked

OTHER = """
import sys
from pathlib import Path
from files.locks import locked
with locked(Path(sys.argv[1]), "m"):
    pass
"""


def test_neither_another_process_nor_this_one_enters(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "a" / "out"
    for _ in range(2):  # and it can be taken again afterwards
        with locked(folder, "m"):
            for _ in range(2):  # a refusal does not open the door for the next
                with pytest.raises(MisuseError, match="another run is at work on this folder"), locked(folder, "m"):
                    pass
                done = subprocess.run([sys.executable, "-c", OTHER, folder], cwd=root, capture_output=True, text=True)
                assert "another run is at work" in done.stderr
    assert subprocess.run([sys.executable, "-c", OTHER, folder], cwd=root).returncode == 0


def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    with locked(tmp_path, "m"):
        child = os.fork()
        if not child:
            time.sleep(30)
    try:
        with locked(tmp_path, "m"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(MisuseError, match=r"other files \(thesis.tex\) and no m; give a new"),
        locked(tmp_path, "m"),
    ):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(MisuseError, match="is a file; give a folder"), locked(tmp_path / "thesis.tex", "m"):
        pass
    (tmp_path / "m").touch()
    with locked(tmp_path, "m"):
        pass
