"""The house rules that a machine can hold: who imports whom, when, and how files are named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A package may import itself and these. cli may import all of them; nothing imports cli.
MAY_IMPORT = {
    "curation": {"data_cards"},
    "training": {"data_cards"},
    "evaluation": {"training", "data_cards"},
    "data_cards": set[str](),
    "benchmarks": {"curation", "training", "evaluation", "data_cards"},
    "cli": {"curation", "training", "evaluation", "data_cards"},
}
HOUSE = set(MAY_IMPORT)

# Each costs from a tenth of a second to several: only inside the functions of cli.
HEAVY = {
    *("duckdb", "faiss", "fsspec", "matplotlib", "numpy", "open_clip", "pandas", "PIL", "pyarrow"),
    *("scipy", "sklearn", "spacy", "torch", "torchvision", "transformers", "webdataset"),
}
NOT_AT_TOP_OF_CLI = HEAVY | (HOUSE - {"cli"})
UNNAMED_IDEAS = {"utils.py", "helpers.py"}
MOST_LINES = 400


def imported_roots(source: str, *, when_loaded: bool = False) -> set[str]:
    """First parts of the absolute imports in `source`.

    `when_loaded` leaves out what is imported inside functions or for type checkers alone, that is,
    what loading the module does not import.
    """
    roots = set[str]()
    for node in _nodes(ast.parse(source), when_loaded):
        if isinstance(node, ast.Import):
            roots.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            roots.add(node.module.partition(".")[0])
    return roots


def _nodes(node: ast.AST, when_loaded: bool) -> Iterator[ast.AST]:
    if when_loaded:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, when_loaded)


def files_of(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


EVERY_FILE = [path for folder in [*MAY_IMPORT, "tests"] for path in files_of(folder)]


def test_the_reader_of_imports_sees_all_of_them() -> None:
    source = """
import torch.nn as nn, json
from training.models.groupvit import GroupViT
from . import sibling
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import numpy
try:
    import faiss
except ImportError:
    pass
class C:
    import duckdb
    def f(self):
        import spacy
async def g():
    from curation import ranking
"""
    loaded = {"torch", "json", "training", "typing", "faiss", "duckdb"}
    assert imported_roots(source, when_loaded=True) == loaded
    assert imported_roots(source) == loaded | {"numpy", "spacy", "curation"}


@pytest.mark.parametrize("package", ["curation", "training", "evaluation", "data_cards", "cli"])
def test_packages_are_there(package: str) -> None:
    assert ROOT / package / "__init__.py" in files_of(package)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_whom_they_may(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = {
        name(path): sorted(crossing)
        for path in files_of(package)
        if (crossing := (imported_roots(path.read_text("utf-8")) & HOUSE) - allowed)
    }
    assert not wrong


def test_cli_imports_nothing_heavy_when_loaded() -> None:
    wrong = {
        name(path): sorted(heavy)
        for path in files_of("cli")
        if (heavy := imported_roots(path.read_text("utf-8"), when_loaded=True) & NOT_AT_TOP_OF_CLI)
    }
    assert not wrong


def test_files_are_named_for_their_idea() -> None:
    assert [name(path) for path in EVERY_FILE if path.name in UNNAMED_IDEAS] == []


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {name(path): len(path.read_text("utf-8").splitlines()) for path in EVERY_FILE}
    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES} == {}
