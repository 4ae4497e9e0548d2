"""Every command that writes: beside another one at the same place it ends with 1, and says where and who that is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from data_cards.miniature.pairs import draw_pair
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.integration.commands import World, cocu, succeed
from tests.integration.faults import ROOT
from tests.integration.training_processes import arguments
from tests.training.curated_world import make_curated

HOLDER = """
import sys
from pathlib import Path
from files.locks import locked, locked_file
path = Path(sys.argv[2])
with locked(path, None) if sys.argv[1] == "folder" else locked_file(path):
    print("held", flush=True)
    sys.stdin.read()
"""
FOLDERS = ("data miniature", "index build", "curate run", "train", "train export", "eval", "eval compare")
FILES = ("data miniature --sheet", "curate report", "curate show", "curate query", "eval demo")


@contextmanager
def held(kind: str, path: Path) -> Iterator[int]:
    """Another process holds the path; its number."""
    command = [sys.executable, "-c", HOLDER, kind, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.communicate()


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, world: World, index: Path, curated: Path
) -> dict[str, list[object]]:
    """Each command that writes, without its --out."""
    folder = tmp_path_factory.mktemp("writers")
    data = make_curated(folder / "data", shards=1, pairs=16, side=20)
    checkpoint, val = make_checkpoint(folder / "run"), make_miniature(folder / "val", 3)
    picture = folder / "picture.png"
    Image.fromarray(draw_pair("val", 0, 1).image).save(picture)
    measured = ["eval", checkpoint, "--benchmark", f"miniature={val}", "--gallery", 0, "--device", "cpu"]
    results = [folder / name for name in ("one", "two")]
    for out in results:
        succeed(*measured, "--out", out)
    training = arguments(Path("OUT"), data, "steps=1")
    place = training.index("--out")
    return {
        "data miniature": ["data", "miniature", "--pairs", 5, "--workers", 1],
        "index build": ["index", "build", world.shards, "--model", world.model],
        "curate run": ["curate", "run", index, "--neighbours", 8],
        "train": [*training[:place], *training[place + 2 :]],
        "train export": ["train", "export", checkpoint],
        "eval": measured,
        "eval compare": ["eval", "compare", *results],
        "data miniature --sheet": ["data", "miniature"],
        "curate report": ["curate", "report", curated, "--sample", 1],
        "curate show": ["curate", "show", curated, "000000000"],
        "curate query": ["curate", "query", curated, "FROM pairs"],
        "eval demo": ["eval", "demo", checkpoint, picture, "--classes", "dog, sky"],
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder(name: str, commands: dict[str, list[object]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held("folder", out) as holder:
        answer = cocu(*commands[name], "--out", out)
        assert answer.code == 1, answer.err
        said = f"error: {out}: another run is at work on this folder (process {holder} on "
        assert answer.err.splitlines()[-1].startswith(said)
        assert [path.name for path in out.iterdir()] == [".lock"]
    succeed(*commands[name], "--out", out)
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.parametrize("name", FILES)
def test_a_file(name: str, commands: dict[str, list[object]], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    option = "--sheet" if name.endswith("--sheet") else "--out"
    (tmp_path / ".out.png.99.tmp").touch()  # of a run that was killed
    with held("file", out) as holder:
        answer = cocu(*commands[name], option, out)
        assert answer.code == 1, answer.err
        said = f"error: {out}: another run is at work on this file (process {holder} on "
        assert answer.err.splitlines()[-1].startswith(said)
        assert not out.exists()
    succeed(*commands[name], option, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
