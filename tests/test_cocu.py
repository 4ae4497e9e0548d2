"""The Python face against the command line: the same options and defaults, and nothing heavy before it is needed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import cli.curate
import cli.evaluate
import cli.index
import cli.train
import cocu
import files.errors

WITHOUT_HEAVY = """
import time
start = time.process_time()  # the machine may be busy with something else
import cocu
print(time.process_time() - start)
import sys
heavy = {"numpy", "torch", "pyarrow", "duckdb", "faiss", "spacy", "typer", "rich", "curation", "training", "cli"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("face", "command"),
    [
        (cocu.build_index, cli.index.build),
        (cocu.add_to_index, cli.index.add),
        (cocu.merge_indexes, cli.index.merge),
        (cocu.curate, cli.curate.run),
        (cocu.score, cli.curate.score),
        (cocu.train, cli.train.run),
        (cocu.evaluate, cli.evaluate.run),
    ],
)
def test_options_and_defaults_are_those_of_the_command(face: Callable[..., Any], command: Callable[..., Any]) -> None:
    ours, typed = (
        {name: one.default for name, one in inspect.signature(function).parameters.items()}
        for function in (face, command)
    )
    for name in ("quiet", "command"):
        ours.pop(name, None)
    for name in ("as_json", "per_object", "dry_run"):
        typed.pop(name, None)
    if face is cocu.build_index:  # None, where embeddings are alone, is given by its place
        assert (ours.pop("shards"), typed.pop("shards")) == (inspect.Parameter.empty, None)
    if face is cocu.score:
        assert ",".join(map(str, ours.pop("top"))) == typed.pop("top")
    assert ours == typed


def test_importing_it_costs_next_to_nothing(root: Path) -> None:
    seconds = [
        float(
            subprocess.run(
                [sys.executable, "-c", WITHOUT_HEAVY],
                env={**os.environ, "PYTHONPATH": str(root)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(5)
    ]
    assert min(seconds) < 0.1


def test_arguments_by_the_names_that_they_had_are_taken() -> None:
    with (
        pytest.warns(FutureWarning, match=r"cocu\.evaluate: batch is called batch_size now"),
        pytest.raises(cocu.MisuseError, match="--batch-size 0"),
    ):
        cocu.evaluate("miniature", {"miniature": "val"}, "out", batch=0)  # type: ignore[call-arg]
    with (
        pytest.warns(FutureWarning, match=r"cocu\.score: k is called top now"),
        pytest.raises(cocu.MisuseError, match="--judged alone"),
    ):
        cocu.score("nowhere", k=[1])  # type: ignore[call-arg]


def test_what_it_names_is_there_and_explained() -> None:
    assert dir(cocu) == sorted(cocu.__all__)
    assert cocu.__version__ == version("cocu")
    assert (cocu.CocuError, cocu.MisuseError) == (files.errors.CocuError, files.errors.MisuseError)
    for name in cocu.__all__:
        if inspect.isfunction(value := getattr(cocu, name)):
            assert f"cocu.{name}(" in (value.__doc__ or ""), "an example each"
    with pytest.raises(AttributeError, match="module 'cocu' has no attribute 'build'"):
        cocu.build  # noqa: B018


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cocu.build_index("x", "out", min_count=0), "--min-count 0: give a number from 1"),
        (lambda: cocu.build_index("x", "out", max_rejects=1.5), "--max-rejects 1.5: give a number from 0 to 1"),
        (lambda: cocu.build_index(["nowhere.tar"], "out"), "nowhere.tar"),
        (lambda: cocu.curate("index", "out", preset="nature"), "--preset 'nature': expected one of default, paper"),
        (lambda: cocu.curate("index", "out", neighbours=0), "--neighbours 0: give a number from 1"),
        (lambda: cocu.curate("index", "out", caption_column="text"), "says how to read --anchors"),
        (lambda: cocu.add_to_index("nowhere"), "nothing to add: name shards"),
        (lambda: cocu.add_to_index("nowhere", "x.tar"), "nowhere: no manifest.json there"),
        (lambda: cocu.open_index("nowhere"), "nowhere: no manifest.json there"),
        (lambda: cocu.open_curated(Path("nowhere")), "nowhere: no manifest.json there"),
        (lambda: cocu.train("miniature", ["a", "b"], "run", shares=[1]), "give a number for each of the 2 --data"),
        (lambda: cocu.train("miniature", "a", "run", benchmark="miniature=val"), "give --val, too"),
        (lambda: cocu.train("miniatur", "a", "run"), "miniatur: neither a YAML file nor a built-in recipe"),
        (lambda: cocu.evaluate("miniature", "miniature", "out"), "'miniature': give NAME=PATH"),
        (lambda: cocu.evaluate("miniature", {"minature": "val"}, "out"), "card 'minature': there is none"),
        (
            lambda: cocu.evaluate("miniature", {"miniature": "val"}, "out", batch_size=0),
            "--batch-size 0: give a number from 1",
        ),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(
    call: Callable[[], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cocu.MisuseError) as found:
        call()
    assert said in str(found.value)
    assert not list(tmp_path.iterdir())
