"""The tutorials run from top to bottom in an empty folder, and say what they say they do.

A block of indented lines is commands, one of ```python is Python, and ```text what the block before it printed, where
... stands for anything.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands import succeed

# Of schedulers that are not here.
ELSEWHERE = re.compile(r"#!|sbatch")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$|^((?:    [^\n]*\n)+)", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The blocks of a page in their order: of "commands", "python" or "text"."""
    for kind, text, commands in BLOCK.findall(page):
        yield (kind, text) if kind else ("commands", re.sub(r"^    ", "", commands, flags=re.MULTILINE))


def commands(block: str) -> Iterator[str]:
    """Its commands, each of one or more lines."""
    command = ""
    for line in block.splitlines():
        command = f"{command}\n{line}" if command else line
        if command.count('"') % 2 == 0:
            yield command
            command = ""
    assert not command


def run(command: str) -> str:
    words = shlex.split(command)
    if words[0] == "cocu":
        return succeed(*words[1:]).out
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def follow(page: str) -> list[str]:
    """Run a page where one stands; the commands that were run."""
    names: dict[str, Any] = {}
    said, done = "", []
    for kind, text in blocks(page):
        if kind == "text":
            wanted = ".*".join(map(re.escape, re.split(r"\.\.\.", text.strip())))
            assert re.fullmatch(wanted, said.strip(), re.DOTALL), f"{text}\nis not what was printed:\n{said}"
        elif kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(text, "tutorial", "exec"), names)
            said = printed.getvalue()
        elif not ELSEWHERE.search(text):
            for command in commands(text):
                said = run(command)
                done.append(command)
    return done


def tutorial(root: Path, name: str) -> str:
    return (root / "docs" / "tutorials" / f"{name}.md").read_text("utf-8")


def test_what_is_printed_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = "A page.\n\n    echo one\n    echo 'two\n    ' > file; cat file; echo 3 4\n\n```text\ntwo\n...\n3 ...\n```\n"
    page = page.replace("'two\n    '", '"two\n    "')
    assert len(follow(page)) == 2
    with pytest.raises(AssertionError, match="is not what was printed"):
        follow(page.replace("3 ...", "4 ..."))
    with pytest.raises(subprocess.CalledProcessError):
        follow("    false\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["own-shards", "photographs", "train-and-evaluate", "cluster"])
def test_a_tutorial(name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(follow(tutorial(root, name))) >= 5


def test_every_tutorial_is_followed(root: Path) -> None:
    (marks,) = [mark for mark in test_a_tutorial.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {path.stem for path in (root / "docs" / "tutorials").iterdir()} == set(marks.args[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_photographs_by_an_encoder_of_photographs(
    root: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").symlink_to(shared)  # where the encoder finds its text tower
    (tmp_path / "here" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    source = shared / "data" / "flickr8k" / "dev-00000.tar"
    with tarfile.open(source) as shard, open("photos/captions.csv", "w") as table:
        rows = csv.writer(table)
        rows.writerow(["image", "caption"])
        for member in [name for name in shard.getnames() if name.endswith(".jpg")][:100]:
            picture, caption = (shard.extractfile(name) for name in (member, member.replace(".jpg", ".txt")))
            assert picture is not None
            assert caption is not None
            Path("photos", member).write_bytes(picture.read())
            rows.writerow([member, caption.read().decode()])
    page = re.sub(r"^```python\n.*?^```$", "", tutorial(root, "photographs"), count=1, flags=re.MULTILINE | re.DOTALL)
    page = re.sub(r"^    cocu data miniature.*\n", "", page, flags=re.MULTILINE)
    model = "--model local-dir:../shared/clip/photos"
    follow(page.replace("--model miniature", model).replace("--localise\n", f"--localise {model}\n"))
