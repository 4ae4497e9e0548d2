"""An installed cocu in folders that hold packages of its names: what cannot be shadowed works, a shadow is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.training_processes import arguments, losses
from tests.training.curated_world import make_curated

PACKAGES = ("files", "data_cards", "curation", "training", "evaluation", "cli")


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the distribution is installed, as a wheel."""
    pytest.importorskip("setuptools")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in PACKAGES:
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("cocu.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", target, source], check=True, capture_output=True)
    return target


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A project with packages of the same names."""
    for name in ("cli", "training", "evaluation"):
        (tmp_path / "stranger" / name).mkdir(parents=True)
        (tmp_path / "stranger" / name / "__init__.py").touch()
    return tmp_path / "stranger"


def run(command: list[object], folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_distribution_is_whole(site: Path, root: Path) -> None:
    assert (site / "cocu.py").read_bytes() == (root / "cocu.py").read_bytes()
    assert [name for name in PACKAGES if not (site / name / "py.typed").is_file()] == []


def test_the_command_and_its_spawned_processes_work_in_such_a_folder(site: Path, stranger: Path) -> None:
    made = ["data", "miniature", "--pairs", 4, "--workers", 2, "--size", 32]
    for number, start in enumerate(([site / "bin" / "cocu"], [sys.executable, "-P", "-m", "cocu"])):
        done = run([*start, *made, "--out", stranger / f"out{number}"], stranger, site)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(list((stranger / f"out{number}").glob("*.tar"))) == 1


def test_folders_that_are_no_packages_stand_before_nothing(site: Path, stranger: Path) -> None:
    for name in ("cli", "training", "evaluation"):
        (stranger / name / "__init__.py").unlink()
    done = run([sys.executable, "-m", "cocu", "--version"], stranger, site)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_shadow_is_told_in_one_line(site: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / "elsewhere").mkdir()
    for command, folder, path in (
        ([sys.executable, "-m", "cocu", "--version"], tmp_path, [site]),
        ([site / "bin" / "cocu", "--version"], tmp_path / "elsewhere", [tmp_path, site]),
    ):
        done = run(command, folder, *path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {tmp_path / name}: stands before cocu's own {name!r} ")
        assert done.stderr.count("\n") == 1


def test_a_module_is_a_shadow_too_and_python_says_so_at_the_first_call(site: Path, tmp_path: Path) -> None:
    (tmp_path / "training.py").touch()
    done = run([sys.executable, "-c", "import cocu; cocu.open_index('index')"], tmp_path, site)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'training.py'}: stands before cocu's own")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_documented_torchrun_works_in_such_a_folder(site: Path, stranger: Path, root: Path) -> None:
    assert "torchrun --no-python --standalone --nproc-per-node 8 cocu train" in (root / "README.md").read_text("utf-8")
    data = make_curated(stranger / "data", shards=2, pairs=24, side=20)
    torchrun = [Path(sys.executable).with_name("torchrun"), "--no-python", "--standalone", "--nproc-per-node", 2]
    done = run([*torchrun, site / "bin" / "cocu", *arguments(Path("run"), data, "steps=2")], stranger, site)
    assert done.returncode == 0, done.stderr
    assert len(losses(stranger / "run")) == 2
