"""The house rules that a machine can hold: who imports whom, when, and how files and classes are named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUND = {"files", "data_cards"}

# A room may import itself and these. A package's own files are a room of its name; those that stand alone are named.
READ = {"curation.reading", "curation.concepts", "curation.encoding"}
INDEXED = GROUND | READ | {"curation.runs", "curation.index"}
CURATED = INDEXED | {"curation.ranking", "curation.curated"}
LEARNT = {"training.models", "training.recipes", "training.processes"}
MAY_IMPORT: dict[str, set[str]] = {
    "files": set(),
    "data_cards": {"files"},
    "curation.reading": GROUND,
    "curation.concepts": GROUND,
    "curation.encoding": GROUND,
    "curation.runs": GROUND | READ,
    "curation.index": INDEXED,
    "curation.ranking": INDEXED,
    "curation.curated": INDEXED,
    "curation.recovery": INDEXED | {"curation.curated"},
    "curation.reasons": CURATED,
    "curation.report": INDEXED | {"curation.curated", "curation.reasons"},
    # Of the report what shows captions and pictures.
    "curation.explorer": CURATED | {"curation.reasons", "curation.report.thumbnails", "curation.report.caption_marks"},
    "curation.folders": INDEXED | {"curation.curated", "curation.report"},
    "curation.curator": CURATED,
    "curation.curating": CURATED | {"curation.curator"},
    "curation.curate": CURATED | {"curation.curator", "curation.curating"},
    "training.processes": GROUND,
    "training.shards": GROUND | {"training.processes"},
    "training.batches": GROUND | {"training.processes", "training.shards"},
    "training.models": GROUND,
    "training.recipes": GROUND | {"training.models"},
    "training.step": GROUND | LEARNT | {"training.batches"},
    "training.run": GROUND | LEARNT | {"training.shards", "training.batches", "training.step"},
    # Of training the models, and what reads a checkpoint, or whatever else a model is called.
    "evaluation": GROUND | LEARNT | {"training.run.checkpoint", "training.run.given"},
    "benchmarks": GROUND | {"curation", "training", "evaluation", "cocu"},
    "cocu": GROUND | {"curation", "training", "evaluation"},
    "cli": GROUND | {"curation", "training", "evaluation", "cocu"},
}
HOUSE = ("files", "data_cards", "curation", "training", "evaluation", "cocu", "cli", "benchmarks")

# Each costs from a tenth of a second to several: only inside the functions of cli.
HEAVY = {
    *("duckdb", "faiss", "fsspec", "jinja2", "matplotlib", "numpy", "open_clip", "pandas", "PIL", "pyarrow"),
    *("pydantic", "scipy", "sklearn", "spacy", "starlette", "torch", "torchvision", "transformers", "uvicorn"),
    "webdataset",
}
UNNAMED_IDEAS = {"utils.py", "helpers.py"}
MOST_LINES = 400


def modules() -> dict[str, Path]:
    """Dotted names of the house's modules and packages, without the tests."""
    paths = [ROOT / f"{name}.py" for name in HOUSE] + [path for name in HOUSE for path in (ROOT / name).rglob("*.py")]
    return {dotted(path): path for path in paths if path.is_file()}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(source: str, *, when_loaded: bool = False) -> set[str]:
    """Dotted names that `source` imports; of `from a import b` both a and a.b, for b may be a module.

    `when_loaded` leaves out what is imported inside functions or for type checkers alone, that is,
    what loading the module does not import.
    """
    names = set[str]()
    for node in _nodes(ast.parse(source), when_loaded):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return names


def _nodes(node: ast.AST, when_loaded: bool) -> Iterator[ast.AST]:
    if when_loaded:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, when_loaded)


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def inside(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


MODULES = modules()
IMPORTS = {
    name: {found for found in imported(path.read_text("utf-8")) if found in MODULES and found != name}
    for name, path in MODULES.items()
}
EVERY_FILE = [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]


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
    assert roots(imported(source, when_loaded=True)) == loaded
    assert roots(imported(source)) == loaded | {"numpy", "spacy", "curation"}
    assert {"training.models.groupvit", "training.models.groupvit.GroupViT", "curation.ranking"} <= imported(source)


def test_every_module_stands_in_a_room() -> None:
    for name in MODULES:
        if name not in ("curation", "training"):  # their own __init__, a sentence
            assert any(inside(name, room) for room in MAY_IMPORT), name


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_only_whom_they_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    wrong = {
        name: sorted(crossing)
        for name, found in IMPORTS.items()
        if inside(name, room)
        and (crossing := {one for one in found if "." in one and not any(inside(one, may) for may in allowed)})
    }
    assert not wrong


def decoders(source: str) -> set[str]:
    """What a source calls of Pillow's and torchvision's that makes pictures of bytes."""
    nodes = list(ast.walk(ast.parse(source)))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    brought = {f"{node.module}.{one.name}" for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names}
    decode = {f"decode_{kind}" for kind in ("image", "jpeg", "png", "webp", "gif")}
    return {name for name in called | brought if name.endswith("Image.open") or name.rpartition(".")[2] in decode}


def test_pictures_are_decoded_in_one_place() -> None:
    assert decoders("import PIL.Image as I\nfrom PIL import Image\nImage.open(x)\ntorchvision.io.decode_png(x)") == {
        "Image.open",
        "torchvision.io.decode_png",
    }
    # Of whole JPEGs that `files.pictures` has let pass; its room is taken there, and a device has its own.
    jpegs = {"decode_jpeg", "torchvision.io.decode_jpeg"}
    also = {"training.batches.augment": jpegs, "curation.encoding.device_decoding": jpegs}
    house = {name: found for name, path in MODULES.items() if (found := decoders(path.read_text("utf-8")))}
    house.pop("files.pictures")
    assert {name: found for name, found in house.items() if not inside(name, "benchmarks")} == also


def test_no_circles() -> None:
    try:
        list(TopologicalSorter(IMPORTS).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_house_imports_no_test() -> None:
    wrong = {
        name: found
        for name, path in MODULES.items()
        if (found := {one for one in imported(path.read_text("utf-8")) if inside(one, "tests")})
    }
    assert not wrong


def test_cli_imports_nothing_heavy_when_loaded() -> None:
    never = HEAVY | {"files", "data_cards", "curation", "training", "evaluation"}
    wrong = {
        name: sorted(heavy)
        for name, path in MODULES.items()
        if inside(name, "cli") and (heavy := roots(imported(path.read_text("utf-8"), when_loaded=True)) & never)
    }
    assert not wrong


def test_every_room_says_in_a_sentence_what_it_is() -> None:
    wrong = []
    for path in MODULES.values():
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text("utf-8"))
            said = ast.get_docstring(tree) or ""
            if len(tree.body) != 1 or not said.endswith(".") or "\n" in said:
                wrong.append(dotted(path))
    assert not wrong


def test_no_two_public_classes_of_one_name() -> None:
    where: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(name)
    assert {name: places for name, places in where.items() if len(places) > 1} == {}


def test_tests_mirror_the_packages() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    folders -= {".", "integration"}
    assert [folder for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def test_files_are_named_for_their_idea() -> None:
    assert [str(path.relative_to(ROOT)) for path in EVERY_FILE if path.name in UNNAMED_IDEAS] == []


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in EVERY_FILE}
    # The Python face is long by its signatures, one option a line, and by nothing else.
    most = {"cocu.py": 620}
    assert {file: lines for file, lines in lengths.items() if lines > most.get(file, MOST_LINES)} == {}
