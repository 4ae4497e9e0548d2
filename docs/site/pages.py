"""The pages of the site that lie elsewhere or are made, and links that are right on it as they are in the checkout."""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import cocu

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {  # of the checkout -> of the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|^    [^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)

RETURNED = (
    *("curation.folders.IndexFolder", "curation.folders.CuratedFolder", "curation.recovery.scorecard.Scorecard"),
    *("curation.recovery.judged.JudgedScore", "training.run.trained.Trained", "evaluation.evaluate.Evaluated"),
    *("files.errors.CocuError", "files.errors.MisuseError"),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    files.append(File.generated(config, "reference/python.md", content="\n".join(_python())))
    return files


def _python() -> Iterator[str]:
    """What the package gives, from its docstrings."""
    functions = [name for name in cocu.__all__ if inspect.isfunction(getattr(cocu, name))]
    yield "# Functions and classes\n\nWhat `import cocu` gives; [In Python](../python.md) shows it at work.\n"
    yield f"::: cocu\n    options:\n      members: [{', '.join(functions)}]\n"
    yield "## What they return, and raise\n"
    for name in RETURNED:
        yield f"::: {name}\n    options:\n      heading_level: 3\n"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links that lead out of docs/ to where the site has the page; to code, into its name."""
    here = {site: source for source, site in ELSEWHERE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pieces = _CODE.split(markdown)  # every other one is code
    for at in range(0, len(pieces), 2):
        pieces[at] = _LINK.sub(lambda link: _led(link, here, page.file.src_uri), pieces[at])
    return "".join(pieces)


def _led(link: re.Match[str], here: str, page: str) -> str:
    picture, words, target, anchor = link[1], link[2], link[3], link[4] or ""
    if not target or re.match(r"[a-z]+:", target):
        return link[0]
    source = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    site = ELSEWHERE.get(source) or (source.removeprefix("docs/") if source.startswith("docs/") else None)
    if site is None and (ROOT / source).exists():
        return words if source.rstrip("/") in words.replace("`", "") else f"{words} (`{source}`)"
    return f"{picture}[{words}]({posixpath.relpath(site or target, posixpath.dirname(page) or '.')}{anchor})"
