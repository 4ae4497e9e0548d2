"""Pages and files beside the code: links lead somewhere, and what they repeat is what it is elsewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml


def pages(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *root.glob("docs/**/*.md"), root / "benchmarks" / "README.md"]


def test_links_lead_to_files(root: Path) -> None:
    broken = []
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s#]+)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
            if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(root)}: {target}")
    assert not broken


def test_the_citation_is_of_this_version(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert (str(citation["version"]), citation["license"]) == (project["version"], project["license"])
    (paper,) = citation["references"]
    readme = " ".join((root / "README.md").read_text("utf-8").split())
    assert paper["title"] in readme
    assert paper["url"].rpartition("/")[2] in readme


@pytest.mark.parametrize("name", ["bug", "question"])
def test_issue_forms_have_what_a_form_needs(root: Path, name: str) -> None:
    form: dict[str, Any] = yaml.safe_load((root / f".github/ISSUE_TEMPLATE/{name}.yml").read_text("utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    assert len({part["id"] for part in form["body"]}) == len(form["body"])
    assert all(part["type"] == "textarea" and part["attributes"]["label"] for part in form["body"])


def docker_steps(root: Path) -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (root / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def test_the_image_is_installed_as_the_readme_says(root: Path) -> None:
    steps = docker_steps(root)
    runs = [rest for word, rest in steps if word == "RUN"]
    for command in runs:
        subprocess.run(["sh", "-n", "-c", command], check=True)
    installs = [
        line.strip() for line in (root / "README.md").read_text("utf-8").splitlines() if "    pip install" in line
    ]
    told = [shlex.split(line)[2:] for line in installs]
    done = [shlex.split(re.sub(r".*pip install --no-cache-dir", "", command)) for command in runs if "pip " in command]
    assert [words[:-1] for words in done] == [words[:-1] for words in told]
    assert [words[-1].partition("[")[0] for words in done] == [words[-1] for words in told]


def test_the_image_has_all_that_is_installed(root: Path) -> None:
    copied = {name for word, rest in docker_steps(root) if word == "COPY" for name in rest.split()[:-1]}
    assert all((root / name).exists() for name in copied)
    tool = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    wanted = {name for name in tool["packages"]["find"]["include"] if not name.endswith(".*")}
    assert wanted | {f"{name}.py" for name in tool["py-modules"]} <= copied


def test_words_lie_where_the_glossary_says(root: Path) -> None:
    page = (root / "docs" / "glossary.md").read_text("utf-8")
    code = "\n".join(file.read_text("utf-8") for file in (root / "cli").glob("**/*.py"))
    named = [name for line in page.splitlines() for name in re.findall(r"`([^`]+)`", line.rpartition(" | ")[2])]
    files = [name for name in named if "/" in name]
    options = [name for name in named if name.startswith("--")]
    assert len(files) > 30
    assert len(options) > 15
    assert [name for name in files if not (root / name).exists()] == []
    told = {"--" + name.replace("_", "-") for name in re.findall(r"^    (\w+): ", code, re.MULTILINE)}
    told |= set(re.findall(r"--[a-z-]+", code))
    assert set(options) <= told
