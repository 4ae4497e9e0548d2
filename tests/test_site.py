"""The pages as a site: all of them stand in it, what is made of the code is whole, and nothing is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import cocu
from cli.command import DEFAULT
from cli.main import app

MADE = {"index.md", "benchmarks.md", "changelog.md", "contributing.md"}


def nav_pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for below in entry if isinstance(entry, list) else entry.values() if isinstance(entry, dict) else ():
        yield from nav_pages(below)


def test_every_page_can_be_found(root: Path) -> None:
    nav = list(nav_pages(yaml.safe_load((root / "mkdocs.yml").read_text("utf-8"))["nav"]))
    pages = {path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")}
    assert len(set(nav)) == len(nav)
    assert {page for page in nav if not page.startswith("reference/")} == pages | MADE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    root = Path(__file__).resolve().parents[1]
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", out],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return out


def test_a_site_fetches_nothing(site: Path) -> None:
    pages = [path.read_text("utf-8") for path in site.rglob("*.html")]
    assert len(pages) > 25
    for page in pages:
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]* src=[\"']?([^\"' >]+)", page)
        fetched += re.findall(r"<link[^>]* rel=[\"']?(?:stylesheet|preconnect|icon)[^>]* href=[\"']?([^\"' >]+)", page)
        assert fetched
        assert [address for address in fetched if re.match(r"(?:[a-z]+:)?//", address)] == []


def commands(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, set[str]]]:
    """Names of all commands, each with its options; a group's main job goes by the group's name."""
    context = command.context_class(command, info_name=name, parent=parent)
    for below, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            yield from commands(one, f"{name} {below}", context)
        elif below == DEFAULT:
            yield from commands(one, name, context)
    if not hasattr(command, "commands"):
        shown = [one for one in command.get_params(context) if not getattr(one, "hidden", False)]
        yield name, {one.opts[0] for one in shown if one.param_type_name == "option"} - {"--help", "-h"}


def test_the_reference_has_every_command_with_its_options_and_every_function(site: Path) -> None:
    told = list(commands(typer.main.get_command(app), "cocu"))
    assert len(told) > 20
    for name, options in told:
        page = (site / "reference" / f"cocu-{name.split()[1]}.html").read_text("utf-8")
        (part,) = re.findall(rf"<h[12] id=\"{name.replace(' ', '-')}\">.*?(?=<h2|</article)", page, re.DOTALL)
        lacking = {one for one in options if not re.search(rf"<code>[^<]*-(?:\[no-\])?{one.lstrip('-')}\b", part)}
        assert lacking == set(), name
    page = (site / "reference" / "python.html").read_text("utf-8")
    given = [name for name in cocu.__all__ if name not in ("CocuError", "MisuseError", "__version__")]
    assert [name for name in given if f'id="cocu.{name}"' not in page] == []


def test_links_lead_to_pages_of_the_site_and_code_is_named(site: Path) -> None:
    start = (site / "index.html").read_text("utf-8")
    assert 'href="curation-quality.html"' in start
    assert 'href="benchmarks.html"' in start
    assert 'src="recovered.png"' in start
    training = (site / "training.html").read_text("utf-8")
    assert "training/run/trainer.py" in training
    assert 'trainer.py"' not in training


@pytest.mark.parametrize(("target", "whole"), [("other.md#there", True), ("other.md#gone", False), ("gone.md", False)])
def test_a_broken_link_fails(target: str, whole: bool, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    real = yaml.safe_load((root / "mkdocs.yml").read_text("utf-8"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"[link]({target})")
    (tmp_path / "docs" / "other.md").write_text("## There")
    kept = {name: real[name] for name in ("site_name", "strict", "validation")}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump({**kept, "theme": "mkdocs", "plugins": []}))
    (rule,) = re.findall(r"-m (mkdocs build.*)", (root / "Makefile").read_text("utf-8"))
    built = subprocess.run([sys.executable, "-m", *rule.split()], cwd=tmp_path, capture_output=True, text=True)
    assert (built.returncode == 0) == whole, built.stderr
