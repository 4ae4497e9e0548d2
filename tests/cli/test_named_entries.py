"""Help and completion of options that name an entry of a registry."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curation.ranking.expansion import EXPANSIONS
from curation.ranking.relevance import RANKINGS

HELP_LOADS = """
import sys
from cli.main import app
try:
    app(["curate", "run", "--help"])
except SystemExit:
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def python(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def told(root) -> str:
    return python(HELP_LOADS, PYTHONPATH=str(root), COLUMNS="200")


def test_help_lists_every_entry_in_a_line_of_its_own(told: str) -> None:
    said = [line.replace("│", "").strip() for line in told.splitlines()]
    for door in (EXPANSIONS, RANKINGS):
        for name, entry in door.items():
            assert f"{name}: {entry.help}" in said


def test_help_loads_nothing_that_takes_long(told: str) -> None:
    loaded = set(told.partition("LOADED ")[2].split())
    assert {"cli", "curation", "files"} <= loaded
    assert not loaded & {"duckdb", "faiss", "open_clip", "pyarrow", "scipy", "spacy", "torch"}


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("--ranking p", {"paper", "posterior"}),
        ("--expansion ", {"image", "caption", "language", "mixed"}),
        ("--expansion image+m", {"image+mixed"}),
        ("--expansion image+", {f"image+{name}" for name in ("caption", "language", "mixed")}),
    ],
)
def test_names_are_completed(root, typed: str, wanted: set[str]) -> None:
    words = f"cocu curate run {typed}"
    asked = {"_COCU_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    assert set(python("from cli.main import main; main()", PYTHONPATH=str(root), **asked).split()) == wanted
