"""Help and completion of options that name an entry of a registry."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.evaluate import DENSE
from curation.concepts.languages import known_languages
from curation.concepts.parser import PARSERS
from curation.ranking.expansion import EXPANSIONS
from curation.ranking.options import PRESETS
from curation.ranking.relevance import RANKINGS
from files.dense_modes import DENSE_MODES
from training.recipes.recipe_text import BUILT_IN

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
    said = [" ".join(line.replace("│", "").split()) for line in told.splitlines()]
    for door in (EXPANSIONS, RANKINGS):
        for name, entry in door.items():
            assert f"{name}: {entry.help}" in said


def test_help_loads_nothing_that_takes_long(told: str) -> None:
    loaded = set(told.partition("LOADED ")[2].split())
    assert {"cli", "curation", "files"} <= loaded
    assert not loaded & {"duckdb", "faiss", "open_clip", "pyarrow", "scipy", "spacy", "torch"}


DEVICES = {"auto", "cpu", "cuda"}


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("curate run --ranking p", {"paper", "posterior"}),
        ("curate run --expansion ", {"image", "caption", "language", "mixed"}),
        ("curate run --expansion image+m", {"image+mixed"}),
        ("curate run --expansion image+", {f"image+{name}" for name in ("caption", "language", "mixed")}),
        ("curate run --preset ", set(PRESETS)),
        ("curate run --device ", DEVICES),
        ("curate run --output s", {"shards", "sidecar"}),
        ("curate run --keep", {"--keep"}),  # no old names
        ("index build --language ", set(known_languages())),
        ("index build --parser ", set(PARSERS)),
        ("index build --precision f", {"fp32", "fp16"}),
        ("index search x y --device c", DEVICES - {"auto"}),
        ("explore x --device c", DEVICES - {"auto"}),
        ("eval x --dense k", {"key-key"}),
        ("eval x --batch", {"--batch-size"}),
        ("eval --proto", {"--protocol"}),
        ("eval d", {"demo"}),
        ("eval demo x y --device c", DEVICES - {"auto"}),
        ("train groupvit_", {path.stem for path in BUILT_IN.glob("groupvit_*.yaml")}),
        ("train e", {"export"}),
        ("train --tensor", {"--tensorboard"}),
        ("train miniature --device c", DEVICES - {"auto"}),
        ("train run miniature --resume n", {"never"}),
        ("data card m", {"miniature"}),
        ("data miniature --split ", {"train", "val", "clip"}),
        ("curate query x y --format p", {"parquet"}),
    ],
)
def test_names_are_completed(root, typed: str, wanted: set[str]) -> None:
    words = f"cocu {typed}"
    asked = {"_COCU_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    assert set(python("from cli.main import main; main()", PYTHONPATH=str(root), **asked).split()) == wanted


def test_the_dense_modes_that_are_completed_are_those_that_there_are() -> None:
    assert set(DENSE) == {"auto", *DENSE_MODES}
