"""A folder belongs to one process at a time, and a foreign one to nobody of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from files.atomic import alone, atomic, sweep, write_text
from files.errors import CocuError, MisuseError
from files.locks import locked
from files.synced import make_folder
from files.workers import WorkerPool

OTHER = """
import sys
from pathlib import Path
from files.locks import locked
with locked(Path(sys.argv[1]), "m"):
    pass
"""

SHARING = """
import sys
from pathlib import Path
from files.locks import locked
with locked(Path(sys.argv[1]), "m", lambda alone: None):
    print("there", flush=True)
    sys.stdin.read()
"""


def test_neither_another_process_nor_this_one_enters(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "a" / "out"
    for _ in range(2):  # and it can be taken again afterwards
        with locked(folder, "m"):
            for _ in range(2):  # a refusal does not open the door for the next
                with pytest.raises(CocuError, match=r"at work on this folder \(this process\)"), locked(folder, "m"):
                    pass
                done = subprocess.run([sys.executable, "-c", OTHER, folder], cwd=root, capture_output=True, text=True)
                assert f"{folder}: another run is at work on this folder (process {os.getpid()} on " in done.stderr
                assert socket.gethostname() in done.stderr
    assert subprocess.run([sys.executable, "-c", OTHER, folder], cwd=root).returncode == 0


def refuse(folder: Path, *files: str) -> None:
    """A block that writes files, and is refused."""
    with suppress(MisuseError), locked(folder, "m"):
        for name in files:
            (folder / name).touch()
        raise MisuseError("no")


def test_who_is_refused_leaves_nothing(tmp_path: Path) -> None:
    refuse(tmp_path / "a" / "b" / "out", "m")
    refuse(tmp_path / "a" / "b" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    refuse(tmp_path / "out", "m")
    assert os.listdir(tmp_path / "out") == [".lock"]


def test_who_is_refused_leaves_what_was_there_or_done(tmp_path: Path) -> None:
    (tmp_path / "m").touch()
    refuse(tmp_path)
    refuse(tmp_path / "in", "m", "work")
    refuse(tmp_path / "in")
    with suppress(KeyError), locked(tmp_path / "fault", "m"):  # as after a kill
        (tmp_path / "fault" / "m").touch()
        raise KeyError
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.name != ".lock"}
    assert names == {"m", "in", "in/m", "in/work", "fault", "fault/m"}


def test_who_is_refused_leaves_what_others_began(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "out"
    waiting = [sys.executable, "-c", SHARING, folder]
    with subprocess.Popen(waiting, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        with suppress(MisuseError), locked(folder, "m", lambda alone: (folder / "m").touch()):
            assert other.stdout.readline() == "there\n"  # it came when this one was there
            raise MisuseError("no")
        assert (folder / "m").exists()
        other.communicate("go")
    assert other.returncode == 0
    assert (folder / "m").exists()


def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    end, other = os.pipe()
    with locked(tmp_path, "m"):
        child = os.fork()
        if not child:
            os.close(other)
            os.read(end, 1)  # until the test's process ends, whatever becomes of that
            os._exit(0)
    try:
        with locked(tmp_path, "m"):
            pass
    finally:
        os.close(other)
        os.close(end)
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


@pytest.mark.parametrize("said", ["", "process \x1b[31m1 on x since 2026", "x" * 10_000, "process 1 on"])
def test_who_holds_it_is_said_in_our_words_alone(tmp_path: Path, root: Path, said: str) -> None:
    with locked(tmp_path, "m"):
        # Not by this process, which would lose its lock with the first handle that it closes.
        subprocess.run(["tee", tmp_path / ".lock"], input=said, text=True, capture_output=True, check=True)
        done = subprocess.run([sys.executable, "-c", OTHER, tmp_path], cwd=root, capture_output=True, text=True)
        assert "(a process that has not said its name); wait" in done.stderr


def test_other_files_may_lie_in_a_folder_without_a_mark(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with locked(tmp_path, None), pytest.raises(CocuError, match="another run"), locked(tmp_path, None):
        pass


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace(folder: Path) -> None:
    move(folder)
    with locked(folder, "m"):  # as another run would, that finds it gone
        pass


@pytest.mark.parametrize("vanish", [remove, move, replace])
def test_a_folder_that_is_gone_is_named_and_not_made_anew(tmp_path: Path, vanish: Callable[[Path], None]) -> None:
    gone = "was removed, moved or replaced while this run was at work there"
    out = tmp_path / "unseen" / "out"
    with pytest.raises(CocuError, match=f"{out}: {gone}"), locked(out, "m"):
        vanish(out)
    out = tmp_path / "missed" / "out"
    with pytest.raises(CocuError, match=f"{out}: {gone}"), locked(out, "m"):  # noqa: PT012
        vanish(out)
        (out / "file").read_bytes()
    out = tmp_path / "written" / "out"
    with locked(tmp_path / "else", "m"), pytest.raises(CocuError, match=f"{out}: {gone}"), locked(out, "m"):  # noqa: PT012
        vanish(out)
        write_text(tmp_path / "else" / "file", "another folder is none of it")
        for path in (out / "a" / "file", out / "file"):
            with pytest.raises(CocuError, match=f"{out}: {gone}"):
                write_text(path, "text")
        assert not any(path.name != ".lock" for path in out.rglob("*"))
    assert out.exists() == (vanish is replace)


def test_a_folder_that_goes_while_a_file_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    gone = pytest.raises(CocuError, match="out: was removed")
    with gone, locked(out, "m"), atomic(out / "file") as temporary:
        temporary.touch()
        shutil.rmtree(out)
    assert not out.exists()


def test_workers_do_not_make_it_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CocuError, match="out: was removed"), locked(out, "m"):  # noqa: PT012
        pool = WorkerPool(1)
        try:
            pool.map(_write, [out / "first" / "file"])
            shutil.rmtree(out)
            pool.map(_write, [out / "second" / "file"])
        finally:
            pool.close(at_once=True)
    assert not out.exists()


def _write(path: Path) -> None:
    write_text(path, "text")


def test_a_file_is_written_by_one_process_at_a_time(tmp_path: Path, root: Path) -> None:
    page = tmp_path / "new" / "page.html"
    other = "import sys, pathlib\nfrom files.atomic import alone\nwith alone(pathlib.Path(sys.argv[1])) as f: f.touch()"
    with alone(page) as temporary:
        temporary.write_text("ours")
        done = subprocess.run([sys.executable, "-c", other, page], cwd=root, capture_output=True, text=True)
        assert f"{page}: another run is at work on this file (process {os.getpid()} on " in done.stderr
    assert page.read_text() == "ours"
    assert os.listdir(page.parent) == ["page.html"]
    assert subprocess.run([sys.executable, "-c", other, page], cwd=root).returncode == 0
    assert page.read_text() == ""
    with pytest.raises(MisuseError, match="is no file"), alone(page.parent):
        pass


def test_what_a_kill_left_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        ".page.html.77.tmp",
        ".page.html.node7-77-0a1b.tmp",
        ".page.html.tmp",
        ".other.html.77.tmp",
        ".page_html.77.tmp",
    ):
        (tmp_path / name).touch()
    with alone(tmp_path / "page.html") as temporary:
        temporary.touch()
    kept = {".page.html.tmp", ".other.html.77.tmp", ".page_html.77.tmp", "page.html"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".x.7.tmp").mkdir()
    (tmp_path / "a" / ".x.7.tmp" / "file").touch()
    (tmp_path / ".link.7.tmp").symlink_to(tmp_path / "page.html")
    sweep(tmp_path, deep=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "page.html", ".page.html.tmp"}
    assert (tmp_path / "a" / ".x.7.tmp" / "file").exists()
    sweep(tmp_path)
    assert not any((tmp_path / "a").iterdir())


def test_a_lock_that_points_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"out/\.lock"), locked(tmp_path / "out", None):
        pass
    assert (tmp_path / "precious").read_text() == "text"


def test_a_folder_that_is_still_being_removed_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    while_it_waits = SimpleNamespace(sleep=lambda seconds: shutil.rmtree(out))
    with pytest.raises(CocuError, match="out: was removed"), locked(out, "m"), atomic(out / "inner" / "file") as file:  # noqa: PT012
        monkeypatch.setattr("files.atomic.time", while_it_waits)
        shutil.rmtree(out / "inner")
        file.touch()


def test_a_folder_is_made_inside_another_only_while_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    make_folder(folder / "a" / "b", inside=folder)
    assert (folder / "a" / "b").is_dir()
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="out"):
        make_folder(folder / "a" / "b", inside=folder)
    assert not folder.exists()
    make_folder(folder / "a" / "b")
    assert (folder / "a" / "b").is_dir()
